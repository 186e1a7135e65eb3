"""Anthropic's Messages: tools answer in the user's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign_middleware.conversation.tools import CALLED, Kinds, keys
from guardalign_middleware.conversation.walk import ConversationWalk, fields
from guardalign_middleware.intake.dialects import ImageSlot, encode
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.type_fields import file_type
from guardalign_middleware.intake.walk_modes import Mode

_WORDS = (
    "model stream max_tokens temperature top_p top_k stop_sequences metadata service_tier thinking"
    " tool_choice output_config output_format context_management cache_control inference_geo speed"
    " betas"
)

_OFFERED = "name strict cache_control defer_loading allowed_callers"
_RUN_BY_CLIENT = keys(_OFFERED, "input_examples")
_TOOLS: Kinds = {
    "custom": CALLED["custom"],
    "function": CALLED["function"],
    **dict.fromkeys(("bash", "memory"), _RUN_BY_CLIENT),
    "text_editor": _RUN_BY_CLIENT | keys("max_characters"),
    "computer": _RUN_BY_CLIENT
    | keys("display_width_px display_height_px display_number enable_zoom"),
    "computer_toolset": keys("cache_control configs"),
    "web_search": keys(
        _OFFERED, "allowed_domains blocked_domains max_uses user_location response_inclusion"
    ),
    **dict.fromkeys(("tool_search_tool_bm25", "tool_search_tool_regex"), keys(_OFFERED)),
}


class MessagesWalk(ConversationWalk):
    """Messages with a role and content, and the system's words beside them."""

    turns_key = "messages"
    body_fields = {
        **fields("words", _WORDS),
        **fields("strict", "system"),
    }
    stored_fields = frozenset({"thread"})
    message_fields = {
        **fields("words", "role id"),
        **fields("strict", "content"),
    }
    tools = _TOOLS

    def _is_stored(self, key: str, item: Any) -> bool:
        begins = (
            key == "thread"
            and isinstance(item, Mapping)
            and len(item) == 1
            and block_type(item) == "create"
        )
        return not begins and super()._is_stored(key, item)

    def _image(self, slot: ImageSlot, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        source = block.get("source")
        if isinstance(source, Mapping) and source.get("type") == "url":
            # A data URL, which takes the place of an address elsewhere, is refused here.
            slot = ImageSlot(slot.part, lambda file: _in_base64(block, file), slot.rest)
        return super()._image(slot, block, place, mode)


def _in_base64(block: Mapping[Any, Any], file: bytes) -> dict[Any, Any]:
    source = {"type": "base64", "media_type": file_type(file), "data": encode(file)}
    return {**block, "source": source}
