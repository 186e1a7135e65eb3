"""For Pydantic AI: a model around yours, and the same as a capability of an agent."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    MULTI_MODAL_CONTENT_TYPES,
    AudioUrl,
    BaseToolCallPart,
    BaseToolReturnPart,
    BinaryContent,
    CachePoint,
    FilePart,
    FileUrl,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextContent,
    TextPart,
    ThinkingPart,
    UploadedFile,
    UserPromptPart,
    VideoUrl,
)
from pydantic_ai.models import (
    KnownModelName,
    Model,
    ModelRequestContext,
    ModelRequestParameters,
    StreamedResponse,
)
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from guardalign_agents.guarding import AgentGuard
from guardalign_agents.request_turns import Tools, is_of_a_run, joined, split_request
from guardalign_agents.typed_walk import TypedWalk, block_of, file_of
from guardalign_middleware.conversation import Dialect
from guardalign_middleware.intake.said import words_of
from guardalign_middleware.intake.walk_modes import Mode

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard


class _Walk(TypedWalk):
    files = MULTI_MODAL_CONTENT_TYPES

    def _turn_item(self, turn: Any, place: str) -> Any:
        if not isinstance(turn, ModelRequest | ModelResponse):
            return self.value(turn, place, "strict")
        parts = [
            self._part(part, f"{place}.parts[{index}]") for index, part in enumerate(turn.parts)
        ]
        changed: dict[str, Any] = {}
        if any(new is not old for new, old in zip(parts, turn.parts, strict=True)):
            changed["parts"] = parts
        if isinstance(turn, ModelRequest) and turn.instructions is not None:
            said = self.value(turn.instructions, f"{place}.instructions", "words")
            if said is not turn.instructions:
                changed["instructions"] = said
        return dataclasses.replace(turn, **changed) if changed else turn

    def _part(self, part: Any, place: str) -> Any:
        if isinstance(part, UserPromptPart):
            if isinstance(part.content, str):
                return self._with(part, place, {"content": "strict"})
            content = self._contents(part.content, f"{place}.content", "strict")
            return part if content is part.content else dataclasses.replace(part, content=content)
        if isinstance(part, BaseToolReturnPart):
            # Plain values become JSON; among them, a model is shown pictures of these classes only.
            return self._with(part, place, {"content": "loose"})
        if isinstance(part, FilePart):
            new = self.value(part.content, f"{place}.content", "strict")
            if isinstance(new, str):
                return TextPart(new)
            return part if new is part.content else dataclasses.replace(part, content=new)
        if isinstance(part, BaseToolCallPart):
            return self._with(part, place, {"args": "words"})
        if isinstance(part, SystemPromptPart | TextPart | ThinkingPart):
            return self._with(part, place, {"content": "words"})
        return self.value(part, place, "loose")

    def _dispatch(self, value: Any, place: str, mode: Mode) -> Any:
        if isinstance(value, TextContent):
            return self._with(value, place, {"content": "words"})
        return value if isinstance(value, CachePoint) else super()._dispatch(value, place, mode)

    def _block(self, item: Any) -> dict[str, Any]:
        if isinstance(item, UploadedFile):
            return {"type": "file", "file_id": item.file_id}
        if isinstance(item, ImageUrl):
            return {"type": "image_url", "image_url": {"url": item.url}}
        if isinstance(item, FileUrl):
            kinds = {VideoUrl: "video", AudioUrl: "audio"}
            kind = next((name for cls, name in kinds.items() if isinstance(item, cls)), "file")
            # What has no name that tells is sent as what its class says.
            usual = "audio/*" if kind == "audio" else None
            return {"type": kind, "url": item.url, "mime_type": _media_type(item) or usual}
        return block_of(item.base64, item.media_type)

    def _shown(self, item: Any, block: Mapping[str, Any]) -> Any:
        file = file_of(block)
        if file is None:
            return block["text"]
        data, media_type = file
        if isinstance(item, BinaryContent):
            # Words may name the picture, also by the name that it had from its bytes.
            named = {"identifier": item.identifier}  # pydantic's own name of the field
            return dataclasses.replace(item, data=data, media_type=media_type, **named)
        return BinaryContent(
            data,
            media_type=media_type,
            identifier=item.identifier,
            vendor_metadata=item.vendor_metadata,
        )


def _media_type(item: FileUrl) -> str | None:
    """What some services are told that the file is, whatever its class says."""
    try:
        return item.media_type
    except ValueError:
        return None


def _sender(message: Any) -> str:
    if isinstance(message, ModelResponse):
        return "assistant"
    if not isinstance(message, ModelRequest):
        return ""
    results = any(isinstance(part, BaseToolReturnPart) for part in message.parts)
    return "tool" if results else "user"


def _said(message: Any) -> str:
    """The words of a request or an answer; those of the system are no turn's."""
    if not isinstance(message, ModelRequest | ModelResponse):
        return ""
    said = "\n".join(filter(None, (text for part in message.parts for text in _texts(part))))
    return words_of(said)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, BaseToolReturnPart):
        yield from _strings(part.content, part)
    elif isinstance(part, TextPart):
        yield part.content
    elif isinstance(part, UserPromptPart):
        for item in [part.content] if isinstance(part.content, str) else part.content:
            if isinstance(item, str | TextContent):
                yield item if isinstance(item, str) else item.content


def _strings(value: Any, part: BaseToolReturnPart) -> Iterator[str]:
    """The texts in a tool's result; files are no words, and come as base64 in its JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item, part)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, part)
    elif not isinstance(value, (*MULTI_MODAL_CONTENT_TYPES, int, float, bytes, type(None))):
        # An object of a class of one's own: what a model reads of it is plain JSON.
        yield from _strings(dataclasses.replace(part, content=value).model_response_object(), part)


_DIALECT = Dialect("chat", _Walk, _sender, _said)


class GuardedModel(WrapperModel):
    """Your model, which is shown cleaned pictures only.

        agent = Agent(GuardedModel("openai:gpt-5.4", RemoteImageGuard("http://127.0.0.1:8000")))

    Prompts, histories, instructions, results of tools and files of other models are cleaned,
    streamed or not. An agent's own messages stay as they are.

    Args:
        wrapped: the model, or its name.
        guard: an `ImageGuard`, or a `RemoteImageGuard` in a process without torch.
        options: those of `AgentGuard`.

    Raises:
        ConfigError: an option is wrong.
    """

    def __init__(
        self,
        wrapped: Model | KnownModelName | str,
        guard: AnyGuard | AgentGuard | None = None,
        **options: Any,
    ) -> None:
        super().__init__(wrapped)
        self._guard = guard if isinstance(guard, AgentGuard) else AgentGuard(guard, **options)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Ask the model about cleaned messages.

        Raises:
            ImageBlocked: a picture that the user has just sent is blocked.
            ImageRejected, MessageError: something in the newest turns cannot be looked at.
            GuardError: a fault of the guard; the model is not asked.
        """
        cleaned = await self._cleaned(messages, model_request_parameters)
        return await super().request(cleaned, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """`request`, piece by piece."""
        cleaned = await self._cleaned(messages, model_request_parameters)
        async with super().request_stream(
            cleaned, model_settings, model_request_parameters, run_context
        ) as stream:
            yield stream

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """Count cleaned messages: the service is sent them, too."""
        cleaned = await self._cleaned(messages, model_request_parameters)
        return await super().count_tokens(cleaned, model_settings, model_request_parameters)

    async def compact_messages(
        self, request_context: ModelRequestContext, *, instructions: str | None = None
    ) -> ModelResponse:
        """Have cleaned messages compacted."""
        parameters = request_context.model_request_parameters
        cleaned = await self._cleaned(request_context.messages, parameters)
        return await super().compact_messages(
            dataclasses.replace(request_context, messages=cleaned), instructions=instructions
        )

    async def batch_encode(self, request: Any) -> Any:
        """Encode a request of a batch, cleaned."""
        parameters = getattr(request, "model_request_parameters", None)
        cleaned = await self._cleaned(request.messages, parameters)
        return await super().batch_encode(dataclasses.replace(request, messages=cleaned))

    async def _cleaned(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters | None
    ) -> list[ModelMessage]:
        tools = Tools.of(parameters)
        split: list[Sequence[ModelMessage]] = [
            [message] if is_of_a_run(messages, index) else split_request(message, tools)
            for index, message in enumerate(messages)
        ]
        turns = [turn for each in split for turn in each]
        cleaned = await self._guard.aclean({"messages": turns}, _DIALECT)
        rest = iter(cleaned.body["messages"])
        return [
            joined(message, each, list(islice(rest, len(each))))
            for message, each in zip(messages, split, strict=True)
        ]


class ImageGuardCapability(AbstractCapability[Any]):
    """The guard around whichever model an agent uses; see `GuardedModel`.

        agent = Agent("openai:gpt-5.4", capabilities=[ImageGuardCapability(guard)])

    Args:
        guard: an `ImageGuard`, or a `RemoteImageGuard` in a process without torch.
        options: those of `AgentGuard`.

    Raises:
        ConfigError: an option is wrong.
    """

    def __init__(self, guard: AnyGuard | None = None, **options: Any) -> None:
        self._guard = AgentGuard(guard, **options)

    def get_wrapper_model(self, model: Model) -> Model:
        """The guard around the model that serves a request."""
        return GuardedModel(model, self._guard)
