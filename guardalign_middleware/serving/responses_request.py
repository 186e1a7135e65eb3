"""The request of `/v1/responses`, without anything that a stateless server would have to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.options import GenerationOptions, Tools
from guardalign_middleware.serving.called_tools import calls_as_text
from guardalign_middleware.serving.chat_request import One, TextFormat, options_of
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.routes import StrictBody


class FunctionTool(StrictBody):
    """A function that the model may call; other tools are not supported."""

    type: Literal["function"]
    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Literal[False] | None = None

    @property
    def schema_of_function(self) -> dict[str, Any]:
        """The tool for a chat template."""
        fields = self.model_dump(exclude_none=True, exclude={"type"})
        return {"type": "function", "function": fields}


class TextOptions(StrictBody):
    """The form of an answer."""

    format: TextFormat | None = None


class ResponsesStreamOptions(StrictBody):
    """What a stream holds beside the answer."""

    include_obfuscation: Literal[False] | None = None


class ResponsesRequest(StrictBody):
    """OpenAI's request. Fields with a single accepted value are there for clients that send it.

    Nothing is kept, so `previous_response_id`, `conversation` and `store: true` are refused.
    """

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    stream_options: ResponsesStreamOptions | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: Literal[True] | None = None
    top_p: One | None = None
    text: TextOptions | None = None
    store: Literal[False] | None = None
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None
    service_tier: Literal["auto", "default"] | None = None
    # There is no reasoning, so all of it is included.
    include: list[Literal["reasoning.encrypted_content"]] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def offered(self) -> Tools:
        """The tools that the model is shown."""
        hidden = self.tool_choice == "none"
        return () if hidden else tuple(tool.schema_of_function for tool in self.tools or ())

    def generation_options(self, config: ServeConfig) -> GenerationOptions:
        """The options of the generation.

        Raises:
            ApiError: 400, a limit for the length beyond the server's.
        """
        return options_of(config, "max_output_tokens", self.max_output_tokens, self.temperature)

    def conversation(self) -> list[dict[str, Any]]:
        """The messages for the chain, with the calls of earlier turns as text.

        Raises:
            MessageError: an item that cannot be read.
            ApiError: 400, an item that is only named and would have to be kept here.
        """
        own_syntax = bool(self.offered)
        turns: list[dict[str, Any]] = []
        if self.instructions:
            turns.append({"role": "system", "content": self.instructions})
        if isinstance(self.input, str):
            return [*turns, {"role": "user", "content": self.input}]
        for index, item in enumerate(self.input):
            place = f"input[{index}]"
            turn = _turn(item, place, own_syntax)
            last = turns[-1] if turns else {}
            if item.get("type") == "function_call" and last.get("role") == "assistant":
                # The calls of an answer are items of their own; a model writes them in one turn.
                last["content"] = [*_listed(last.get("content")), *turn["content"]]
            else:
                turns.append(turn)
        return turns


def _turn(item: Mapping[str, Any], place: str, own_syntax: bool) -> dict[str, Any]:
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "message":
        content = _content(item.get("content"), f"{place}.content")
        return {"role": item.get("role"), "content": content}
    if kind == "function_call":
        text = calls_as_text([item], place, own_syntax=own_syntax)
        return {"role": "assistant", "content": [{"type": "text", "text": text}]}
    if kind == "function_call_output":
        return {"role": "tool", "content": _content(item.get("output"), f"{place}.output")}
    if kind == "item_reference":
        raise ApiError(
            400,
            f"{place} names an item of an earlier response. Nothing is kept here: send the item.",
            code="unsupported_parameter",
            param="input",
        )
    return dict(item)  # reasoning and others, which the chain reads, notes or refuses


def _content(content: object, place: str) -> object:
    if not isinstance(content, list):
        return content
    return [_part(part, f"{place}[{index}]") for index, part in enumerate(content)]


def _part(part: object, place: str) -> object:
    if not isinstance(part, Mapping) or part.get("type") != "input_image":
        return part
    if not isinstance(part.get("image_url"), str):
        raise MessageError(
            f"{place} should have a string under 'image_url'.",
            remedy="Files of an earlier upload are not kept here: send a data URL.",
        )
    return {"type": "image_url", "image_url": {"url": part["image_url"]}}


def _listed(content: object) -> Sequence[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content if isinstance(content, list) else []
