"""LangChain: an agent whose tool returns an unsafe screenshot. Runs offline.

The miniature model calls no tools, so the agent's model here follows a script: it requests the
screenshot, then reports how much of it is covered. Replace it with any chat model that calls tools;
the middleware stays the same.

python examples/langchain_agent.py
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from PIL import Image

from guardalign_middleware.mini.demo import demo_scenes
from langchain_guardalign import GuardAlignMiddleware

SCENE = next(item for item in demo_scenes() if item.name == "pistol-apple").scene.pixels


@tool
def screenshot() -> list[dict[str, Any]]:
    """Take a screenshot."""
    buffer = io.BytesIO()
    Image.fromarray(SCENE).save(buffer, "PNG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    return [
        {"type": "text", "text": "The screen:"},
        {"type": "image", "base64": picture, "mime_type": "image/png"},
    ]


class ScriptedModel(BaseChatModel):
    """Requests a screenshot, then reports how much of it differs from what the tool returned."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Return the model itself: the script names its tool."""
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
            with Image.open(io.BytesIO(data)) as picture:
                covered = (np.asarray(picture.convert("RGB")) != SCENE).any(axis=-1).mean()
            answer = AIMessage(f"{covered:.0%} of the screenshot I was shown is covered.")
        return ChatResult(generations=[ChatGeneration(message=answer)])


def main() -> None:
    """Ask the agent, and print each message of its final state."""
    agent: Any = create_agent(
        ScriptedModel(),
        tools=[screenshot],
        middleware=[GuardAlignMiddleware(preset="mini")],  # the guard goes last
    )
    state = agent.invoke({"messages": [HumanMessage("What is on the screen?")]})
    for message in state["messages"]:
        print(f"{message.type}: {message.text}")
        for verdict in message.response_metadata.get("guardalign", {}).get("verdicts", []):
            print(f"  guard: {verdict['decision']} {verdict['category']}")


if __name__ == "__main__":
    main()
