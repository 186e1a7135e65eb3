"""Anthropic's Messages: tools answer in the user's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign_middleware.conversation.walk import ConversationWalk, fields
from guardalign_middleware.intake.dialects import ImageSlot, encode
from guardalign_middleware.intake.type_fields import file_type
from guardalign_middleware.intake.walk_modes import Mode

_WORDS = (
    "model stream max_tokens temperature top_p top_k stop_sequences metadata service_tier thinking"
    " tool_choice output_config output_format context_management cache_control inference_geo speed"
    " betas"
)


class MessagesWalk(ConversationWalk):
    """Messages with a role and content, and the system's words beside them."""

    turns_key = "messages"
    body_fields = {
        **fields("words", _WORDS),
        **fields("strict", "system"),
    }
    stored_fields = frozenset({"container", "mcp_servers"})
    message_fields = {
        **fields("words", "role id"),
        **fields("strict", "content"),
    }
    tools = (
        *("custom", "bash_", "text_editor_", "computer_", "memory_", "web_search_"),
        "tool_search_tool",
    )

    def _body_field(self, key: str, item: Any, place: str) -> Any:
        if key == "mcp_servers" and item == []:
            return item
        return super()._body_field(key, item, place)

    def _image(self, slot: ImageSlot, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        source = block.get("source")
        if isinstance(source, Mapping) and source.get("type") == "url":
            # A data URL, which takes the place of an address elsewhere, is refused here.
            slot = ImageSlot(slot.part, lambda file: _in_base64(block, file), slot.rest)
        return super()._image(slot, block, place, mode)


def _in_base64(block: Mapping[Any, Any], file: bytes) -> dict[Any, Any]:
    source = {"type": "base64", "media_type": file_type(file), "data": encode(file)}
    return {**block, "source": source}
