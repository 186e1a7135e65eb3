"""The core's walk over a value, for LangChain: messages, and documents with forged records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from guardalign_middleware.intake.block_rules import is_turn
from guardalign_middleware.intake.containers import with_items
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.value_walk import Walk
from guardalign_middleware.intake.walk_modes import Mode, attribute_mode
from langchain_guardalign.document_records import without_forged
from langchain_guardalign.verdict_metadata import with_records


class MessageWalk(Walk):
    """One pass over a LangChain value."""

    def _dispatch(self, value: Any, place: str, mode: Mode) -> Any:
        known = value if mode in {"words", "quoted"} else without_forged(value)
        if isinstance(known, BaseMessage):
            return self._message(known, place)
        if mode == "loose" and self._turn is None and is_turn(known):
            # In the state of an agent, which makes a message of it.
            changed = self._turn_fields(known, place)
            return with_items(known, changed) if changed else known
        return super()._dispatch(known, place, mode)

    def _is_message(self, value: Any) -> bool:
        return isinstance(value, BaseMessage)

    def _message(self, message: BaseMessage, place: str) -> BaseMessage:
        fields = {**message.__dict__, **(message.model_extra or {})}
        changed = self._turn_fields(fields, place)
        return message.model_copy(update=changed) if changed else message

    def _turn_fields(self, fields: Mapping[str, Any], place: str) -> dict[str, Any]:
        """The fields of a message that change."""
        if self._turn is None:
            with self._in_turn(0):
                return self._turn_fields(fields, place)
        first = len(self._records)
        changed: dict[str, Any] = {}
        for key, item in fields.items():
            spot = f"{place}.{key}"
            if key == "content":
                new = self._content(item, fields, spot)
            elif key == "additional_kwargs":
                new = self.value(item, spot, "beside")
            else:
                new = self.value(item, spot, attribute_mode(key, item, "loose"))
            if new is not item:
                changed[key] = new
        return changed | with_records({**fields, **changed}, self._records[first:])

    def _content(self, content: Any, fields: Mapping[str, Any], place: str) -> Any:
        beside = fields.get("additional_kwargs") or {}
        shot = isinstance(beside, Mapping) and block_type(beside) == "computer_call_output"
        if not (shot and isinstance(content, str)):
            return self.value(content, place, "strict")
        # langchain-openai sends this string as a picture.
        block = {"type": "input_image", "image_url": content}
        new = self.value(block, place, "strict")
        if new is block:
            return content
        return new["image_url"] if "image_url" in new else [new]
