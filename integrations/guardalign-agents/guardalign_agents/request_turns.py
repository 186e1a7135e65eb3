"""Whose turns a request of Pydantic AI holds: those of tools, and the user's behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from pydantic_ai.messages import (
    BaseToolReturnPart,
    ModelMessage,
    ModelRequest,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters

# What output tools are called unless they are named.
_OUTPUT = re.compile(r"final_result(_[\w-]+)?")


@dataclass(frozen=True)
class Tools:
    """Names of the tools that a request offers.

    Attributes:
        outputs: their results end a run.
        others: those of functions.
    """

    outputs: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @classmethod
    def of(cls, parameters: ModelRequestParameters | None) -> Self:
        """Those of a request's parameters."""
        if parameters is None:
            return cls()
        return cls(
            frozenset(tool.name for tool in parameters.output_tools),
            frozenset(tool.name for tool in parameters.function_tools),
        )

    def ended(self, name: str) -> bool:
        """Whether a result of this tool ended a run: those of earlier agents have usual names."""
        if name in self.outputs:
            return True
        return name not in self.others and _OUTPUT.fullmatch(name) is not None


def is_of_a_run(messages: Sequence[ModelMessage], index: int) -> bool:
    """Whether a request was written by a run itself, so that all in it is its tools'.

    A prompt that was put behind the results of a run is not of that run.
    """
    if index + 1 < len(messages) and isinstance(messages[index + 1], ModelRequest):
        return True  # the prompt is in the next one
    run = getattr(messages[index], "run_id", None)
    return index > 0 and run is not None and getattr(messages[index - 1], "run_id", None) == run


def split_request(message: ModelMessage, tools: Tools) -> Sequence[ModelMessage]:
    """A request as the turns of a tool and of the user, if a run had ended before the user spoke.

    The result of an output tool ends a run. The next prompt stands in the same request, behind it,
    and behind what other tools of that run added as prompts.
    """
    if not isinstance(message, ModelRequest):
        return [message]
    results = [part for part in message.parts if isinstance(part, BaseToolReturnPart)]
    prompts = [
        index for index, part in enumerate(message.parts) if isinstance(part, UserPromptPart)
    ]
    if not prompts or not any(tools.ended(part.tool_name) for part in results):
        return [message]
    rest = message.parts[prompts[-1] :]
    if any(isinstance(part, BaseToolReturnPart) for part in rest):
        return [message]
    return [
        replace(message, parts=message.parts[: prompts[-1]]),
        replace(message, parts=rest, instructions=None),
    ]


def joined(
    message: ModelMessage, turns: Sequence[ModelMessage], cleaned: Sequence[ModelMessage]
) -> ModelMessage:
    """One message again; the same object if nothing in it has changed."""
    if all(new is old for new, old in zip(cleaned, turns, strict=True)):
        return message
    if len(cleaned) == 1:
        return cleaned[0]
    return replace(cleaned[0], parts=[part for each in cleaned for part in each.parts])
