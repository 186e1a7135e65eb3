"""What another model gets to see of each kind of content block; the only table of them.

Models and providers write blocks of their own into a conversation: calls, results, reasoning, cache
points. The names are those of LangChain, OpenAI, Anthropic, Bedrock, Google, Mistral and
Perplexity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from guardalign_middleware.intake.media_types import MediaKind

Fate = Literal["text", "content", "json", "document", "dropped", "picture", "refused"]

ARGUMENTS = (
    *("args", "arguments", "input", "partial_json", "code", "executable_code", "action"),
    *("operation", "queries", "tools"),
)
"""The keys of a call's arguments: never shown as pictures, so a data URL in them is only words."""


@dataclass(frozen=True)
class Kind:
    """What becomes of one kind of block.

    Attributes:
        fate: `text`: the text under the first key is read. `content`: what stands under the keys is
            itself content. `json`: the value is read as JSON text. `document`: its text is read,
            and a file is refused. `dropped`: nothing is read. `picture`: the guard reads it, or it
            is refused. `refused`: it could hold pictures that the guard does not read.
        keys: where the text, the content or the value is.
        same_kind: for `content`: whether this content is as unknown as what is around the block.
        media: what a file in the block is; `file` leaves it to the type that the block states.
    """

    fate: Fate
    keys: tuple[str, ...] = ()
    same_kind: bool = False
    media: MediaKind | None = None


_DROPPED = Kind("dropped")
_PICTURE = Kind("picture", media="image")


def _each(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


KINDS: Mapping[str, Kind] = {
    **_each(Kind("text", ("text",)), "text input_text output_text guard_content"),
    # LangChain's text file: converters send its bytes, or what lies behind its address.
    "text-plain": Kind("text", ("text",), media="file"),
    "refusal": Kind("text", ("refusal",)),
    # Calls of the application's tools; an adapter writes them in words where it has them.
    **_each(
        _DROPPED,
        "tool_call tool_call_chunk invalid_tool_call tool_use function_call custom_tool_call"
        " input_json_delta toolUse functionCall",
    ),
    # Calls of tools on the provider's servers, and what surrounds them.
    **_each(
        _DROPPED,
        "server_tool_call server_tool_call_chunk server_tool_use mcp_tool_use web_search_call"
        " file_search_call computer_call local_shell_call shell_call apply_patch_call"
        " tool_search_call mcp_list_tools mcp_approval_request mcp_approval_response"
        " executable_code executableCode",
    ),
    **_each(
        _DROPPED,
        "reasoning thinking redacted_thinking reasoning_content reasoningContent thought"
        " thought_signature thoughtSignature cachePoint cache_point item_reference"
        " configuration_update additional_tools tool_reference tool_search_output resource_link",
    ),
    **_each(Kind("content", ("content",)), "tool_result toolResult search_result searchResult"),
    **_each(Kind("content", ("content",)), "citations_content citationsContent message"),
    **_each(
        Kind("content", ("output",)),
        "server_tool_result function_call_output custom_tool_call_output computer_call_output"
        " mcp_call codeExecutionResult",
    ),
    # A summary of what came before; OpenAI's is encrypted.
    "compaction": Kind("content", ("content",)),
    "shell_call_output": Kind("json", ("output",)),
    "code_interpreter_call": Kind("content", ("outputs",)),
    "code_execution_result": Kind("content", ("code_execution_result", "output", "content")),
    "non_standard": Kind("content", ("value",), same_kind=True),
    "guardContent": Kind("content", ("value",), same_kind=True),
    "json": Kind("json", ("json",)),
    **_each(Kind("json", ("response",)), "functionResponse function_response"),
    "document": Kind("document", ("source",), media="file"),
    **_each(_PICTURE, "image image_url input_image computer_screenshot image_generation_call"),
    **_each(Kind("refused", media="audio"), "audio input_audio audio_url"),
    **_each(Kind("refused", media="video"), "video video_url input_video"),
    **_each(
        Kind("refused", media="file"),
        "file input_file file_url document_url media resource container_upload inlineData"
        " inline_data fileData file_data",
    ),
}
# New tools get new names, but by these rules.
_SUFFIXES = (
    ("_tool_use", _DROPPED),
    ("_call", _DROPPED),
    ("_tool_result", Kind("content", ("content",))),
    ("_call_output", Kind("content", ("output",))),
)
UNTYPED = frozenset(
    "text json toolUse toolResult reasoningContent reasoning_content cachePoint cache_point"
    " citationsContent guardContent searchResult document video audio functionCall function_call"
    " functionResponse function_response executableCode executable_code codeExecutionResult"
    " code_execution_result thoughtSignature thought_signature inlineData inline_data fileData"
    " file_data".split()
)
"""Kinds that Bedrock and Google write as `{kind: {…}}` instead of `{"type": kind, …}`."""


def kind_of(name: str | None) -> Kind | None:
    """The kind with this name; None for an unknown one."""
    if name is None or name in KINDS:
        return KINDS.get(name or "")
    name = name.replace("-", "_")
    if name in KINDS:
        return KINDS[name]
    return next((kind for suffix, kind in _SUFFIXES if name.endswith(suffix)), None)
