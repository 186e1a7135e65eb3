"""An MCP server over stdio whose tools return pictures in every kind of content.

`python mcp_server.py FOLDER` serves the files unsafe.png, safe.png and report.pdf of a folder.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from mcp.server.fastmcp import FastMCP, Image
from mcp.types import (
    BlobResourceContents,
    EmbeddedResource,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import AnyUrl

server = FastMCP("pictures", log_level="WARNING")
FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


def _base64(name: str) -> str:
    return base64.b64encode((FOLDER / name).read_bytes()).decode()


def _resource(name: str, mime_type: str) -> EmbeddedResource:
    contents = BlobResourceContents(
        uri=AnyUrl(f"file:///{name}"), mimeType=mime_type, blob=_base64(name)
    )
    return EmbeddedResource(type="resource", resource=contents)


def _data_url() -> str:
    return f"data:image/png;base64,{_base64('unsafe.png')}"


@server.tool()
def screenshot() -> Image:
    """Take a picture of the screen."""
    return Image(FOLDER / "unsafe.png")


@server.tool(structured_output=False)
def screen_in_words() -> list[Any]:
    """Take a picture of the screen, with words before and after."""
    return ["Before.", Image(FOLDER / "unsafe.png"), "After."]


@server.tool()
def logo() -> Image:
    """Show the logo."""
    return Image(FOLDER / "safe.png")


@server.tool()
def page() -> str:
    """Fetch a web page."""
    return f"<h1>Title</h1><img src='{_data_url()}'>"


@server.tool()
def attachment() -> EmbeddedResource:
    """Fetch an attached picture."""
    return _resource("unsafe.png", "image/png")


@server.tool()
def note() -> EmbeddedResource:
    """Fetch an attached text."""
    contents = TextResourceContents(uri=AnyUrl("file:///note.md"), text=f"![]({_data_url()})")
    return EmbeddedResource(type="resource", resource=contents)


@server.tool()
def found() -> list[Any]:
    """Search the web for pictures."""
    return [
        TextContent(type="text", text="Found one."),
        ResourceLink(
            type="resource_link",
            name="a picture",
            uri=AnyUrl("https://example.org/a.png"),
            mimeType="image/png",
        ),
    ]


@server.tool()
def report() -> EmbeddedResource:
    """Fetch a report as PDF."""
    return _resource("report.pdf", "application/pdf")


@server.tool()
def record() -> dict[str, Any]:
    """Read a record of a database."""
    return {"name": "a row", "thumbnail": _base64("unsafe.png")}


@server.tool()
def broken() -> str:
    """Fail, with a picture in the error."""
    raise ValueError(f"This page cannot be shown: {_data_url()}")


if __name__ == "__main__":
    server.run()
