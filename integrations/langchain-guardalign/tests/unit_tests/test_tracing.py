"""LangSmith's traces of a run hold verdicts and no pixels."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import LangChainTracer

from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.testing import all_red, base64_png, picture, png, red_chain
from guardalign_middleware.testing.dialects import blocks_of
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ChatGuardAlign, ImageBlocked, without_images
from langchain_guardalign.testing import RecordingModel
from langchain_guardalign.tracing import IMAGE_LEFT_OUT
from langchain_support.agents import (
    ASKED,
    SHOWN,
    TOOLS,
    ask,
    guard,
    guarded,
    raw,
    red_runnable,
    screenshot,
    script,
)
from langchain_support.langsmith import Traces

JPEG_HEAD = "/9j/4AAQSkZJRgABAQ"


def config(traces: Traces, **options: Any) -> Any:
    tracer = LangChainTracer(client=traces.client(**options))
    return {"callbacks": [tracer]}


def every_way(traces: Traces, **options: Any) -> list[str]:
    """The request bodies sent when each of our classes handles a raw picture."""
    how = config(traces, **options)
    (red_runnable() | RecordingModel(answers=[AIMessage("x")])).invoke([ask(ASKED)], how)
    ChatGuardAlign(chain=red_chain()).invoke([ask(ASKED)], how)
    list(ChatGuardAlign(chain=red_chain()).stream([ask(ASKED)], how))
    guarded(script(*TOOLS), guard()).invoke({"messages": [ask(ASKED)]}, how)
    with pytest.raises(ImageBlocked):
        red_runnable(on_unsafe="block").invoke([ask(ASKED)], how)
    return traces.bodies


def test_without_the_anonymizer_traces_hold_raw_images() -> None:
    assert sum(raw(body) for body in every_way(Traces())) > 10


def test_with_it_no_trace_holds_one() -> None:
    bodies = every_way(Traces(), anonymizer=without_images)
    assert len(bodies) > 20
    assert sum(map(raw, bodies)) == 0
    assert not any("iVBORw0KGg" in body or JPEG_HEAD in body for body in bodies)
    assert any(IMAGE_LEFT_OUT in body for body in bodies)
    assert any("what is it ?" in body for body in bodies)


@pytest.mark.parametrize("block", blocks_of(png(SHOWN), "image/png").items(), ids=lambda b: b[0])
def test_every_dialect_is_taken_out(block: tuple[str, Any]) -> None:
    traces = Traces()
    model = RecordingModel(answers=[AIMessage(["drawn", block[1]])])
    RunnableLambda(model.invoke).invoke(
        [HumanMessage(["look", block[1]])], config(traces, anonymizer=without_images)
    )
    assert len(traces.bodies) >= 2
    assert sum(map(raw, traces.bodies)) == 0
    assert any("look" in body for body in traces.bodies)


def test_other_values_stay() -> None:
    value = {"messages": [["human", "hello"]], "count": 3, "none": None, "long": "word " * 100}
    assert without_images(value) is value
    link = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert without_images({"content": [link]}) == {"content": [link]}


def test_an_unreadable_value_is_left_out_as_a_whole() -> None:
    deep: dict[str, Any] = {"image": base64_png(SHOWN)}
    for _ in range(80):
        deep = {"content": [deep]}
    for value in (deep, {base64_png(SHOWN): 1}):
        assert raw(value) == 1
        left = without_images(value)
        assert raw(left) == 0
        assert list(left) == ["guardalign"]


Ask = Callable[[CanonicalImage, Any], object]


@pytest.mark.parametrize(
    "call",
    [
        lambda image, how: red_runnable().invoke([ask(image)], how),
        lambda image, how: red_runnable().batch([[ask(image)], "words"], how),
        lambda image, how: ChatGuardAlign(chain=red_chain()).invoke([ask(image)], how),
        lambda image, how: guarded(script(), guard()).invoke({"messages": [ask(image)]}, how),
    ],
    ids=["runnable", "batch", "chat", "agent"],
)
@pytest.mark.parametrize(
    ("image", "decision"),
    [(picture(), "allow"), (ASKED, "mask"), (all_red(), "block")],
    ids=["allow", "mask", "block"],
)
def test_the_verdict_is_metadata_of_the_run(
    call: Ask, image: CanonicalImage, decision: str
) -> None:
    traces = Traces()
    with contextlib.suppress(ImageBlocked):
        call(image, config(traces))
    recorded = [
        run["extra"]["metadata"]
        for run in traces.runs()
        if "guardalign_decision" in run.get("extra", {}).get("metadata", {})
    ]
    assert recorded
    # The middleware scans twice: the input of the run, and what the model sees.
    assert recorded[0]["guardalign_decision"] == decision
    assert recorded[0]["guardalign"]["verdicts"][0]["decision"] == decision
    assert len(json.dumps(recorded)) < 9000


def test_a_streamed_answer_has_its_verdict_in_the_outputs() -> None:
    # LangChain passes `_stream` no run manager, so the run cannot get the metadata.
    traces = Traces()
    list(ChatGuardAlign(chain=red_chain()).stream([ask(ASKED)], config(traces)))
    outputs = [json.dumps(run["outputs"]) for run in traces.runs() if run.get("outputs")]
    assert any('"decision": "mask"' in text for text in outputs)


async def test_async_calls_record_the_verdict_on_the_run() -> None:
    for call in (
        lambda how: red_runnable().ainvoke([ask(ASKED)], how),
        lambda how: red_runnable().abatch([[ask(ASKED)]], how),
        lambda how: ChatGuardAlign(chain=red_chain()).ainvoke([ask(ASKED)], how),
        lambda how: guarded(script(screenshot), guard()).ainvoke({"messages": [ask()]}, how),
    ):
        traces = Traces()
        await call(config(traces))  # type: ignore[no-untyped-call]
        decisions = [
            run.get("extra", {}).get("metadata", {}).get("guardalign_decision")
            for run in traces.runs()
        ]
        assert "mask" in decisions


def test_without_a_tracer_or_an_image_nothing_is_recorded() -> None:
    traces = Traces()
    red_runnable().invoke("just words", config(traces))
    assert not any("guardalign_decision" in body for body in traces.bodies)
    assert red_runnable().invoke(ask(ASKED)).response_metadata["guardalign"]["masked"] == 1


def test_a_refusal_is_metadata_of_the_run_that_it_ends() -> None:
    traces = Traces()
    with pytest.raises(ImageRejected):
        red_runnable().invoke(HumanMessage([{"type": "image", "file_id": "1"}]), config(traces))
    (run,) = [run for run in traces.runs() if run.get("error")]
    (record,) = run["extra"]["metadata"]["guardalign"]["verdicts"]
    assert (record["action"], record["reason"]) == ("refused", "unsupported_type")
