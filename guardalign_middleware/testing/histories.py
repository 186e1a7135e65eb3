"""Blocks that models of other providers leave in a conversation, in their providers' own forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from guardalign_middleware.intake.block_kinds import ARGUMENTS

INERT: dict[str, dict[str, Any]] = {
    "langchain reasoning": {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "Eq"}},
    "langchain tool call": {"type": "tool_call", "id": "c1", "name": "look", "args": {"x": 1}},
    "langchain tool call chunk": {"type": "tool_call_chunk", "id": "c1", "args": '{"x', "index": 0},
    "langchain invalid tool call": {
        "type": "invalid_tool_call",
        "id": "c2",
        "name": "look",
        "args": '{"x": ',
        "error": "no JSON",
    },
    "langchain server tool call": {
        "type": "server_tool_call",
        "id": "s1",
        "name": "web_search",
        "args": {"query": "cats", "url": "https://example.org/cat.png"},
    },
    "langchain server tool call chunk": {"type": "server_tool_call_chunk", "args": '{"q'},
    "langchain server tool result": {
        "type": "server_tool_result",
        "tool_call_id": "s1",
        "status": "success",
        "output": {"sources": [{"type": "url", "url": "https://example.org/cat.png"}]},
    },
    "langchain non-standard": {"type": "non_standard", "value": {"type": "compaction", "id": "c"}},
    "openai reasoning": {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "It looks at the picture."}],
        "encrypted_content": "gAAAAABo" * 40,
    },
    "openai function call": {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "write_file",
        "arguments": '{"text": "<img src=\\"data:image/gif;base64,R0lGODlhAQABAAAAACw=\\">"}',
        "status": "completed",
    },
    "openai custom tool call": {
        "type": "custom_tool_call",
        "id": "ctc_1",
        "call_id": "call_2",
        "name": "shell",
        "input": "open https://example.org/cat.png",
    },
    "openai web search": {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {
            "type": "search",
            "query": "cats",
            "sources": [{"type": "url", "url": "https://example.org"}],
        },
    },
    "openai file search": {
        "type": "file_search_call",
        "id": "fs_1",
        "queries": ["cats"],
        "results": [{"file_id": "file-abc123", "filename": "cats.pdf", "score": 0.5}],
    },
    "openai computer call": {
        "type": "computer_call",
        "id": "cu_1",
        "call_id": "call_3",
        "action": {"type": "screenshot"},
        "pending_safety_checks": [],
    },
    "openai code interpreter": {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "code": "print(1)",
        "container_id": "cntr_1",
        "outputs": [{"type": "logs", "logs": "1"}],
    },
    "openai mcp tools": {
        "type": "mcp_list_tools",
        "id": "mcpl_1",
        "server_label": "files",
        "tools": [
            {"name": "draw", "input_schema": {"type": "object", "properties": {"image_url": {}}}}
        ],
    },
    "openai mcp approval": {"type": "mcp_approval_request", "id": "m", "arguments": "{}"},
    "openai shell": {"type": "local_shell_call", "id": "lsh_1", "action": {"command": ["ls"]}},
    "openai empty answer": {"type": "function_call_output", "call_id": "call_1", "output": ""},
    "openai patch": {
        "type": "apply_patch_call",
        "call_id": "p",
        "operation": {"type": "update_file", "path": "a.css", "diff": "+a{}"},
    },
    "openai tools that were found": {
        "type": "tool_search_output",
        "call_id": "ts_1",
        "tools": [
            {"type": "function", "name": "draw", "parameters": {"properties": {"image": {}}}}
        ],
    },
    "vercel tool call": {
        "type": "tool-call",
        "toolCallId": "1",
        "toolName": "draw",
        "input": {"image_url": "https://example.org/cat.png"},
    },
    "openai drawing by its id": {"type": "image_generation_call", "id": "ig_1"},
    "openai compaction": {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
    "openai reference": {"type": "item_reference", "id": "rs_1"},
    "openai citations of a stream": {
        "type": "text",
        "annotations": [{"type": "url_citation", "url": "https://example.org", "title": "Cats"}],
        "index": 0,
    },
    "anthropic thinking": {"type": "thinking", "thinking": "hm", "signature": "EqQBCkYI"},
    "anthropic redacted thinking": {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3p"},
    "anthropic tool use": {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "post",
        "input": {"blocks": [{"type": "image", "image_url": "https://example.org/cat.png"}]},
    },
    "anthropic server tool use": {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "cats"},
    },
    "anthropic search result": {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "url": "https://example.org/cat.png",
                "title": "Cats",
                "encrypted_content": "EqgfCioIARgBIiQ3",
                "page_age": "April 30, 2025",
            }
        ],
    },
    "anthropic search error": {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
    },
    "anthropic code result": {
        "type": "bash_code_execution_tool_result",
        "tool_use_id": "srvtoolu_2",
        "content": {"type": "bash_code_execution_result", "stdout": "1", "return_code": 0},
    },
    "anthropic mcp tool use": {"type": "mcp_tool_use", "id": "m", "name": "look", "input": {}},
    "anthropic arguments of a stream": {
        "type": "input_json_delta",
        "partial_json": '{"x',
        "index": 1,
    },
    "anthropic empty tool result": {"type": "tool_result", "tool_use_id": "toolu_1"},
    "bedrock cache point": {"cachePoint": {"type": "default"}},
    "bedrock cache point with a type": {"type": "cachePoint", "cachePoint": {"type": "default"}},
    "bedrock reasoning": {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "Eq"}}},
    "bedrock redacted reasoning": {"reasoningContent": {"redactedContent": b"\x01\x02opaque"}},
    "langchain-aws reasoning": {
        "type": "reasoning_content",
        "reasoning_content": {"text": "hm", "signature": "Eq"},
    },
    "bedrock tool use": {"toolUse": {"toolUseId": "t", "name": "look", "input": {"x": 1}}},
    "google function call": {"functionCall": {"id": "g", "name": "look", "args": {"x": 1}}},
    "google thought": {"text": "hm", "thought": True, "thoughtSignature": "Cj8"},
    "google code": {"type": "executable_code", "executable_code": "print(1)", "language": "python"},
    "google code as a part": {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
    "google signature": {"type": "function_call_signature", "signature": "Cj8", "index": 0},
    "mistral reference": {"type": "reference", "reference_ids": [1, 2]},
    "of a provider yet to come": {"type": "mood", "level": 3, "tags": ["calm"], "id": "m_1"},
    "of a provider yet to come, without a type": {"moodPoint": {"level": 3}},
}
"""Blocks without text and without a picture, by what wrote them."""

SPOKEN: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"type": "text", "text": "words", "annotations": [], "id": "msg_1"}, "words"),
    "langchain plain text": ({"type": "text-plain", "text": "words"}, "words"),
    "langchain server tool result in words": (
        {"type": "server_tool_result", "tool_call_id": "s1", "output": "words"},
        "words",
    ),
    "openai refusal": ({"type": "refusal", "refusal": "I cannot.", "id": "msg_1"}, "I cannot."),
    "openai output text": (
        {"type": "output_text", "text": "words", "annotations": [], "logprobs": []},
        "words",
    ),
    "openai input text": ({"type": "input_text", "text": "words"}, "words"),
    "openai function output": (
        {"type": "function_call_output", "call_id": "call_1", "output": "words"},
        "words",
    ),
    "openai function output in parts": (
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "words"}],
        },
        "words",
    ),
    "openai mcp call": (
        {"type": "mcp_call", "id": "mcp_1", "name": "look", "arguments": "{}", "output": "words"},
        "words",
    ),
    "openai shell output": (
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "1", "stderr": ""}]},
        '[{"stdout": "1", "stderr": ""}]',
    ),
    "openai text of an assistant": (
        {"type": "text", "text": {"value": "words", "annotations": []}},
        "words",
    ),
    "anthropic compaction": ({"type": "compaction", "content": "words"}, "words"),
    "anthropic tool result": (
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "words"}],
            "is_error": False,
        },
        "words",
    ),
    "anthropic text document": (
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            "title": "A page",
        },
        "words",
    ),
    "anthropic page of a search": (
        {
            "type": "search_result",
            "source": "https://example.org",
            "title": "A page",
            "content": [{"type": "text", "text": "words"}],
        },
        "words",
    ),
    "bedrock text": ({"text": "words"}, "words"),
    "bedrock tool result": (
        {"toolResult": {"toolUseId": "t", "content": [{"text": "words"}], "status": "success"}},
        "words",
    ),
    "bedrock tool result of JSON": (
        {"toolResult": {"toolUseId": "t", "content": [{"json": {"x": 1}}]}},
        '{"x": 1}',
    ),
    "bedrock text document": (
        {"document": {"format": "txt", "name": "a", "source": {"text": "words"}}},
        "words",
    ),
    "bedrock guarded text": (
        {"guardContent": {"text": {"text": "words", "qualifiers": ["query"]}}},
        "words",
    ),
    "bedrock citations": (
        {"citationsContent": {"content": [{"text": "words"}], "citations": []}},
        "words",
    ),
    "google function response": (
        {"functionResponse": {"name": "look", "response": {"x": 1}}},
        '{"x": 1}',
    ),
    "google code result": (
        {"type": "code_execution_result", "code_execution_result": "words", "outcome": 1},
        "words",
    ),
    "words of a provider yet to come": (
        {"type": "remark", "text": "words", "tone": "dry"},
        "words",
    ),
}
"""Blocks with text, and the text that a model should see."""

BLOCKS = {**INERT, **{name: block for name, (block, _) in SPOKEN.items()}}
"""All of them."""


def planted(block: Any, plant: Any, *, instead: bool = False) -> Iterator[Any]:
    """Copies of a block with one thing more, at every place but the arguments of a call.

    Args:
        block: content block, or any value in one.
        plant: what is added.
        instead: whether it also takes the place of every text.
    """
    if instead and isinstance(block, str):
        yield plant
    if isinstance(block, Mapping):
        yield {**block, "planted": plant}
        for key, item in block.items():
            if key not in ARGUMENTS:
                inner = planted(item, plant, instead=instead)
                yield from ({**block, key: each} for each in inner)
    if isinstance(block, list):
        yield [*block, plant]
        for index, item in enumerate(block):
            inner = planted(item, plant, instead=instead)
            yield from ([*block[:index], each, *block[index + 1 :]] for each in inner)
