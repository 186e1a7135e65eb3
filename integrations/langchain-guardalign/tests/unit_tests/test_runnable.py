"""The runnable in front of any model."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from guardalign_middleware.config import SanitizeConfig
from guardalign_middleware.errors import (
    ConfigError,
    DetectionError,
    GuardAlignError,
    ImageRejected,
    MessageError,
)
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import (
    BOX,
    all_red,
    data_url,
    picture,
    png,
    red_config,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ImageBlocked, ImageGuardRunnable
from langchain_support.agents import ask, covered, red_runnable

Forms = Callable[[CanonicalImage], dict[str, Any]]
Pictures = Callable[[object], list[CanonicalImage]]

PLAIN, RED, ALL_RED = picture(), picture(red=True), all_red()


def scans(runnable: ImageGuardRunnable, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pictures in each call of the detector."""
    counts: list[int] = []
    detector = runnable.guard.detector
    scan_many = detector.scan_many

    def counting(images: list[CanonicalImage]) -> Any:
        counts.append(len(images))
        return scan_many(images)

    monkeypatch.setattr(detector, "scan_many", counting)
    return counts


def test_a_red_block_is_masked_and_the_rest_stays(pictures: Pictures) -> None:
    message = ask(PLAIN, RED, ALL_RED, id="q")
    before = message.model_dump_json()
    new = NOTICE.invoke([message])[0]
    assert message.model_dump_json() == before
    assert (new.id, new.content[0]) == ("q", message.content[0])
    first, second = pictures(new)
    assert first.sha256 == PLAIN.sha256
    assert covered(second)
    assert new.content[3] == {"type": "text", "text": UNSAFE}


def test_verdicts_are_in_the_metadata_and_no_pixels() -> None:
    new = NOTICE.invoke(ask(PLAIN, RED, ALL_RED))
    evidence = new.response_metadata["guardalign"]
    assert (evidence["masked"], evidence["blocked"]) == (1, 1)
    assert [(v["decision"], v["action"]) for v in evidence["verdicts"]] == [
        ("allow", "none"),
        ("mask", "mask"),
        ("block", "notice"),
    ]
    x0, y0, x1, y1 = evidence["verdicts"][1]["regions"][0]["box"]
    assert BOX[0] - 4 <= x0 <= BOX[0] < BOX[2] <= x1 <= BOX[2] + 4
    assert BOX[1] - 4 <= y0 <= BOX[1] < BOX[3] <= y1 <= BOX[3] + 4
    assert len(json.dumps(evidence)) < 2000


roles = st.sampled_from(
    [HumanMessage, SystemMessage, AIMessage, lambda c: ToolMessage(c, tool_call_id="1")]
)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_dialect_in_every_role_is_cleaned_in_place(
    forms: Forms, pictures: Pictures, data: st.DataObject
) -> None:
    images = data.draw(st.lists(st.sampled_from([PLAIN, RED]), min_size=1, max_size=5))
    messages = []
    for number, image in enumerate(images):
        name = data.draw(st.sampled_from(sorted(forms(image))))
        message = data.draw(roles)(["look", forms(image)[name]])
        message.id = str(number)
        messages.append(message)
    new = SHARED.invoke(messages)
    assert [(type(m), m.id) for m in new] == [(type(m), m.id) for m in messages]
    for image, found in zip(images, pictures(new), strict=True):
        assert covered(found) if image is RED else found.sha256 == PLAIN.sha256
    assert pictures(messages)[0].sha256 == images[0].sha256
    assert SHARED.invoke(new) == new


SHARED, NOTICE = red_runnable(), red_runnable(on_blocked="notice")


@pytest.mark.parametrize(
    ("on_unsafe", "actions"),
    [
        ("mask", ["none", "mask", "notice"]),
        ("notice", ["none", "notice", "notice"]),
        ("flag", ["none", "flag", "flag"]),
    ],
)
def test_on_unsafe(on_unsafe: str, actions: list[str], pictures: Pictures) -> None:
    message = ask(PLAIN, RED, ALL_RED)
    new = red_runnable(on_unsafe=on_unsafe, on_blocked="notice").invoke(message)
    records = new.response_metadata["guardalign"]["verdicts"]
    assert [record["action"] for record in records] == actions
    assert len(pictures(new)) == {"mask": 2, "notice": 1, "flag": 3}[on_unsafe]
    if on_unsafe == "flag":
        assert new.content == message.content


def test_block_raises_with_the_verdicts() -> None:
    runnable = red_runnable(on_unsafe="block")
    assert runnable.invoke(ask(PLAIN)).response_metadata["guardalign"]["blocked"] == 0
    with pytest.raises(ImageBlocked, match=r"2 unsafe images found \(weapon\)") as caught:
        runnable.invoke([ask(PLAIN, RED), ask(ALL_RED)])
    assert len(caught.value.verdicts) == 2
    assert isinstance(caught.value, GuardAlignError)
    assert "on_blocked" in caught.value.remedy
    assert caught.value.reply == red_config().blocked_reply


def test_what_may_not_be_shown_at_all_raises_unless_it_may_become_a_notice() -> None:
    with pytest.raises(ImageBlocked) as caught:
        red_runnable().invoke([ask(PLAIN), ask(RED, ALL_RED)])
    assert len(caught.value.verdicts) == 1
    blocking = red_runnable(on_unsafe="block", on_blocked="notice")
    assert UNSAFE in repr(blocking.invoke([ask(RED)]))


def test_a_preset_that_blocks_shows_the_notice(pictures: Pictures) -> None:
    config = red_config(sanitize=SanitizeConfig(method="block"))
    front = ImageGuardRunnable(guard=red_guard(config), notice="[no]", on_blocked="notice")
    new = front.invoke(ask(RED))
    assert new.content[1] == {"type": "text", "text": "[no]"}
    assert pictures(new) == []


def test_a_fault_is_an_error_and_nothing_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(images: Any) -> Any:
        raise DetectionError("The distance is NaN.", stage="transport")

    runnable = red_runnable()
    with monkeypatch.context() as patch:
        patch.setattr(runnable.guard.detector, "scan_many", fail)
        with pytest.raises(DetectionError):
            runnable.invoke(ask(PLAIN))
        results = runnable.batch([ask(PLAIN), "words"], return_exceptions=True)
        assert all(isinstance(result, DetectionError) for result in results)
    assert runnable.invoke(ask(PLAIN, id="q")).id == "q"


def test_a_repeated_image_is_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runnable = red_runnable()
    counts = scans(runnable, monkeypatch)
    history: list[BaseMessage] = [ask(PLAIN)]
    for _ in range(3):
        history = [*runnable.invoke(history), ask(PLAIN)]
        runnable.invoke([HumanMessage([{"type": "image", "url": data_url(PLAIN)}])])
        runnable.invoke(PLAIN.to_pil())
    assert counts == [1]


@pytest.mark.parametrize(("remembered", "counts"), [(1024, [1]), (0, [1, 1])])
def test_without_its_cache_the_guards_memory_decides(
    remembered: int, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = red_config()
    detection = config.detection.model_copy(update={"remembered_verdicts": remembered})
    guard = red_guard(config.model_copy(update={"detection": detection}))
    runnable = ImageGuardRunnable(guard=guard, cache_size=0)
    seen = scans(runnable, monkeypatch)
    assert runnable.invoke(ask(PLAIN)) == runnable.invoke(ask(PLAIN))
    assert seen == counts


def test_threads_share_one_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    runnable = red_runnable()
    counts = scans(runnable, monkeypatch)
    threads = [threading.Thread(target=runnable.invoke, args=(ask(PLAIN),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1]


def test_a_batch_is_scanned_together(monkeypatch: pytest.MonkeyPatch) -> None:
    runnable = red_runnable(on_unsafe="notice")
    counts = scans(runnable, monkeypatch)
    inputs = [ask(PLAIN), [ask(RED)], "words", png(ALL_RED)]
    results = runnable.batch(inputs, return_exceptions=True)
    assert counts == [3]
    assert results[:3] == [runnable.invoke(item) for item in inputs[:3]]
    assert isinstance(results[3], ImageBlocked)
    with pytest.raises(ImageBlocked):
        runnable.batch(inputs)
    assert runnable.batch([]) == []


def test_one_refused_input_leaves_the_others_alone() -> None:
    bad = HumanMessage([{"type": "image", "file_id": "1"}])
    good, refused, wrong = red_runnable().batch([ask(RED), bad, 3], return_exceptions=True)
    assert good.response_metadata["guardalign"]["masked"] == 1
    assert isinstance(refused, ImageRejected)
    assert isinstance(wrong, MessageError)


async def test_async_is_the_same_and_does_not_block_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runnable = red_runnable(on_blocked="notice")
    expected = red_runnable().invoke(ask(RED))
    free = threading.Event()
    scan_many = runnable.guard.detector.scan_many

    def waiting(images: Any) -> Any:
        # Only a free loop can set this.
        assert free.wait(300)
        return scan_many(images)

    monkeypatch.setattr(runnable.guard.detector, "scan_many", waiting)
    for call in (lambda: runnable.ainvoke(ask(RED)), lambda: runnable.abatch([ask(ALL_RED)])):
        free.clear()
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.01)
        assert not task.done()
        free.set()
        await task
    assert await runnable.ainvoke(ask(RED)) == expected
    assert await runnable.abatch([ask(RED), ask(RED)]) == [expected, expected]
    assert [item async for item in runnable.astream(ask(RED))] == [expected]


async def test_the_first_of_many_tasks_goes_on_after_its_own_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A single thread: were a scan waiting in it, no answer could start.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    runnable = red_runnable()
    encoder = runnable.guard.detector.meters[0].encoder
    encode, started, passes = encoder.encode_images, [], threading.Semaphore(0)

    def gated(pixels: Any) -> Any:
        started.append(1)
        assert passes.acquire(timeout=300)
        return encode(pixels)

    monkeypatch.setattr(encoder, "encode_images", gated)
    chain = runnable | Recording(responses=["I see."])
    tasks = [asyncio.create_task(chain.ainvoke([ask(picture(side=64 + k))])) for k in range(16)]
    while len(runnable.guard.detector.queue) < 15:
        await asyncio.sleep(0.001)
    passes.release()
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting), len(runnable.guard.detector.queue)) == (1, 15, 14)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert len(runnable.guard.detector.queue) == 0  # all have given up their turns
    passes.release()
    assert len(started) <= 2
    passes.release(2)
    await chain.ainvoke([ask(RED)])


class Recording(FakeListChatModel):
    seen: list[Any] = []  # noqa: RUF012

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        self.seen.append(messages)
        return super()._call(messages, *args, **kwargs)


async def test_it_works_in_front_of_any_model(pictures: Pictures) -> None:
    model = Recording(responses=["a blue square"])
    prompt = ChatPromptTemplate.from_messages(
        [("user", [{"type": "image_url", "image_url": {"url": "{shot}"}}])]
    )
    chain = prompt | red_runnable() | model
    assert chain.invoke({"shot": data_url(RED)}).text == "a blue square"
    await chain.ainvoke({"shot": data_url(RED)})
    assert "".join(chunk.text for chunk in chain.stream({"shot": data_url(RED)})) == "a blue square"
    chain.batch([{"shot": data_url(RED)}] * 2)
    assert len(model.seen) >= 4
    assert all(covered(image) for messages in model.seen for image in pictures(messages))
    assert (red_runnable() | RunnableLambda(lambda messages: len(messages))).invoke([ask(RED)]) == 1


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_preset_is_serialised_copied_and_pickled_by_name() -> None:
    runnable = ImageGuardRunnable("mini", on_unsafe="notice")
    again = load(
        dumpd(runnable),
        valid_namespaces=["langchain_guardalign"],
        allowed_objects=[ImageGuardRunnable],
    )
    for twin in (again, pickle.loads(pickle.dumps(runnable)), copy.deepcopy(runnable)):
        assert isinstance(twin, ImageGuardRunnable)
        assert (twin.preset, twin.on_unsafe) == ("mini", "notice")
        assert dumpd(twin) == dumpd(runnable)
    assert dumpd(red_runnable())["type"] == "not_implemented"
    assert copy.copy(red_runnable()).invoke(ask(RED)) == red_runnable().invoke(ask(RED))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="no preset named 'nothing'"):
        ImageGuardRunnable(preset="nothing")
    for wrong in ("ignore", "drop"):
        with pytest.raises(ConfigError, match="one of mask, notice, block, flag"):
            red_runnable(on_unsafe=wrong)
    with pytest.raises(ConfigError, match="Exactly one of preset and guard"):
        red_runnable(preset="mini")
    with pytest.raises(ValueError, match="cache_size"):
        red_runnable(cache_size=-1)
