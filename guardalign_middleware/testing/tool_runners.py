"""Runners without a model that call tools in the format of Hermes models."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Unpack

from guardalign_middleware.generation.options import GenerationOptions, Tools
from guardalign_middleware.generation.prompt.tool_calls import (
    ToolCall,
    tool_template,
    written_calls,
)
from guardalign_middleware.generation.stream import Emit, TokenStream
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing.runners import EchoRunner
from guardalign_middleware.types import Message

TOOL_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }} Call with <tool_call>JSON</tool_call>.{% endif %}"
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
)
"""A minimal chat template with tools: the `tools` variable and the marks around a call."""


class _Calling(EchoRunner):
    """Answers in the Hermes format; `tools` records the tools offered in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.tools: list[Tools] = []
        tokenizer = SimpleNamespace(all_special_tokens=[])
        processor: Any = SimpleNamespace(chat_template=TOOL_TEMPLATE, tokenizer=tokenizer)
        self.tool_template = tool_template(processor)

    def answer(self, messages: Sequence[Message], tools: Tools) -> str:
        """The next answer, including tool calls."""
        raise NotImplementedError

    def generate(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> Generated:
        echo = super().generate(messages, prefix=prefix, calibrate=calibrate, **options)
        tools = options.get("tools", ())
        self.tools.append(tools)
        return Generated(self.answer(messages, tools), "stop", echo.calibration, echo.usage)

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        answer = self.generate(messages, prefix=prefix, calibrate=calibrate, **options)

        def produce(emit: Emit, cancel: threading.Event) -> Generated:
            for at in range(0, len(answer.text), 3):
                emit(answer.text[at : at + 3])
            return answer

        return TokenStream(produce)


class ScriptedRunner(_Calling):
    """Gives its answers in order, repeating them endlessly."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = answers

    def answer(self, messages: Sequence[Message], tools: Tools) -> str:
        """Give the next answer."""
        return self.answers[(len(self.calls) - 1) % len(self.answers)]


class EagerRunner(_Calling):
    """Calls the first offered tool with a value of the right type for each argument.

    For a string, that is the first quoted string of the question, or "x". After a tool's result it
    answers in words.
    """

    def answer(self, messages: Sequence[Message], tools: Tools) -> str:
        """Call the first tool, or answer in words after a result."""
        if not tools or messages[-1].role == "tool":
            return "I see. That is all."
        quoted = re.findall(r"'([^']+)'", messages[-1].text)
        function = tools[0]["function"]
        arguments = _value(function.get("parameters") or {"type": "object"}, (quoted or ["x"])[0])
        return written_calls([ToolCall(function["name"], arguments)])


def _value(schema: Mapping[str, Any], text: str) -> Any:
    kind = schema.get("type")
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], text)
    if kind == "object":
        inner = schema.get("properties", {})
        return {name: _value(inner[name], text) for name in schema.get("required", inner)}
    return {"integer": 3, "number": 3.0, "boolean": True, "array": []}.get(str(kind), text)
