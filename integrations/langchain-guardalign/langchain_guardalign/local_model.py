"""What `ChatGuardAlign` asks its local model about: tokens and tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from guardalign_middleware.handles import LazyChain
from guardalign_middleware.intake.messages import read_conversation
from langchain_guardalign.picture_cache import PictureCache
from langchain_guardalign.replies import calls_in_model_syntax
from langchain_guardalign.role_content import calls_in_words, says_something, to_role_content
from langchain_guardalign.token_counts import CountsTokens, count_tokens


class LocalModel(PictureCache):
    """A chat model with a chain whose runner may be local."""

    _lazy: LazyChain = PrivateAttr()

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of the model's own tokenizer; nothing is downloaded.

        Raises:
            NotImplementedError: the runner is not a local model, and `custom_get_token_ids` is not
                set.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._local_runner().token_ids(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Count the tokens of the whole prompt with image tokens, template and safety prefix.

        Parts of a history count too, as `trim_messages` needs it, and prompts of any length. What
        cannot be checked counts as the notice in its place.

        Raises:
            NotImplementedError: the runner is not a local model, or cannot call the tools.
        """
        schemas = [convert_to_openai_tool(tool) for tool in tools or ()]
        if schemas:
            self._tool_template()
        runner = self._local_runner()
        conversation = conversation_of(messages, {"tools": schemas})
        # A part of a history is no conversation: it may have no user message, or an empty one.
        said = [
            turn if says_something(turn["content"]) else {**turn, "content": "."}
            for turn in conversation
        ]
        asked = [*said, {"role": "user", "content": "?"}]
        policy = self._lazy.config.intake
        parsed = read_conversation(asked, policy, on_refused="notice").messages[:-1]
        return count_tokens(runner, parsed, schemas)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools through the model's own chat template; this loads the model.

        Args:
            tools: in any form that LangChain accepts; without any, every model will do.
            tool_choice: the name of the only tool to offer, or "any", "required", True, "auto" or
                "none". A local model cannot be forced to call: unless it is "auto" or "none", an
                answer without a call raises `OutputParserException`.
            kwargs: further options of each call.

        Raises:
            NotImplementedError: the model's chat template takes no tools, or writes calls in an
                unknown format.
            ValueError: `tool_choice` is not the name of a tool.
        """
        if not tools and tool_choice in {None, False, "auto", "none"}:
            return self.bind(**kwargs)
        self._tool_template()
        schemas = [convert_to_openai_tool(tool) for tool in tools]
        if isinstance(tool_choice, str) and tool_choice not in {"auto", "any", "required", "none"}:
            schemas = [each for each in schemas if each["function"]["name"] == tool_choice]
            if not schemas:
                raise ValueError(f"tool_choice should name a tool. Received {tool_choice!r}.")
        if tool_choice == "none":
            schemas = []
        must_call = tool_choice not in {None, False, "auto", "none"}
        return self.bind(tools=schemas, must_call=must_call, **kwargs)

    def _local_runner(self) -> CountsTokens:
        runner: Any = self._lazy.get().runner
        if any(getattr(runner, name, None) is None for name in ("token_ids", "count_tokens")):
            raise NotImplementedError(
                f"{type(runner).__name__} has no local tokenizer. Set custom_get_token_ids."
            )
        counts: CountsTokens = runner
        return counts

    def _tool_template(self) -> Mapping[str, Any]:
        from guardalign_middleware.generation.prompt.tool_calls import ToolRunner

        runner = self._lazy.get().runner
        template = runner.tool_template if isinstance(runner, ToolRunner) else None
        if template is None:
            raise NotImplementedError(
                f"The model {runner.name!r} cannot call tools: its chat template takes none, or "
                "writes calls in an unknown format. Use a model that can, behind "
                "ImageGuardRunnable or GuardAlignMiddleware."
            )
        return template


def conversation_of(
    messages: Sequence[BaseMessage], kwargs: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The messages for `GuardAlign.invoke`, with calls as the model writes them or in words.

    The chain decides about what cannot be read.
    """
    write_calls = calls_in_model_syntax if kwargs.get("tools") else calls_in_words
    return to_role_content(messages, write_calls, raises=False)
