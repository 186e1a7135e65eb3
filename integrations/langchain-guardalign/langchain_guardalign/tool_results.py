"""What tools return, after the guard; a picture that cannot be checked is the tool's error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage, convert_to_messages
from langgraph.types import Command, Send

from langchain_guardalign.outcomes import Cleaned
from langchain_guardalign.verdict_metadata import METADATA_KEY

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
        return _with_status(result, clean(result, _PLACE).value)
    result = _with_messages(result)
    goto = list(result.goto) if isinstance(result.goto, list | tuple) else [result.goto]
    sent = [step.arg for step in goto if isinstance(step, Send)]
    command, args = clean((result, sent), _PLACE).value
    if command is not result:
        command = replace(command, update=_with_status(result.update, command.update))
    if args is sent:
        return command
    rest = iter(args)
    return replace(
        command,
        goto=[
            Send(step.node, next(rest), timeout=step.timeout) if isinstance(step, Send) else step
            for step in goto
        ],
    )


def _with_messages(command: Command[Any]) -> Command[Any]:
    """The command with message objects in place of dictionaries and tuples."""
    update = command.update
    if not isinstance(update, Mapping):
        return command
    items = update.get("messages")
    if not isinstance(items, list | tuple) or all(isinstance(x, BaseMessage) for x in items):
        return command
    try:
        return replace(command, update={**update, "messages": convert_to_messages(items)})
    except (NotImplementedError, ValueError):
        return command  # The agent's own reducer will say what is wrong.


def _with_status(old: Any, new: Any) -> Any:
    """The cleaned value, with the status of the messages in it."""
    if new is old:
        return new
    if isinstance(new, ToolMessage):
        failed = new.content is not old.content and _reports_a_refusal(new)
        return new.model_copy(update={"status": "error"}) if failed else new
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return {key: _with_status(old.get(key), item) for key, item in new.items()}
    if type(new) in {list, tuple} and isinstance(old, list | tuple):
        return type(new)(_with_status(*pair) for pair in zip(old, new, strict=True))
    return new


def _reports_a_refusal(message: BaseMessage) -> bool:
    written = message.response_metadata.get(METADATA_KEY)
    records = written.get("verdicts") if isinstance(written, dict) else None
    return isinstance(records, list) and any(
        isinstance(record, dict) and record.get("action") == "refused" for record in records
    )
