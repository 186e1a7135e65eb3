"""What tools return, after the guard; a picture that cannot be checked is the tool's error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langgraph.types import Command

from guardalign_middleware.cleaning.outcomes import Cleaned
from langchain_guardalign.state_messages import command_with_messages, state_with_messages
from langchain_guardalign.verdict_metadata import METADATA_KEY, own_records

Clean = Callable[[object, str], Cleaned]

_PLACE = "tool result"


def clean_tool_result(result: Any, clean: Clean) -> Any:
    """Clean a message, a `Command` with everything in it, or a list of these.

    A `ToolMessage` with content that cannot be checked gets the status "error"; its text names the
    cause, so that the model can do something else.
    """
    if isinstance(result, list):
        # A tool can return several messages and commands.
        return [clean_tool_result(item, clean) for item in result]
    if not isinstance(result, Command):
        result = state_with_messages(result) if isinstance(result, Mapping) else result
        return _with_status(result, clean(result, _PLACE).value)
    result = command_with_messages(result)
    command = clean(result, _PLACE).value
    if command is result:
        return result
    return replace(command, update=_with_status(result.update, command.update))


def _with_status(old: Any, new: Any) -> Any:
    """The cleaned value, with the status of the messages in it."""
    if new is old:
        return new
    if isinstance(new, ToolMessage):
        failed = new.content is not old.content and _reports_a_refusal(new)
        return new.model_copy(update={"status": "error"}) if failed else new
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return {key: _with_status(old.get(key), item) for key, item in new.items()}
    if type(new) in {list, tuple} and isinstance(old, list | tuple) and len(new) == len(old):
        return type(new)(_with_status(*pair) for pair in zip(old, new, strict=True))
    return new


def _reports_a_refusal(message: BaseMessage) -> bool:
    records = own_records(message.response_metadata.get(METADATA_KEY))
    return any(record.get("action") == "refused" for record in records)
