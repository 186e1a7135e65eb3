"""The request of `/v1/chat/completions`: what is supported, and nothing that would be ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.options import GenerationOptions, Tools
from guardalign_middleware.serving.called_tools import calls_as_text
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.routes import StrictBody

Zero = Annotated[float, Field(ge=0, le=0)]
One = Annotated[float, Field(ge=1, le=1)]
Stop = (
    Annotated[str, Field(min_length=1)]
    | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)]
)


class StreamOptions(StrictBody):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ToolFunction(StrictBody):
    """A function that the model may call."""

    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Literal[False] | None = None


class Tool(StrictBody):
    """A tool that the model may call; only functions are supported."""

    type: Literal["function"]
    function: ToolFunction

    @property
    def schema_of_function(self) -> dict[str, Any]:
        """The tool for a chat template."""
        return self.model_dump(exclude_none=True)


class TextFormat(StrictBody):
    """The only supported format of an answer."""

    type: Literal["text"]


class ChatRequest(StrictBody):
    """OpenAI's request. Fields with a single accepted value are there for clients that send it.

    `user`, `metadata`, `safety_identifier` and `prompt_cache_key` name the caller's own things and
    have no influence on an answer, here or at OpenAI; they are not kept.
    """

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)
    seed: int | None = None
    stop: Stop | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: Literal[True] | None = None
    n: Literal[1] | None = None
    top_p: One | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logprobs: Literal[False] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def offered(self) -> Tools:
        """The tools that the model is shown."""
        return () if self.tool_choice == "none" else tools_of(self.tools)

    @property
    def includes_usage(self) -> bool:
        """Whether the stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    def generation_options(self, config: ServeConfig) -> GenerationOptions:
        """The options of the generation.

        Raises:
            ApiError: 400, two limits for the length, or one beyond the server's.
        """
        if self.stream_options is not None and not self.stream:
            raise ApiError(
                400,
                "stream_options is only for a stream.",
                code="invalid_value",
                param="stream_options",
            )
        given = {
            name: value
            for name in ("max_completion_tokens", "max_tokens")
            if (value := getattr(self, name)) is not None
        }
        if len(given) == 2:
            raise ApiError(
                400,
                "Only one of max_completion_tokens and max_tokens should be given.",
                code="invalid_value",
                param="max_tokens",
            )
        name, limit = next(iter(given.items()), ("", None))
        return options_of(config, name, limit, self.temperature, self.seed, self.stop)


def options_of(
    config: ServeConfig,
    limit_name: str,
    limit: int | None,
    temperature: float | None,
    seed: int | None = None,
    stop: str | list[str] | None = None,
) -> GenerationOptions:
    """The options of the generation; None leaves one to the preset.

    Raises:
        ApiError: 400, a limit for the length beyond the server's.
    """
    if limit is not None and limit > config.max_output_tokens:
        raise ApiError(
            400,
            f"{limit_name} should be at most {config.max_output_tokens:,}. Received {limit:,}.",
            code="invalid_value",
            param=limit_name,
        )
    return {
        "max_new_tokens": limit,
        "temperature": temperature,
        "seed": seed,
        "stop": [stop] if isinstance(stop, str) else stop,
    }


def tools_of(tools: Sequence[Tool] | None) -> Tools:
    """The tools for a chat template."""
    return tuple(tool.schema_of_function for tool in tools or ())


def conversation_of(
    messages: Sequence[Mapping[str, Any]], *, own_syntax: bool
) -> list[dict[str, Any]]:
    """The messages for the chain, with the calls of earlier turns as text.

    Args:
        messages: of a request.
        own_syntax: whether the model has a syntax for calls.

    Raises:
        MessageError: a call that cannot be read.
    """
    return [
        _turn(message, f"messages[{index}]", own_syntax) for index, message in enumerate(messages)
    ]


def _turn(message: Mapping[str, Any], place: str, own_syntax: bool) -> dict[str, Any]:
    turn = dict(message)
    functions = []
    calls = turn.pop("tool_calls", None)
    if calls is not None and not isinstance(calls, list):
        raise MessageError(f"{place}.tool_calls should be a list.")
    for call in calls or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        functions.append(function)
    older = turn.pop("function_call", None)
    if older is not None:
        functions.append(older)
    if not functions:
        return turn
    text = calls_as_text(functions, f"{place}.tool_calls", own_syntax=own_syntax)
    said = turn.get("content")
    parts = [{"type": "text", "text": said}] if isinstance(said, str) and said else said or []
    if not isinstance(parts, list):
        return turn  # The chain says what is wrong with it.
    return {**turn, "content": [*parts, {"type": "text", "text": text}]}
