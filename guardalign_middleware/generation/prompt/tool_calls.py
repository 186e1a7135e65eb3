"""Tool calls in the format of Hermes and Qwen: JSON between `<tool_call>` and `</tool_call>`.

The model's chat template shows whether it uses this format. transformers parses the answer, with
the format as a response template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from transformers import ProcessorMixin
from transformers.utils.chat_parsing import ResponseParser

from guardalign_middleware.generation.options import Tools

_MARKS = ("<tool_call>", "</tool_call>")
# Qwen 3.5 writes XML between the same marks.
_OTHER = "<function="
_HERMES: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    # Only searched for in the prompt, which the reader does not get.
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "content": "json",
            "repeats": True,
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"content": "text"},
    },
}


@runtime_checkable
class ToolRunner(Protocol):
    """A runner whose model may be able to call tools."""

    @property
    def tool_template(self) -> Mapping[str, Any] | None:
        """Template for reading tool calls; None if the model cannot call tools."""


@dataclass(frozen=True)
class ToolCall:
    """One call: the name of a tool, and its arguments as JSON values."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """An answer, parsed into text and tool calls.

    Attributes:
        text: the answer without its calls.
        calls: the calls in order.
        broken: the whole answer if its calls cannot be parsed; then `calls` is empty.
        fault: why they cannot be parsed.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    broken: str = ""
    fault: str = ""


def tool_template(processor: ProcessorMixin) -> Mapping[str, Any] | None:
    """Template for reading tool calls; None if the model cannot call or its format is unknown.

    Calls marked by special tokens cannot be read, because decoding drops special tokens.
    """
    chat_template = _chat_template(processor)
    if not all(word in chat_template for word in ("tools", *_MARKS)) or _OTHER in chat_template:
        return None
    special = processor.tokenizer.all_special_tokens
    return None if any(mark in special for mark in _MARKS) else _HERMES


def written_calls(calls: Sequence[ToolCall]) -> str:
    """Calls in the format that the model itself writes, for the history of a conversation."""
    written = [
        json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
        for call in calls
    ]
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in written)


class AnswerReader:
    """Parses an answer as it is generated; no part of a tool call is returned as text.

    Args:
        template: response template of the model.
        tools: the tools that may be called; their JSON schemas give the arguments their types.
    """

    def __init__(self, template: Mapping[str, Any], tools: Tools) -> None:
        self._parser = ResponseParser(dict(template), prefix="", tools=[dict(t) for t in tools])
        self._raw = ""
        self._text = ""
        self._fault = ""

    def feed(self, piece: str) -> str:
        """Take the next piece of the answer; returns the text that is certain so far."""
        self._raw += piece
        return self._text_from(self._parser.feed, piece)

    def finish(self) -> tuple[str, Answer]:
        """The rest of the text, and the whole answer."""
        message: dict[str, Any] = {}

        def finalize() -> list[dict[str, Any]]:
            parsed, events = self._parser.finalize()
            message.update(parsed)
            return events

        rest = self._text_from(finalize)
        if not self._fault:
            try:
                calls = tuple(map(_call, message.get("tool_calls") or ()))
            except (TypeError, KeyError) as error:
                self._fault = f"a call has no name or no arguments: {error}"
            else:
                return rest, Answer(self._text, calls)
        return rest, Answer(self._text, broken=self._raw, fault=self._fault)

    def _text_from(self, step: Any, *arguments: str) -> str:
        if self._fault:
            return ""
        try:
            events = step(*arguments)
        except (ValueError, KeyError) as error:
            self._fault = str(error)
            return ""
        said = "".join(
            event["text"]
            for event in events
            if event["type"] == "region_chunk" and event["field"] == "content"
        )
        self._text += said
        return said


def _call(value: Mapping[str, Any]) -> ToolCall:
    function = value["function"]
    arguments = function["arguments"]
    if not isinstance(arguments, Mapping):
        raise TypeError(f"arguments are a {type(arguments).__name__}")
    return ToolCall(str(function["name"]), arguments)


def _chat_template(processor: ProcessorMixin) -> str:
    found = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    return json.dumps(found, ensure_ascii=False) if isinstance(found, dict) else str(found or "")
