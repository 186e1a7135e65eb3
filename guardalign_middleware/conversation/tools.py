"""Which tools a request may offer a model: those that show it no picture from elsewhere.

Services tell a tool by its type, or by its keys alone: LiteLLM drops the type of a tool for Gemini,
and takes the only key that is left for its name. So every key has to be known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from guardalign_middleware.errors import MessageError

Kinds = Mapping[str, frozenset[str]]
"""Types without their dates, and the keys of each beside `type`."""

REMEDY = "Use a tool that your program runs, and send its results."

_DATE = re.compile(r"_\d{4}_?\d{2}_?\d{2}\Z")
_CALLED = (
    "name description parameters strict function custom format input_schema output_schema"
    " input_examples cache_control defer_loading allowed_callers eager_input_streaming async"
)


def keys(*names: str) -> frozenset[str]:
    """The keys in texts, in which spaces separate them."""
    return frozenset(" ".join(names).split())


CALLED: Kinds = dict.fromkeys(("function", "custom"), keys(_CALLED))
"""Tools that the client's program runs, as OpenAI and Anthropic write them."""


def tool_fault(tool: Any, kinds: Kinds, place: str) -> MessageError | None:
    """Why a tool may not be offered; None if it may.

    Args:
        tool: its definition; without a type, that of a function.
        kinds: the types that may be offered.
        place: for the error.
    """
    if not isinstance(tool, Mapping):
        return MessageError(f"{place} should be the definition of a tool.", remedy=REMEDY)
    kind = tool.get("type")
    if kind is not None and not isinstance(kind, str):
        return MessageError(f"{place}.type should be a text.", remedy="Name one type.")
    known = kinds.get("function" if kind is None else _DATE.sub("", kind))
    if known is None:
        return _remote(str(kind), place)
    fault = keys_fault(tool, known | {"type"}, place)
    if fault is None and kind is None and not _has_name(tool):
        return MessageError(f"{place} is a tool without a name.", remedy="Name it.")
    return fault


def keys_fault(
    options: Mapping[Any, Any], known: frozenset[str], place: str
) -> MessageError | None:
    """Why the options of a tool could show a model pictures; None if they could not.

    Args:
        options: by their keys.
        known: the keys that cannot; some of them only with certain values.
        place: for the error.
    """
    for key, value in options.items():
        if value is None or value is False:
            continue  # as clients write what is not set
        if key not in known:
            return _unknown_key(str(key), place)
        if key == "environment" and not _is_local(value):
            return MessageError(
                f"{place}.environment lies with the service, and this guard does not see the files"
                " that are in it.",
                remedy='Use {"type": "local"}.',
            )
        if key == "search_content_types" and value != ["text"]:
            return MessageError(
                f"{place}.search_content_types lets the model see pictures from the web, which this"
                " guard does not.",
                remedy='Use ["text"].',
            )
    return None


def _has_name(tool: Mapping[Any, Any]) -> bool:
    inner = tool.get("function")
    return isinstance((inner if isinstance(inner, Mapping) else tool).get("name"), str)


def _is_local(environment: Any) -> bool:
    """Whether an environment is the client's; computer tools name its system in a word."""
    if not isinstance(environment, Mapping):
        return isinstance(environment, str)
    return environment.get("type") == "local" and environment.keys() <= {"type", "skills"}


def _remote(kind: str, place: str) -> MessageError:
    return MessageError(
        f"{place} is the tool {kind[:64]!r}. It works at the service, and this guard does not see "
        "the pictures and files that it gives to the model.",
        remedy=REMEDY,
    )


def _unknown_key(key: str, place: str) -> MessageError:
    return MessageError(
        f"{place} is a tool with the key {key[:64]!r}, which this guard does not know: it could "
        "give the model pictures and files that this guard does not see.",
        remedy=f"Leave it out. {REMEDY}",
    )
