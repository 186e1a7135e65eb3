"""LlamaIndex: an agent whose tool returns an unchecked picture. Runs offline.

The miniature model calls no tools, so the agent's model here follows a script: it calls the camera,
then describes the picture that it got. Replace it with any LLM that calls tools; the guard around
it stays the same.

python examples/llama_index_agent.py
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.agent.workflow import AgentOutput, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ContentBlock, ToolCallBlock
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from PIL import Image

from guardalign_middleware.mini.demo import demo_scenes
from llama_index.llms.guardalign import GuardAlignGuardedLLM

SCENE = next(item for item in demo_scenes() if item.name == "pistol-apple").scene.pixels


def camera() -> list[ContentBlock]:
    """Take a picture of the table."""
    buffer = io.BytesIO()
    Image.fromarray(SCENE).save(buffer, "PNG")
    return [TextBlock(text="The table:"), ImageBlock(image=buffer.getvalue())]


def scripted(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
    """Call the camera, then say how much of its picture is covered."""
    shown = [block for item in messages for block in item.blocks if isinstance(block, ImageBlock)]
    if not shown:
        call = ToolCallBlock(tool_call_id="1", tool_name="camera", tool_kwargs={})
        return ChatMessage(role="assistant", blocks=[call])
    with Image.open(io.BytesIO(shown[-1].resolve_image().read())) as picture:
        covered = (np.asarray(picture.convert("RGB")) != SCENE).any(axis=-1).mean()
    return ChatMessage(
        role="assistant", content=f"{covered:.0%} of the picture I was shown is covered."
    )


async def run() -> None:
    """Ask the agent, and print each step."""
    model = MockFunctionCallingLLM(response_generator=scripted, is_chat_model=True)
    llm = GuardAlignGuardedLLM(llm=model, preset="mini")
    agent = FunctionAgent(llm=llm, tools=[camera])
    handler = agent.run(user_msg="What is on the table?")
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"{event.tool_name}() returned {len(event.tool_output.blocks)} blocks")
        elif isinstance(event, AgentOutput) and event.response.content:
            print(f"agent: {event.response.content}")
            for verdict in (event.raw or {})["guardalign"]["verdicts"]:
                print(f"  guard: {verdict['decision']} {verdict['category']}")
    await handler


if __name__ == "__main__":
    asyncio.run(run())
