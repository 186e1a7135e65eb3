"""A walk over everything that a node holds: pictures, words, metadata, relations, nested nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import BaseContentBlock
from llama_index.core.schema import (
    BaseNode,
    IndexNode,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.verdict_records import is_record_key
from llama_index.llms.guardalign.blocks import MessageWalk
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.node_pages import RESOURCES, NodePdf, node_pdfs, refuse
from llama_index.llms.guardalign.nodes import WalkedNode, node_images, only_text, shows_video
from llama_index.llms.guardalign.provider_content import UNSCANNED_REMEDY
from llama_index.llms.guardalign.values import ValueWalk, same_values
from llama_index.llms.guardalign.visitors import Visitor

_MAX_DEPTH = 64
_READ = frozenset(
    {"embedding", "metadata", "relationships", "obj", "text", "excluded_embed_metadata_keys"}
    | {"excluded_llm_metadata_keys", "image", "image_path", "image_url", "image_mimetype"}
    | {"text_embedding", *RESOURCES}
)


class NodeWalk:
    """Walks through nodes; the caller's stay unchanged.

    Args:
        visitor: reads or shows the pictures.
        resolve: has the policy for PDF files.
        allow_unscanned: whether films pass, and PDF files that the policy refuses.
    """

    def __init__(self, visitor: Visitor, resolve: Resolver, *, allow_unscanned: bool) -> None:
        self._visitor = visitor
        # For the blocks and messages that a node may hold.
        self._messages = MessageWalk(visitor, resolve, allow_unscanned=allow_unscanned)
        self._resolve = resolve
        self._allow_unscanned = allow_unscanned

    def node(self, node: BaseNode, place: str, depth: int = 0) -> WalkedNode:
        """Walk through a node and all nodes behind it.

        Raises:
            MessageError: index nodes that are nested deeper than 64 levels.
        """
        if depth >= _MAX_DEPTH:
            raise MessageError(
                f"{place} is nested deeper than {_MAX_DEPTH} levels.", remedy="Flatten it."
            )
        update = self._words(node)
        metadata = {
            key: self._value(value, f"{place}.metadata[{key!r}]")
            for key, value in node.metadata.items()
            if not is_record_key(key)
        }
        if not same_values(metadata, node.metadata):
            update["metadata"] = metadata
        relations = self._value(node.relationships, f"{place}.relationships")
        if relations is not node.relationships:
            update["relationships"] = relations if isinstance(relations, dict) else {}
        for name, value in node.__dict__.items():
            if name not in _READ and not isinstance(value, bool | int | float | None):
                if (new := self._value(value, f"{place}.{name}")) is not value:
                    update[name] = new
        walked = WalkedNode(node, node)
        self._pictures(node, place, walked, update)
        if isinstance(node, IndexNode) and node.obj is not None:
            self._behind(node.obj, place, walked, update, depth)
        if update:
            walked.node = node.model_copy(update=update)
        return walked

    def _pictures(
        self, node: BaseNode, place: str, walked: WalkedNode, update: dict[str, Any]
    ) -> None:
        for item in node_images(node, place):
            found = item.found
            shown = self._visitor.unit(
                lambda found=found: self._visitor.picture(found),
                lambda notice: notice,
                found,
            )
            walked.shown[item.field] = shown if isinstance(shown, SanitizedImage) else None
            if isinstance(shown, str):
                walked.notices.append(shown)
        if isinstance(node, Node) and "video_resource" not in walked.shown and shows_video(node):
            kept = self._visitor.unit(
                lambda: self._film(place), lambda notice: notice, node.video_resource, "video"
            )
            if isinstance(kept, str):
                walked.notices.append(kept)
                _take_out(node, "video_resource", update)
        for pdf in node_pdfs(node, self._resolve):
            if pdf.field in walked.shown:
                continue
            kept = self._visitor.unit(
                lambda pdf=pdf: self._pdf(pdf, place), lambda notice: notice, pdf, "file"
            )
            if isinstance(kept, str):
                walked.notices.append(kept)
                _take_out(node, pdf.field, update)

    def _pdf(self, pdf: NodePdf, place: str) -> None:
        if self._allow_unscanned and self._resolve.policy.pdf == "refuse":
            self._visitor.unscanned()
        else:
            refuse(pdf, place, self._resolve)

    def _film(self, place: str) -> None:
        if not self._allow_unscanned:
            raise ImageRejected(
                f"{place} holds a video, whose pictures the guard cannot scan.",
                reason="unsupported_type",
                source=place,
                remedy=UNSCANNED_REMEDY,
            )
        self._visitor.unscanned()

    def _behind(
        self, obj: Any, place: str, walked: WalkedNode, update: dict[str, Any], depth: int
    ) -> None:
        if isinstance(obj, BaseNode):
            walked.inner = self.node(obj, f"{place}.obj", depth + 1)
        elif isinstance(
            obj,
            str | bytes | bytearray | list | tuple | set | Mapping | BaseContentBlock
            | NodeWithScore,
        ):  # fmt: skip
            # Everything else is an index, a retriever or an engine.
            if (new := self._value(obj, f"{place}.obj")) is not obj:
                update["obj"] = new

    def _words(self, node: BaseNode) -> dict[str, Any]:
        update: dict[str, Any] = {}
        if isinstance(node, TextNode):
            if (text := self._visitor.words(node.text)) is not node.text:
                update["text"] = text
        if isinstance(node, Node):
            for name in RESOURCES:
                resource: MediaResource | None = getattr(node, name)
                if resource is None or resource.text is None:
                    continue
                if (text := self._visitor.words(resource.text)) is not resource.text:
                    update[name] = resource.model_copy(update={"text": text})
        return update

    def _value(self, value: Any, place: str) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        if isinstance(value, str):
            return self._visitor.words(value)
        return self._visitor.unit(
            lambda: ValueWalk(self._visitor, place, typed=self._typed).walk(value),
            lambda notice: notice,
            value,
        )

    def _typed(self, value: Any, place: str) -> Any:
        if isinstance(value, BaseContentBlock):
            return self._messages.block(value, place)
        return NotImplemented


def _take_out(node: BaseNode, field: str, update: dict[str, Any]) -> None:
    """Leave of a resource its text, in which a picture may be cleaned already."""
    update[field] = only_text(update.get(field, getattr(node, field)))
