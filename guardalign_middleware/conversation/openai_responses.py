"""OpenAI's Responses: a list of items, of which messages are one kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign_middleware.conversation.tools import CALLED, Kinds, keys
from guardalign_middleware.conversation.walk import SEND_IT, ConversationWalk, fields
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.blank_picture import blank_png
from guardalign_middleware.intake.dialects import data_url
from guardalign_middleware.intake.part import block_type

_WORDS = (
    "model stream stream_options max_output_tokens max_tool_calls temperature top_p top_logprobs"
    " include metadata parallel_tool_calls reasoning safety_identifier prompt_cache_key"
    " prompt_cache_retention service_tier store text tool_choice truncation user context_management"
    " moderation"
)
_SEARCH = keys(
    "filters user_location search_context_size search_content_types external_web_access",
    "indexed_web_access allowed_domains excluded_domains",
)
_TOOLS: Kinds = {
    **CALLED,
    "namespace": keys("name description tools"),
    **dict.fromkeys(("web_search", "web_search_preview"), _SEARCH),
    "file_search": keys("vector_store_ids filters max_num_results ranking_options"),
    **dict.fromkeys(
        ("computer", "computer_use", "computer_use_preview"),
        keys("display_width display_height environment"),
    ),
    "local_shell": keys(),
    "shell": keys("environment allowed_callers"),
    "apply_patch": keys("allowed_callers"),
    "image_generation": keys(
        "action background complexity frame_count frame_duration_ms input_fidelity",
        "input_image_mask model moderation output_compression output_format partial_images",
        "quality size svg",
    ),
    "tool_search": keys("description execution parameters"),
}


class ResponsesWalk(ConversationWalk):
    """Items with a type; a message may go without."""

    turns_key = "input"
    body_fields = {
        **fields("words", _WORDS),
        **fields("strict", "instructions"),
    }
    stored_fields = frozenset({"conversation", "prompt", "background"})
    message_fields = {
        **fields("words", "type role id status phase"),
        **fields("strict", "content"),
    }
    tools = _TOOLS

    _item: Mapping[str, Any] = {}
    _item_place = ""

    def _turn_item(self, turn: Any, place: str) -> Any:
        if not isinstance(turn, Mapping):
            return self.value(turn, place, "strict")
        self._item, self._item_place = turn, place
        kind = block_type(turn)
        if "role" in turn and kind in {None, "message"}:
            return self._message(turn, place)
        if kind in {None, "item_reference"} and "id" in turn:
            return self._reference(turn, place)
        if kind == "image_generation_call" and turn.get("result") is None:
            return self._reference(turn, place)
        return self.value(turn, place, "strict")

    def _tool_field(self, kinds: Kinds, key: str, item: Any, place: str) -> Any:
        if key != "input_image_mask" or not isinstance(item, Mapping):
            return super()._tool_field(kinds, key, item, place)
        # A picture without the type that would say so.
        mask = {"type": "input_image", **item}
        new = self.value(mask, place, "strict")
        if new is mask:
            return item
        kept = block_type(new) == "input_image"
        return {key: value for key, value in new.items() if key != "type"} if kept else None

    def _reference(self, item: Mapping[str, Any], place: str) -> Any:
        """What lies with the service."""
        drawn = block_type(item) == "image_generation_call"
        error = MessageError(
            f"{place} names an item that lies with the service, where this guard cannot look.",
            remedy=SEND_IT if drawn else "Send the item itself.",
        )
        withheld = self._withhold(error, place, "file")
        return self._noted(self._note, item, place) if withheld else item

    def _noted(self, note: str, block: Mapping[Any, Any], place: str) -> Any:
        if place == self._item_place:
            return {"role": "assistant", "content": note}
        if block_type(block) == "computer_screenshot":
            # Nothing but a picture can stand here.
            return {"type": "computer_screenshot", "image_url": data_url(blank_png())}
        if block_type(self._item) == "code_interpreter_call":
            return {"type": "logs", "logs": note}
        if self._item.get("role") == "assistant":
            return {"type": "output_text", "text": note, "annotations": []}
        return {"type": "input_text", "text": note}
