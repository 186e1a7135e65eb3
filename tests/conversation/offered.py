"""Definitions of tools."""

from typing import Any

Tool = dict[str, Any]

FUNCTION: Tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FLAT: Tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
MCP: Tool = {"type": "mcp", "server_label": "x", "server_url": "https://example.org/mcp"}
CODE: Tool = {
    "type": "code_interpreter",
    "container": {"type": "auto", "file_ids": ["file-abcdefgh"]},
}
CACHED = {"cache_control": {"type": "ephemeral"}}
SCHEMA = {"type": "object", "properties": {"tools": {}, "image_url": {"type": "string"}}}
