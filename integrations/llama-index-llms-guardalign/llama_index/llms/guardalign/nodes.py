"""Images in nodes: where they stand, and copies of the nodes with cleaned ones.

A cleaned node holds PNG bytes of the pixels that were scanned, or fewer of them; its paths, its
URLs, and the file that its metadata names are gone, for some of LlamaIndex's consumers prefer them
to the bytes. What was found stands in flat metadata fields, which vector stores can keep, and which
neither LLMs nor embeddings are shown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    TextNode,
)

from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage, Decision
from llama_index.llms.guardalign.images import Found, in_node, in_resource, is_image_type, png_bytes

Policy = Literal["mask", "drop", "flag"]
METADATA_PREFIX = "guardalign_"
_RESOURCES = ("text_resource", "audio_resource", "video_resource")
_SEVERITY: tuple[Decision, ...] = ("allow", "mask", "block")


@dataclass(frozen=True)
class NodeImage:
    """An image of a node, and the field that holds it."""

    field: str
    found: Found


def node_images(node: BaseNode, place: str) -> list[NodeImage]:
    """All images of a node, in a fixed order, none of them read yet.

    Raises:
        ImageRejected: bytes that are not base64, as LlamaIndex keeps them.
    """
    node = shown_node(node)
    images = []
    if (found := in_node(node, place)) is not None:
        images.append(NodeImage("image_resource", found))
    if isinstance(node, Node):
        # What a node calls text, sound or video is an image all the same where its type says so.
        for field in _RESOURCES:
            resource = getattr(node, field)
            if resource is None or not is_image_type(resource.mimetype):
                continue
            if (found := in_resource(resource, f"{place}.{field}")) is not None:
                images.append(NodeImage(field, found))
    return images


def shows_video(node: BaseNode) -> bool:
    """Whether a node holds a video, in which no guard sees the pictures."""
    node = shown_node(node)
    resource = node.video_resource if isinstance(node, Node) else None
    return (
        resource is not None
        and not is_image_type(resource.mimetype)
        and in_resource(resource, "") is not None
    )


def shown_node(node: BaseNode) -> BaseNode:
    """The node that retrievers put in the place of an `IndexNode`; any other node is itself."""
    return node.obj if isinstance(node, IndexNode) and isinstance(node.obj, BaseNode) else node


def cleaned_node(
    node: BaseNode, fields: Sequence[str], images: Sequence[SanitizedImage], policy: Policy
) -> BaseNode | None:
    """A copy of a node with what the guard made of its images.

    Args:
        node: not changed.
        fields: those of `node_images`.
        images: one for each field.
        policy: `mask` shows what is left after masking, and takes a blocked image out; `drop`
            leaves a flagged node out; `flag` shows the scanned image whatever was found.

    Returns:
        None when the node is left out: by `drop`, or because nothing is left of it.
    """
    if policy == "drop" and any(item.verdict.flagged for item in images):
        return None
    shown = [item.original if policy == "flag" else item.image for item in images]
    if isinstance(node, IndexNode):
        inner = _rebuilt(shown_node(node), fields, images, shown)
        return None if inner is None else node.model_copy(update={"obj": inner})
    return _rebuilt(node, fields, images, shown)


def _rebuilt(
    node: BaseNode,
    fields: Sequence[str],
    images: Sequence[SanitizedImage],
    shown: Sequence[CanonicalImage | None],
) -> BaseNode | None:
    changed = any(image is not item.original for image, item in zip(shown, images, strict=True))
    update = _bookkeeping(node, images, shown)
    if changed:
        # It was made from a picture that is no longer there.
        update["embedding"] = None
    if isinstance(node, ImageNode):
        (image,) = shown
        if image is None:
            return _words_of(node, update)
        update |= {
            "image": base64.b64encode(png_bytes(image)).decode(),
            "image_path": None,
            "image_url": None,
            "image_mimetype": "image/png",
        }
        return node.model_copy(update=update)
    for field, image, item in zip(fields, shown, images, strict=True):
        same = image is item.original
        update[field] = _resource(getattr(node, field, None), image, keep_embeddings=same)
    copy = node.model_copy(update=update)
    return copy if any(image is not None for image in shown) or _says_something(copy) else None


def _words_of(node: ImageNode, update: dict[str, Any]) -> TextNode | None:
    """An image node without its image, which LlamaIndex knows no image node for."""
    if not node.text.strip():
        return None
    fields = {name: getattr(node, name) for name in TextNode.model_fields}
    return TextNode(**(fields | update))


def _resource(
    old: MediaResource | None, image: CanonicalImage | None, *, keep_embeddings: bool
) -> MediaResource | None:
    text = None if old is None else old.text
    if image is None:
        return None if text is None else MediaResource(text=text)
    return MediaResource(
        data=base64.b64encode(png_bytes(image)),
        mimetype="image/png",
        text=text,
        embeddings=old.embeddings if old is not None and keep_embeddings else None,
    )


def _says_something(node: BaseNode) -> bool:
    if not isinstance(node, Node):
        return False
    if node.get_content().strip():
        return True
    held = (node.image_resource, node.audio_resource, node.video_resource)
    return any(item is not None and item.hash for item in held)


def _bookkeeping(
    node: BaseNode, images: Sequence[SanitizedImage], shown: Sequence[CanonicalImage | None]
) -> dict[str, Any]:
    """Fields that say what was found; of several images, the most severe decision."""
    worst = max(images, key=lambda item: _SEVERITY.index(item.verdict.decision)).verdict
    facts: dict[str, str | float] = {
        "decision": worst.decision,
        "category": worst.category,
        "distance": worst.distance,
        "threshold": worst.threshold,
        "regions": json.dumps(worst.to_json()["regions"]),
        "profile": worst.profile,
        "sha256": ",".join("" if image is None else image.sha256 for image in shown),
        "source_sha256": ",".join(item.original.sha256 for item in images),
    }
    if faults := [item.verdict.fault for item in images if item.verdict.fault is not None]:
        facts["fault"] = "; ".join(faults)
    if worst.fault is not None:
        # What was not scanned has no distance, and NaN is nothing that every store can keep.
        del facts["distance"]
    found = {METADATA_PREFIX + name: value for name, value in facts.items()}
    kept = {key: value for key, value in node.metadata.items() if key != "file_path"}
    return {
        "metadata": kept | found,
        "relationships": dict(node.relationships),
        "excluded_llm_metadata_keys": _with(node.excluded_llm_metadata_keys, found),
        "excluded_embed_metadata_keys": _with(node.excluded_embed_metadata_keys, found),
    }


def _with(keys: Sequence[str], more: dict[str, Any]) -> list[str]:
    return [*keys, *(key for key in more if key not in keys)]
