"""For Haystack: a component before a generator, and a generator around yours.

An agent calls its generator again and again with what its tools returned: there, only the second
one protects.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from haystack import component, default_from_dict, default_to_dict
from haystack.components.generators.chat.types import ChatGenerator
from haystack.core.serialization import component_to_dict
from haystack.dataclasses import (
    ChatMessage,
    FileContent,
    ImageContent,
    ReasoningContent,
    StreamingCallbackT,
    TextContent,
    ToolCall,
    ToolCallResult,
)
from haystack.tools import ToolsType
from haystack.utils import Secret
from haystack.utils.deserialization import deserialize_component_inplace

from guardalign_agents.guarding import AgentGuard
from guardalign_agents.typed_walk import TypedWalk, block_of, file_of
from guardalign_middleware import RemoteImageGuard
from guardalign_middleware.conversation import CleanedConversation, Dialect
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.intake.dialects import encode
from guardalign_middleware.intake.said import words_of

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard


class _Walk(TypedWalk):
    files = (ImageContent, FileContent)

    def _turn_item(self, turn: Any, place: str) -> Any:
        if not isinstance(turn, ChatMessage):
            return self.value(turn, place, "strict")
        # Haystack has no public way to read or to set all contents of a message.
        old = turn._content
        content = self._contents(old, f"{place}.content", "strict")
        return turn if content is old else dataclasses.replace(turn, _content=content)

    def _dispatch(self, value: Any, place: str, mode: Any) -> Any:
        if isinstance(value, TextContent):
            return self._with(value, place, {"text": "words"})
        if isinstance(value, ReasoningContent):
            return self._with(value, place, {"reasoning_text": "words", "extra": "loose"})
        if isinstance(value, ToolCall):
            return self._with(value, place, {"arguments": "words", "extra": "loose"})
        if isinstance(value, ToolCallResult):
            if isinstance(value.result, str):
                return self._with(value, place, {"result": "strict"})
            result = self._contents(value.result, f"{place}.result", "strict")
            return value if result is value.result else dataclasses.replace(value, result=result)
        return super()._dispatch(value, place, mode)

    def _block(self, item: Any) -> dict[str, Any]:
        if isinstance(item, ImageContent):
            mime = item.mime_type or "image/png"
            return {"type": "image", "base64": item.base64_image, "mime_type": mime}
        return block_of(item.base64_data, item.mime_type or "application/octet-stream")

    def _shown(self, item: Any, block: Mapping[str, Any]) -> Any:
        file = file_of(block)
        if file is None:
            return TextContent(block["text"])
        if isinstance(item, ImageContent):
            return dataclasses.replace(item, base64_image=encode(file[0]), mime_type=file[1])
        return ImageContent(encode(file[0]), file[1])


def _sender(message: Any) -> str:
    return message.role.value if isinstance(message, ChatMessage) else ""


def _said(message: Any) -> str:
    if not isinstance(message, ChatMessage):
        return ""
    return words_of("\n".join(filter(None, _texts(message._content))))


def _texts(contents: Sequence[Any]) -> Iterator[str]:
    for each in contents:
        if isinstance(each, TextContent):
            yield each.text
        elif isinstance(each, ToolCallResult):
            yield from [each.result] if isinstance(each.result, str) else _texts(each.result)


_DIALECT = Dialect("chat", _Walk, _sender, _said)


class _Guarding:
    """The options of both components, which a pipeline's YAML can hold."""

    def __init__(
        self, guard: AnyGuard | None, url: str | None, api_key: Secret | None, options: Any
    ) -> None:
        if guard is not None and url is not None:
            raise ConfigError("Only one of guard and url should be given.")
        if api_key is not None and url is None:
            raise ConfigError("api_key belongs to url.", remedy="Give the key to the guard itself.")
        self._given = guard
        self._written = {
            "url": url,
            "api_key": None if api_key is None else api_key.to_dict(),
            **options,
        }
        self._own: RemoteImageGuard | None = None
        if url is not None:
            key = None if api_key is None else api_key.resolve_value()
            guard = self._own = RemoteImageGuard(url, api_key=key)
        self.guard = AgentGuard(guard, **options)

    def close(self) -> None:
        """Close the connections to a guard that was given by its URL."""
        if self._own is not None:
            self._own.close()

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values.

        Raises:
            ConfigError: a guard was given, which no YAML can hold.
        """
        if self._given is not None:
            raise ConfigError(
                "A guard cannot be written into a pipeline's file.", remedy="Pass url or preset."
            )
        return self._written


def _read(data: dict[str, Any]) -> None:
    """Turn the key in a pipeline's file into a `Secret` again."""
    given = data.get("init_parameters", {})
    if isinstance(given.get("api_key"), dict):
        given["api_key"] = Secret.from_dict(given["api_key"])


@component
class GuardAlignImageGuard:
    """Cleans the pictures of messages on their way to a generator.

        pipeline.add_component("guard", GuardAlignImageGuard(url="http://127.0.0.1:8000"))
        pipeline.connect("prompt_builder.prompt", "guard.messages")
        pipeline.connect("guard.messages", "llm.messages")

    Args:
        guard: an `ImageGuard`, or a `RemoteImageGuard` in a process without torch.
        url: of `guardalign serve`, instead of `guard`.
        api_key: its key.
        options: those of `AgentGuard`, `preset` among them.

    Raises:
        ConfigError: an option is wrong.
    """

    def __init__(
        self,
        guard: Any = None,
        url: str | None = None,
        api_key: Secret | None = None,
        **options: Any,
    ) -> None:
        self._guarding = _Guarding(guard, url, api_key, options)

    def close(self) -> None:
        """Close the connections to the guard of `url`."""
        self._guarding.close()

    def to_dict(self) -> dict[str, Any]:
        """The component as plain values."""
        return default_to_dict(self, **self._guarding.to_dict())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GuardAlignImageGuard:
        """The component that was written."""
        _read(data)
        return default_from_dict(cls, data)

    @component.output_types(messages=list[ChatMessage], guardalign=dict[str, Any])
    def run(self, messages: list[ChatMessage]) -> dict[str, Any]:
        """Clean messages.

        Raises:
            ImageBlocked: a picture that the user has just sent is blocked.
            ImageRejected, MessageError: something in the newest turns cannot be looked at.
            GuardError: a fault of the guard; nothing goes on.
        """
        return _outputs(self._guarding.guard.clean({"messages": messages}, _DIALECT))

    @component.output_types(messages=list[ChatMessage], guardalign=dict[str, Any])
    async def run_async(self, messages: list[ChatMessage]) -> dict[str, Any]:
        """`run` without blocking the event loop."""
        return _outputs(await self._guarding.guard.aclean({"messages": messages}, _DIALECT))


def _outputs(cleaned: CleanedConversation) -> dict[str, Any]:
    return {"messages": list(cleaned.body["messages"]), "guardalign": cleaned.to_json()}


@component
class GuardedChatGenerator:
    """Your chat generator, which is shown cleaned pictures only; for agents.

        agent = Agent(GuardedChatGenerator(OpenAIChatGenerator(), guard), tools=tools)

    Args:
        chat_generator: yours.
        guard: an `ImageGuard`, or a `RemoteImageGuard` in a process without torch.
        url: of `guardalign serve`, instead of `guard`.
        api_key: its key.
        options: those of `AgentGuard`, `preset` among them.

    Raises:
        ConfigError: an option is wrong.
    """

    def __init__(
        self,
        chat_generator: ChatGenerator,
        guard: Any = None,
        url: str | None = None,
        api_key: Secret | None = None,
        **options: Any,
    ) -> None:
        self.chat_generator: Any = chat_generator
        self._guarding = _Guarding(guard, url, api_key, options)

    def to_dict(self) -> dict[str, Any]:
        """The component and the generator as plain values."""
        inner = component_to_dict(obj=self.chat_generator, name="chat_generator")
        return default_to_dict(self, chat_generator=inner, **self._guarding.to_dict())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GuardedChatGenerator:
        """The component that was written."""
        _read(data)
        deserialize_component_inplace(data["init_parameters"], key="chat_generator")
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Let the generator prepare itself."""
        if hasattr(self.chat_generator, "warm_up"):
            self.chat_generator.warm_up()

    def close(self) -> None:
        """Let the generator, and the guard of `url`, free what they hold."""
        self._guarding.close()
        if hasattr(self.chat_generator, "close"):
            self.chat_generator.close()

    @component.output_types(replies=list[ChatMessage])
    def run(
        self,
        messages: list[ChatMessage] | str,
        streaming_callback: StreamingCallbackT | None = None,
        generation_kwargs: dict[str, Any] | None = None,
        *,
        tools: ToolsType | None = None,
    ) -> dict[str, Any]:
        """Ask the generator about cleaned messages; raises as `GuardAlignImageGuard.run` does."""
        cleaned = self._guarding.guard.clean({"messages": _messages(messages)}, _DIALECT)
        given = _given(streaming_callback, generation_kwargs, tools)
        return dict(self.chat_generator.run(list(cleaned.body["messages"]), **given))

    @component.output_types(replies=list[ChatMessage])
    async def run_async(
        self,
        messages: list[ChatMessage] | str,
        streaming_callback: StreamingCallbackT | None = None,
        generation_kwargs: dict[str, Any] | None = None,
        *,
        tools: ToolsType | None = None,
    ) -> dict[str, Any]:
        """`run` without blocking the event loop."""
        cleaned = await self._guarding.guard.aclean({"messages": _messages(messages)}, _DIALECT)
        given = _given(streaming_callback, generation_kwargs, tools)
        run = getattr(self.chat_generator, "run_async", self.chat_generator.run)
        got = run(list(cleaned.body["messages"]), **given)
        return dict(await got if inspect.isawaitable(got) else got)


def _messages(messages: list[ChatMessage] | str) -> list[ChatMessage]:
    return [ChatMessage.from_user(messages)] if isinstance(messages, str) else messages


def _given(
    streaming_callback: StreamingCallbackT | None,
    generation_kwargs: dict[str, Any] | None,
    tools: ToolsType | None,
) -> dict[str, Any]:
    """What was given: not every generator knows every keyword."""
    given = {
        "streaming_callback": streaming_callback,
        "generation_kwargs": generation_kwargs,
        "tools": tools,
    }
    return {name: value for name, value in given.items() if value is not None}
