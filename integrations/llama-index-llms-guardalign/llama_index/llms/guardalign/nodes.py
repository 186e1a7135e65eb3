"""The images in a node, and copies of nodes with other images.

A rebuilt node holds a file of the scanned pixels. Its paths, its URLs and the file named in its
metadata are removed, because some of LlamaIndex's consumers prefer them to the bytes. The verdict
is in flat metadata fields, which vector stores accept, excluded from the text for LLMs and
embeddings.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    TextNode,
)

from guardalign_middleware.encode import Encoded
from guardalign_middleware.intake.data_url import is_image_type
from guardalign_middleware.intake.type_fields import retyped
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import SEVERITY, CanonicalImage
from llama_index.llms.guardalign.images import Found, in_node, in_resource

METADATA_PREFIX = "guardalign_"
_RESOURCES = ("text_resource", "audio_resource", "video_resource")


@dataclass(frozen=True)
class NodeImage:
    """An image of a node and the field that holds it."""

    field: str
    found: Found


def node_images(node: BaseNode, place: str) -> list[NodeImage]:
    """Find every image of a node, in a fixed order, without reading it."""
    node = shown_node(node)
    images = []
    if (found := in_node(node, place)) is not None:
        images.append(NodeImage("image_resource", found))
    if isinstance(node, Node):
        # A resource for text, sound or video holds an image if its type says so.
        for field in _RESOURCES:
            resource = getattr(node, field)
            if resource is None or not is_image_type(resource.mimetype):
                continue
            if (found := in_resource(resource, f"{place}.{field}")) is not None:
                images.append(NodeImage(field, found))
    return images


def shows_video(node: BaseNode) -> bool:
    """Whether a node holds a video, whose pictures the guard cannot scan."""
    node = shown_node(node)
    resource = node.video_resource if isinstance(node, Node) else None
    return (
        resource is not None
        and not is_image_type(resource.mimetype)
        and in_resource(resource, "") is not None
    )


def shown_node(node: BaseNode) -> BaseNode:
    """The node that retrievers return for an `IndexNode`; any other node itself."""
    return node.obj if isinstance(node, IndexNode) and isinstance(node.obj, BaseNode) else node


def rebuilt_node(
    node: BaseNode,
    fields: Sequence[str],
    images: Sequence[SanitizedImage],
    shown: Sequence[CanonicalImage | None],
) -> BaseNode | None:
    """Copy a node with other images in the place of its own, and with the verdict as metadata.

    Args:
        node: stays unchanged.
        fields: the fields of its images, see `node_images`.
        images: the images after the guard, one per field.
        shown: what the copy shows, one per field; None removes the image.

    Returns:
        The copy, or None if it would hold neither image nor text.
    """
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
    update = _metadata_update(node, images, shown)
    if any(image is not item.original for image, item in zip(shown, images, strict=True)):
        # The embedding was made from a picture that is no longer there.
        update["embedding"] = None
    if isinstance(node, ImageNode):
        (image,) = shown
        if image is None:
            return _text_node(node, update)
        file = _file_of(image, images[0])
        update |= {
            "image": base64.b64encode(file.data).decode(),
            "image_path": None,
            "image_url": None,
            "image_mimetype": file.mime_type,
        }
        update["metadata"] |= retyped(update["metadata"], file.mime_type)
        return node.model_copy(update=update)
    for field, image, item in zip(fields, shown, images, strict=True):
        same = image is item.original
        file = None if image is None else _file_of(image, item)
        update[field] = _resource(getattr(node, field, None), file, keep_embeddings=same)
        if file is not None:
            update["metadata"] |= retyped(update["metadata"], file.mime_type)
    copy = node.model_copy(update=update)
    return copy if any(image is not None for image in shown) or _has_content(copy) else None


def _text_node(node: ImageNode, update: dict[str, Any]) -> TextNode | None:
    """The text of an `ImageNode`, which LlamaIndex does not accept without an image."""
    if not node.text.strip():
        return None
    fields = {name: getattr(node, name) for name in TextNode.model_fields}
    return TextNode(**(fields | update))


def _resource(
    old: MediaResource | None, file: Encoded | None, *, keep_embeddings: bool
) -> MediaResource | None:
    text = None if old is None else old.text
    if file is None:
        return None if text is None else MediaResource(text=text)
    return MediaResource(
        data=base64.b64encode(file.data),
        mimetype=file.mime_type,
        text=text,
        embeddings=old.embeddings if old is not None and keep_embeddings else None,
    )


def _file_of(image: CanonicalImage, item: SanitizedImage) -> Encoded:
    return item.encode(original=image is not item.image)


def _has_content(node: BaseNode) -> bool:
    if not isinstance(node, Node):
        return False
    if node.get_content().strip():
        return True
    held = (node.image_resource, node.audio_resource, node.video_resource)
    return any(item is not None and item.hash for item in held)


def _metadata_update(
    node: BaseNode, images: Sequence[SanitizedImage], shown: Sequence[CanonicalImage | None]
) -> dict[str, Any]:
    """The fields that record the verdict; of several images, the most severe one."""
    worst = max(images, key=lambda item: SEVERITY.index(item.verdict.decision)).verdict
    record: dict[str, str | float] = {
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
        record["fault"] = "; ".join(faults)
    if worst.fault is not None:
        # The distance of an unscanned image is NaN, which not every store accepts.
        del record["distance"]
    added = {METADATA_PREFIX + name: value for name, value in record.items()}
    kept = {key: value for key, value in node.metadata.items() if key != "file_path"}
    return {
        "metadata": kept | added,
        "relationships": dict(node.relationships),
        "excluded_llm_metadata_keys": _union(node.excluded_llm_metadata_keys, added),
        "excluded_embed_metadata_keys": _union(node.excluded_embed_metadata_keys, added),
    }


def _union(keys: Sequence[str], more: dict[str, Any]) -> list[str]:
    return [*keys, *(key for key in more if key not in keys)]
