"""LangChain over MCP: an agent whose screenshots come through the guard. Runs offline.

The screenshots are taken by an MCP server in a process of its own: this file, with `--server`. The
agent starts it through `guardalign mcp`, and knows nothing of the guard otherwise. Its model
follows a script; replace it with any chat model that calls tools.

python examples/langchain_mcp_agent.py
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image as Pictures

from guardalign_middleware.mini.demo import demo_scenes

SCENE = next(item for item in demo_scenes() if item.name == "pistol-apple").scene.pixels


def serve() -> None:
    """The MCP server, on standard input and output."""
    from mcp.server.fastmcp import FastMCP, Image

    server = FastMCP("screen", log_level="WARNING")

    @server.tool(structured_output=False)
    def screenshot() -> list[Any]:
        """Take a screenshot."""
        buffer = io.BytesIO()
        Pictures.fromarray(SCENE).save(buffer, "PNG")
        return ["The screen:", Image(data=buffer.getvalue(), format="png")]

    server.run()


async def ask(server: Sequence[str]) -> str:
    """Let an agent look at the screen through an MCP server, and say what it saw."""
    from langchain.agents import create_agent
    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.tools import load_mcp_tools

    class ScriptedModel(BaseChatModel):
        """Requests a screenshot, then says how much of it differs from the screen."""

        @property
        def _llm_type(self) -> str:
            return "scripted"

        def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
            return self

        def _generate(
            self,
            messages: list[BaseMessage],
            stop: list[str] | None = None,
            run_manager: CallbackManagerForLLMRun | None = None,
            **kwargs: Any,
        ) -> ChatResult:
            answer = AIMessage("", tool_calls=[{"name": "screenshot", "args": {}, "id": "1"}])
            if isinstance(messages[-1], ToolMessage):
                data = base64.b64decode(messages[-1].content[1]["base64"])  # type: ignore[index]
                with Pictures.open(io.BytesIO(data)) as picture:
                    covered = (np.asarray(picture.convert("RGB")) != SCENE).any(axis=-1).mean()
                answer = AIMessage(f"{covered:.0%} of the screenshot is masked.")
            return ChatResult(generations=[ChatGeneration(message=answer)])

    connection: dict[str, Any] = {
        "transport": "stdio",
        "command": server[0],
        "args": [*server[1:]],
        "env": dict(os.environ),
    }
    client = MultiServerMCPClient({"screen": cast("Any", connection)})
    async with client.session("screen") as session:
        agent: Any = create_agent(ScriptedModel(), await load_mcp_tools(session))
        state = await agent.ainvoke({"messages": [HumanMessage("What is on the screen?")]})
    return str(state["messages"][-1].text)


def main() -> None:
    """Ask the agent with the bare server, and with the guard in front of it."""
    server = [sys.executable, str(Path(__file__).resolve()), "--server"]
    guardalign = str(Path(sys.executable).with_name("guardalign"))
    print("bare server:   ", asyncio.run(ask(server)))
    print("guardalign mcp:", asyncio.run(ask([guardalign, "mcp", "--", *server])))


if __name__ == "__main__":
    serve() if "--server" in sys.argv else main()
