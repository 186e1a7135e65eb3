"""A proxy in front of any MCP server, which cleans the pictures that models would see.

`guardalign mcp -- COMMAND …` for servers on standard streams, `guardalign mcp --url URL` for those
behind streamable HTTP. Everything but pictures goes on to the byte.
"""

from guardalign_middleware.mcp.cleaner import Handling
from guardalign_middleware.mcp.guard import MessageGuard
from guardalign_middleware.mcp.stdio import StdioProxy

__all__ = ["Handling", "MessageGuard", "StdioProxy"]
