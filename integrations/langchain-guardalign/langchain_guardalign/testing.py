"""Chat models for measuring: one remembers what it was shown, one does nothing at all."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field


class RecordingModel(BaseChatModel):
    """Gives its answers in order, over and over, and keeps a copy of every prompt in `seen`."""

    answers: list[AIMessage] = Field(repr=False)
    seen: list[list[BaseMessage]] = Field(default_factory=list, repr=False)

    @property
    def _llm_type(self) -> str:
        return "witness"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Nothing to bind: the calls are in the answers already."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.seen.append([message.model_copy(deep=True) for message in messages])
        answer = self.answers[(len(self.seen) - 1) % len(self.answers)]
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy())])


class IdleModel(BaseChatModel):
    """Gives always the same answer and looks at nothing."""

    answer: AIMessage

    @property
    def _llm_type(self) -> str:
        return "idle"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer)])


def holds_raw(value: object, png: bytes) -> bool:
    """Whether these bytes stand anywhere in a value, as base64 or as they are."""
    text = repr(value)
    return base64.b64encode(png).decode("ascii") in text or repr(png)[2:-1] in text
