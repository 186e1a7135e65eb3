"""The tool calls of earlier turns, as text that the model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.prompt.tool_calls import ToolCall, written_calls
from guardalign_middleware.strict import Malformed, json_value


def calls_as_text(functions: Sequence[object], place: str, *, own_syntax: bool) -> str:
    """Write calls as the model itself does, or in words for a model without a syntax for them.

    Args:
        functions: of the calls, each with a name and arguments as JSON.
        place: of the message, for errors.
        own_syntax: whether the model has a syntax for calls.

    Raises:
        MessageError: a call without a name or arguments.
    """
    written = []
    for function in functions:
        name = function.get("name") if isinstance(function, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise MessageError(
                f"{place} should have a name and arguments, both strings.",
                remedy='Write {"name": …, "arguments": "{…}"}.',
            )
        values = _values(arguments)
        if own_syntax and isinstance(values, dict):
            written.append(written_calls([ToolCall(name, values)]))
        else:
            # Broken arguments must not end a conversation: a model has written them.
            written.append(f"[called {name} with {arguments}]")
    return "\n".join(written)


def _values(arguments: str) -> Any:
    try:
        return json_value(arguments.encode("utf-8", "surrogatepass"))
    except Malformed:
        return None
