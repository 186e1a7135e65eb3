"""Public doubles for testing your own agents and chains behind the guard; no model, no network.

`RecordingModel` is a chat model that keeps every prompt, so that a test can check what reached it:

```python
from guardalign_middleware.testing import base64_png, picture, png, red_guard
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_guardalign import GuardAlignMiddleware
from langchain_guardalign.testing import RecordingModel, holds_raw

unsafe = picture(red=True)  # `red_guard()` finds red things unsafe
block = {"type": "image", "base64": base64_png(unsafe), "mime_type": "image/png"}
model = RecordingModel(answers=[AIMessage("A square.")])
agent = create_agent(model, middleware=[GuardAlignMiddleware(guard=red_guard())])
agent.invoke({"messages": [HumanMessage([block])]})
assert not holds_raw(model.seen, png(unsafe))
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from guardalign_middleware.testing import holds_raw as holds_raw


class RecordingModel(BaseChatModel):
    """A chat model that returns scripted answers and records every prompt.

    Attributes:
        answers: returned in order, over and over; put tool calls into them to script an agent.
        seen: a deep copy of the messages of each call.
    """

    answers: list[AIMessage] = Field(repr=False)
    seen: list[list[BaseMessage]] = Field(default_factory=list, repr=False)

    @property
    def _llm_type(self) -> str:
        return "recording"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Return the model itself: the calls are in its answers."""
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
