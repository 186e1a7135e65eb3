"""The answer to a blocked image, in the place of the model's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

_NOTHING_USED = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
_FORMS = ("ls_structured_output_format", "response_format", "response_schema")


class BlockedReply(BaseChatModel):
    """A chat model that says one thing; its run shows in traces that no other model was asked.

    Attributes:
        reply: what it says.
    """

    reply: str

    @property
    def _llm_type(self) -> str:
        return "guardalign-blocked-reply"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="guardalign", ls_model_name=self._llm_type, ls_model_type="chat"
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=reply_message(self.reply))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        message = reply_message(self.reply)
        chunk = ChatGenerationChunk(
            message=AIMessageChunk(
                content=message.content,
                response_metadata=message.response_metadata,
                usage_metadata=message.usage_metadata,
                chunk_position="last",
            )
        )
        if run_manager is not None:
            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        yield chunk


def reply_message(reply: str, metadata: Mapping[str, Any] | None = None) -> AIMessage:
    """The reply to a blocked image as an answer that has used no tokens."""
    return AIMessage(
        reply,
        response_metadata={"finish_reason": "blocked", **(metadata or {})},
        usage_metadata=_NOTHING_USED,
    )


def needs_form(keywords: Mapping[str, Any]) -> bool:
    """Whether the keywords of a call want a tool call or a schema, which no reply in words is."""
    for name in _FORMS:
        form = keywords.get(name)
        if form and not (isinstance(form, Mapping) and form.get("type") == "text"):
            return True
    config = keywords.get("tool_config")
    calling = config.get("function_calling_config") if isinstance(config, Mapping) else None
    if isinstance(calling, Mapping) and str(calling.get("mode")).upper().endswith("ANY"):
        return True
    choice = keywords.get("tool_choice")
    if isinstance(choice, Mapping):
        # By its type for OpenAI and Anthropic, by its key for Bedrock.
        return choice.get("type") not in {"auto", "none"} and not {"auto", "none"} & set(choice)
    return choice not in {None, False, "auto", "none"}
