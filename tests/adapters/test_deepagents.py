"""deepagents: what its sub-agents' models see, and what its saver holds.

deepagents gives the middleware of an agent to none of its sub-agents, the general-purpose one
included, but its model to all of them that name no other.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends import FilesystemBackend
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from guardalign_middleware.testing import BOX, png
from guardalign_middleware.testing.harmless import files
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import SHOWN, guard, raw, red_runnable, screenshot

pytestmark = pytest.mark.slow

GENERAL = "general-purpose"
KINDS = (GENERAL, "watcher")


def model(kind: str) -> RecordingModel:
    """One model for all: it calls the sub-agent, which looks at the screen and reports."""
    task = {"description": "Look at the screen.", "subagent_type": kind}
    return RecordingModel(
        answers=[
            AIMessage("", tool_calls=[{"name": "task", "args": task, "id": "1"}]),
            AIMessage("", tool_calls=[{"name": "screenshot", "args": {}, "id": "2"}]),
            AIMessage("I saw a square."),
            AIMessage("It is a square."),
        ]
    )


def watcher(**options: Any) -> dict[str, Any]:
    """A sub-agent of one's own."""
    return {
        "name": "watcher",
        "description": "Looks at the screen.",
        "system_prompt": "Look.",
        **options,
    }


def run(kind: str, agent_model: Any, **options: Any) -> tuple[dict[str, Any], InMemorySaver]:
    saver = InMemorySaver()
    options.setdefault("subagents", [watcher()])
    agent = create_deep_agent(agent_model, tools=[screenshot], checkpointer=saver, **options)
    state = agent.invoke(
        {"messages": [HumanMessage("What is on the screen?")]}, {"configurable": {"thread_id": "1"}}
    )
    assert state["messages"][-1].text == "It is a square."
    assert raw(state) == 0
    return state, saver


def held(saver: InMemorySaver) -> int:
    """How many raw pictures a saver holds, in checkpoints and pending writes."""
    return raw(list(saver.list(None)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_middleware_of_the_agent_alone_leaves_its_sub_agents_unguarded(kind: str) -> None:
    inner = model(kind)
    _, saver = run(kind, inner, middleware=[guard()])
    assert [raw(messages) for messages in inner.seen] == [0, 0, 1, 0]
    assert held(saver) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_guarded_model_is_handed_on_to_every_sub_agent(kind: str) -> None:
    inner = model(kind)
    run(kind, red_runnable() | inner, middleware=[guard()])
    assert [raw(messages) for messages in inner.seen] == [0, 0, 0, 0]


def test_a_sub_agent_with_a_bare_model_of_its_own_is_unguarded() -> None:
    inner, own = model("watcher"), RecordingModel(answers=model("watcher").answers[1:3])
    inner.answers = [inner.answers[0], inner.answers[3]]
    run("watcher", red_runnable() | inner, subagents=[watcher(model=own)], middleware=[guard()])
    assert [raw(messages) for messages in own.seen] == [0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_in_every_sub_agent_keeps_the_saver_clean_too(kind: str) -> None:
    inner = model(kind)
    general = watcher(name=GENERAL, middleware=[guard()])
    subagents = [general, watcher(middleware=[guard()])]
    _, saver = run(kind, red_runnable() | inner, subagents=subagents, middleware=[guard()])
    assert [raw(messages) for messages in inner.seen] == [0, 0, 0, 0]
    assert held(saver) == 0


def test_files_that_an_agent_reads(tmp_path: Path) -> None:
    (tmp_path / "shot.png").write_bytes(png(SHOWN))
    (tmp_path / "report.pdf").write_bytes(files()["pdf"])
    (tmp_path / "sound.mp3").write_bytes(files()["mp3 with a cover"])
    names = ("shot.png", "report.pdf", "sound.mp3")
    calls = [{"name": "read_file", "args": {"file_path": f"/{name}"}, "id": name} for name in names]
    inner = RecordingModel(answers=[AIMessage("", tool_calls=calls), AIMessage("Done.")])
    backend = FilesystemBackend(root_dir=tmp_path, virtual_mode=True)
    agent = create_deep_agent(inner, backend=backend, middleware=[guard()])
    state = agent.invoke({"messages": [HumanMessage("Read them.")]})
    assert state["messages"][-1].text == "Done."
    assert raw([state, inner.seen]) == 0
    results = {
        item.tool_call_id: item for item in state["messages"] if isinstance(item, ToolMessage)
    }
    (shot,) = results["shot.png"].content
    assert covered_in_white(red_runnable().guard.load(f"data:image/png;base64,{shot['base64']}"))
    assert "not shown" in results["report.pdf"].text
    assert results["report.pdf"].status == "error"
    sound = base64.b64encode(files()["mp3 with a cover"]).decode()
    assert sound in results["sound.mp3"].text


def covered_in_white(image: CanonicalImage) -> bool:
    x0, y0, x1, y1 = BOX
    inside = (image.pixels[y0:y1, x0:x1] == 127).all()
    return bool(inside and (image.pixels[: y0 - 4] == 255).all())
