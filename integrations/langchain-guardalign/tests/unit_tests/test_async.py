"""No awaited call decodes, scans, encodes or generates in the thread of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image

from guardalign_middleware.testing import (
    BarrierRunner,
    EchoRunner,
    FakeEncoder,
    base64_png,
    red_chain,
    red_guard,
)
from langchain_guardalign import ChatGuardAlign, ImageGuardDocumentTransformer
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import ASKED, TOOLS, ask, guard, guarded, red_runnable, script

HEAVY = (
    (Image.Image, "save"),
    (FakeEncoder, "encode_images"),
    (EchoRunner, "generate"),
)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Records each piece of heavy work, and whether a loop was running in its thread."""
    seen: list[tuple[str, bool]] = []

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def heavy(*args: Any, **kwargs: Any) -> Any:
            seen.append((name, in_loop()))
            return original(*args, **kwargs)

        return heavy

    for owner, name in HEAVY:
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    reader, accept = Image.OPEN["PNG"]
    monkeypatch.setitem(Image.OPEN, "PNG", (counted("read", reader), accept))
    return seen


def in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def streamed(stream: Any) -> list[Any]:
    return [item async for item in stream]


def agent(*tools: Any) -> Any:
    return guarded(script(*tools), guard(), checkpointer=InMemorySaver())


QUESTION = ask(ASKED)
THREAD: Any = {"configurable": {"thread_id": "1"}}
ALBUM = [Document("a", metadata={"image": base64_png(ASKED)})]
CALLS: dict[str, Callable[[], Awaitable[Any]]] = {
    "runnable": lambda: red_runnable().ainvoke([QUESTION]),
    "runnable batch": lambda: red_runnable().abatch([[QUESTION], [QUESTION]]),
    "runnable stream": lambda: streamed(red_runnable().astream([QUESTION])),
    "before a model": lambda: (red_runnable() | RecordingModel(answers=[AIMessage("x")])).ainvoke(
        [QUESTION]
    ),
    "agent": lambda: agent(*TOOLS[:-1]).ainvoke({"messages": [QUESTION]}, THREAD),
    "agent stream": lambda: streamed(
        agent(TOOLS[0]).astream({"messages": [QUESTION]}, THREAD, stream_mode="messages")
    ),
    "documents": lambda: ImageGuardDocumentTransformer(guard=red_guard()).atransform_documents(
        ALBUM
    ),
    "chat": lambda: ChatGuardAlign(chain=red_chain()).ainvoke([QUESTION]),
    "chat batch": lambda: ChatGuardAlign(chain=red_chain()).abatch([[QUESTION]] * 2),
    "chat stream": lambda: streamed(ChatGuardAlign(chain=red_chain()).astream([QUESTION])),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_heavy_work_is_done_elsewhere(
    call: Callable[[], Awaitable[Any]], watched: list[tuple[str, bool]]
) -> None:
    await call()
    names = {name for name, _ in watched}
    assert {"read", "encode_images"} <= names
    assert [name for name, loop in watched if loop] == []


async def test_a_plain_call_is_recorded(watched: list[tuple[str, bool]]) -> None:
    red_runnable().invoke([QUESTION])
    assert ("encode_images", True) in watched


@pytest.mark.parametrize("way", ["ainvoke", "abatch", "astream"])
async def test_sixteen_callers_wait_at_once_however_few_threads_there_are(way: str) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    runner = BarrierRunner(16)
    model = ChatGuardAlign(chain=red_chain(runner=runner))

    async def call() -> str:
        if way == "abatch":
            return (await model.abatch(["go"]))[0].text
        if way == "astream":
            return "".join([piece.text async for piece in model.astream("go")])
        return (await model.ainvoke("go")).text

    calls = []
    for number in range(1, 17):
        # One after another: a caller that waits in a thread would keep it from the next.
        calls.append(asyncio.create_task(call()))
        async with asyncio.timeout(300):
            while len(runner.calls) < number:
                await asyncio.sleep(0.01)
    assert set(await asyncio.gather(*calls)) == {"echo: go"}
