"""A chat model that streams, takes tools, counts tokens and fails on demand, and records it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from langchain_guardalign.testing import RecordingModel

USAGE = UsageMetadata(input_tokens=3, output_tokens=2, total_tokens=5)


class Down(Exception):
    """What a provider raises when it cannot be reached."""


class Provider(RecordingModel):
    """A model as a provider's package has it.

    Attributes:
        model_name: read by LangChain.
        down: whether every call fails.
        keywords: those of each call.
        counted: the messages of each token count, which some providers send over the network.
    """

    answers: list[AIMessage] = Field(
        default_factory=lambda: [AIMessage("a blue square", usage_metadata=USAGE)], repr=False
    )
    model_name: str = "provider-1"
    temperature: float | None = 0.5
    max_retries: int = 4
    down: bool = False
    keywords: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    counted: list[list[BaseMessage]] = Field(default_factory=list, repr=False)

    @property
    def _llm_type(self) -> str:
        return "provider-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="provider", ls_model_name=self.model_name)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Bind the schemas, as providers do."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def client(self, prompt: object) -> object:
        """The raw API."""
        return prompt

    def get_token_ids(self, text: str) -> list[int]:
        """One token a word."""
        return list(range(len(text.split())))

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """One token a message."""
        self.counted.append(messages)
        return len(messages)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.keywords.append({**kwargs, "stop": stop})
        result = super()._generate(messages)
        if self.down:
            raise Down
        return result

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        (generation,) = self._generate(messages, stop, run_manager, **kwargs).generations
        message = generation.message
        for word in message.text.split():
            yield ChatGenerationChunk(message=AIMessageChunk(f"{word} "))
        calls = [
            {"name": call["name"], "args": "{}", "id": call["id"], "index": index}
            for index, call in enumerate(getattr(message, "tool_calls", []))
        ]
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                "",
                tool_call_chunks=calls,
                usage_metadata=USAGE,
                response_metadata={"model_name": self.model_name},
                chunk_position="last",
            )
        )


class Native(Provider):
    """A model with a way of its own to write structured output."""

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        """Answer as `response_format`, not as a tool call."""
        return self.bind(response_format=schema) | (lambda message: schema(thing=message.text))


class Words(Provider):
    """A model that cannot stream."""

    _stream = BaseChatModel._stream
