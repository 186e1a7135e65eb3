"""How strictly each part of a LangChain value is read, by where it stands."""

from __future__ import annotations

from typing import Literal

from langchain_guardalign.dialects import MIME_KEYS, Block, block_type

Mode = Literal["strict", "block", "loose", "words", "quoted"]
"""How a value is read.

- strict: message content, which a model reads; no unknown block passes.
- block: a field of such a block; what begins like an image and cannot be read is not shown.
- loose: everything else around a message.
- words: text and tool calls, where a block, a URL or a file id is only words.
- quoted: JSON of a trace, where only images with bytes count.
"""

# Blocks whose content is itself message content, and the keys under which it is.
_TRANSPARENT = {"non_standard", "tool_result"}
CONTENT_KEYS = {"content", "value"}
# Keys under which a string is words, and those whose whole value a model wrote.
_TEXT_KEYS = {"content", "output", "page_content", "reasoning", "text", "thinking"}
_CALL_KEYS = {
    "function_call",
    "invalid_tool_calls",
    "structured_response",
    "tool_call_chunks",
    "tool_calls",
}
_SOUND = {"audio", "input_audio", "audio_url"}
_CALLS = {
    "custom_tool_call",
    "function_call",
    "input_json_delta",
    "invalid_tool_call",
    "mcp_call",
    "server_tool_call",
    "server_tool_call_chunk",
    "server_tool_use",
    "tool_call",
    "tool_call_chunk",
    "tool_use",
}


def modes_inside(block: Block, mode: Mode) -> tuple[Mode, Mode]:
    """The modes of a block's content, and of everything else in it."""
    outer: Mode = "block" if mode == "strict" else mode
    if outer in {"block", "loose"}:
        kind = block_type(block) or ""
        media = str(next((block[key] for key in MIME_KEYS if block.get(key)), "")).lower()
        if kind in _CALLS or media.startswith("text/"):
            outer = "words"
        elif media.startswith("audio/") or kind in _SOUND:
            # Sound can begin like an image.
            outer = "loose"
    return (mode if block_type(block) in _TRANSPARENT else outer), outer


def mode_under(key: object, value: object, mode: Mode) -> Mode:
    """The mode of a value under a key: a text and a tool call are words, whatever is around."""
    if mode not in {"block", "loose"}:
        return mode
    lines = value if isinstance(value, list) else [value]
    text = key in _TEXT_KEYS and all(isinstance(line, str) for line in lines)
    return "words" if text or key in _CALL_KEYS else mode
