"""The images in a node, and copies of nodes with other images.

A rebuilt node holds a file of the scanned pixels. Its paths, its URLs and the file named in its
metadata are removed, because some of LlamaIndex's consumers prefer them to the bytes. The verdict
is in flat metadata fields, which vector stores accept, excluded from the text for LLMs and
embeddings.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from guardalign_middleware.intake.declared import file_bytes
from guardalign_middleware.intake.extent import picture_format
from guardalign_middleware.intake.type_fields import retyped
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.verdict_records import METADATA_PREFIX, flat_record, is_record_key
from llama_index.llms.guardalign.images import Found, base64_text, in_node, in_resource

_SHA256 = f"{METADATA_PREFIX}sha256"
_DECISION = f"{METADATA_PREFIX}decision"
_HEAD = 48
_RESOURCES = ("text_resource", "audio_resource", "video_resource")


@dataclass(frozen=True)
class NodeImage:
    """An image of a node and the field that holds it."""

    field: str
    found: Found


@dataclass
class WalkedNode:
    """A node after one pass of `NodeWalk`.

    Attributes:
        original: the caller's node, which stays unchanged.
        node: a copy with cleaned words and metadata; its own pictures are still the old ones.
        shown: the field and the cleaned image of each of its pictures; None for a refused one.
        notices: texts in the place of what was refused.
        inner: of an `IndexNode`, the node behind it.
    """

    original: BaseNode
    node: BaseNode
    shown: dict[str, SanitizedImage | None] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    inner: WalkedNode | None = None


def node_images(node: BaseNode, place: str) -> list[NodeImage]:
    """Find every image of a node, in a fixed order, without reading it."""
    images = []
    if (found := in_node(node, place)) is not None:
        images.append(NodeImage("image_resource", found))
    if isinstance(node, Node):
        # A resource for text, sound or video holds an image if its type or its first bytes say so.
        for name in _RESOURCES:
            resource = getattr(node, name)
            if resource is None or not _is_picture(resource):
                continue
            if (found := in_resource(resource, f"{place}.{name}")) is not None:
                images.append(NodeImage(name, found))
    return images


def _is_picture(resource: MediaResource) -> bool:
    if is_image_type(resource.mimetype):
        return True
    head = file_bytes(base64_text(resource.data), _HEAD)
    return head is not None and picture_format(head) is not None


def shows_video(node: BaseNode) -> bool:
    """Whether a node holds a video, whose pictures the guard cannot scan."""
    resource = node.video_resource if isinstance(node, Node) else None
    return (
        resource is not None and not _is_picture(resource) and in_resource(resource, "") is not None
    )


def only_text(resource: MediaResource | None) -> MediaResource | None:
    """What is left of a resource whose file is taken out."""
    if resource is None or resource.text is None:
        return None
    return MediaResource(text=resource.text)


def rebuilt_node(
    walked: WalkedNode, records: Sequence[Mapping[str, Any]], *, flag: bool = False
) -> BaseNode | None:
    """Copy a node with cleaned images in the place of its own, and with the verdict as metadata.

    Args:
        walked: the node after the guard.
        records: of everything that was found in it, also in nodes behind it.
        flag: whether the scanned images are shown, whatever was found.

    Returns:
        The copy, the node itself if nothing was found in it, or None if the copy would hold neither
        image nor text.
    """
    node, behind = walked.node, {}
    if walked.inner is not None:
        inner = rebuilt_node(walked.inner, records, flag=flag)
        if inner is None:
            return None
        if not isinstance(node, IndexNode) or inner is not node.obj:
            behind["obj"] = inner
    shown = {
        name: None if item is None else item.original if flag else item.image
        for name, item in walked.shown.items()
    }
    if not records:
        kept = _earlier_record(walked.original)
        node = node.model_copy(update=_with_record(node, kept)) if kept else node
        return node.model_copy(update=behind) if behind else node
    update = behind | _with_record(node, _record(walked, records, shown))
    if walked.notices or any(
        item is None or shown[name] is not item.original for name, item in walked.shown.items()
    ):
        # The embedding was made from a picture that is no longer there.
        update["embedding"] = None
    if isinstance(node, ImageNode):
        return _image_node(walked, node, shown, update)
    for name, image in shown.items():
        item = walked.shown[name]
        same = item is not None and image is item.original
        file = None if image is None or item is None else _file_of(image, item)
        update[name] = _resource(getattr(node, name, None), file, keep_embeddings=same)
        if file is not None:
            update["metadata"] |= retyped(update["metadata"], file.mime_type)
    copy = node.model_copy(update=update)
    if walked.notices:
        copy = _with_text(copy, walked.notices)
    removed = bool(shown) and not any(image is not None for image in shown.values())
    return None if removed and not _has_content(copy) else copy


def _image_node(
    walked: WalkedNode,
    node: ImageNode,
    shown: Mapping[str, CanonicalImage | None],
    update: dict[str, Any],
) -> BaseNode | None:
    if not shown:
        return node.model_copy(update=update)
    ((name, image),) = shown.items()
    item = walked.shown[name]
    if image is None or item is None:
        return _text_node(node, update, walked.notices)
    file = _file_of(image, item)
    update |= {
        "image": base64.b64encode(file.data).decode(),
        "image_path": None,
        "image_url": None,
        "image_mimetype": file.mime_type,
    }
    update["metadata"] |= retyped(update["metadata"], file.mime_type)
    return node.model_copy(update=update)


def _with_text(node: BaseNode, notices: Sequence[str]) -> BaseNode:
    if isinstance(node, Node):
        old = node.text_resource or MediaResource(text="")
        text = "\n".join(filter(None, [old.text, *notices]))
        return node.model_copy(update={"text_resource": old.model_copy(update={"text": text})})
    if isinstance(node, TextNode):
        return node.model_copy(update={"text": "\n".join(filter(None, [node.text, *notices]))})
    return node


def _text_node(node: ImageNode, update: dict[str, Any], notices: Sequence[str]) -> TextNode | None:
    """The text of an `ImageNode`, which LlamaIndex does not accept without an image."""
    text = "\n".join(filter(None, [node.text, *notices]))
    if not text.strip():
        return None
    fields = {name: getattr(node, name) for name in TextNode.model_fields}
    return TextNode(**(fields | update | {"text": text}))


def _resource(
    old: MediaResource | None, file: Encoded | None, *, keep_embeddings: bool
) -> MediaResource | None:
    if file is None:
        return only_text(old)
    return MediaResource(
        data=base64.b64encode(file.data),
        mimetype=file.mime_type,
        text=None if old is None else old.text,
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


def _record(
    walked: WalkedNode,
    records: Sequence[Mapping[str, Any]],
    shown: Mapping[str, CanonicalImage | None],
) -> dict[str, Any]:
    """The flat record of a node; of several images, the most severe one stands in front."""
    images = [item for item in walked.shown.values() if item is not None]
    digests = {
        _SHA256: ",".join("" if image is None else image.sha256 for image in shown.values()),
        f"{METADATA_PREFIX}source_sha256": ",".join(item.original.sha256 for item in images),
    }
    new = flat_record(records) | (digests if shown else {})
    old = own_records(walked.original.metadata)
    if shown and old.get(_SHA256) == new[_SHA256] and old.get(_DECISION) == "mask":
        # An earlier pass has made this very picture; what it found says more than that it is safe.
        safe = "allow" in {new[_DECISION], new.get(f"{METADATA_PREFIX}would_be")}
        return old if safe else new
    return new


def _earlier_record(node: BaseNode) -> dict[str, Any]:
    """The record of an earlier pass that left no picture; no other can be believed."""
    old = own_records(node.metadata)
    return old if old.get(_DECISION) == "block" else {}


def own_records(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What came in under the guard's flat keys, if a store could hold it."""
    return {
        key: value
        for key, value in metadata.items()
        if is_record_key(key) and isinstance(value, str | int | float | bool)
    }


def _with_record(node: BaseNode, record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that hold a record, which no text for a model or an embedding shows."""
    drop = {"file_path"} if f"{METADATA_PREFIX}sha256" in record else set()
    kept = {
        key: value
        for key, value in node.metadata.items()
        if key not in drop and not is_record_key(key)
    }
    return {
        "metadata": kept | dict(record),
        "relationships": dict(node.relationships),
        "excluded_llm_metadata_keys": _union(node.excluded_llm_metadata_keys, dict(record)),
        "excluded_embed_metadata_keys": _union(node.excluded_embed_metadata_keys, dict(record)),
    }


def _union(keys: Sequence[str], more: dict[str, Any]) -> list[str]:
    return [*keys, *(key for key in more if key not in keys)]
