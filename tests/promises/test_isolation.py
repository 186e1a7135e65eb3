"""Promise 9: requests do not affect each other, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import pytest
import torch

from guardalign_middleware import CalibratedRunner, GuardAlign, GuardedReply, GuardError
from guardalign_middleware.config import CalibrationConfig, PrefixConfig, RunnerConfig
from guardalign_middleware.generation.engine.loading import LoadedModel, load_model
from guardalign_middleware.testing import all_red, picture, png, red_config, red_guard
from tests.support.tiny.models import save_tiny_model

pytestmark = pytest.mark.slow

THREADS, ROUNDS = 8, 3


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A tiny random LLaVA."""
    folder = save_tiny_model(tmp_path_factory.mktemp("model") / "llava")
    return load_model(RunnerConfig(model=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def chain(loaded: LoadedModel) -> GuardAlign:
    """The real chain; only the encoder is a double."""
    config = RunnerConfig(
        model="llava",
        max_new_tokens=6,
        prefix=PrefixConfig(policy="when_flagged"),
        calibration=CalibrationConfig(gamma=2.0),
    )
    # Without a memory, every request is scanned.
    guard = red_config()
    detection = guard.detection.model_copy(update={"remembered_verdicts": 0})
    guard = guard.model_copy(update={"detection": detection})
    return GuardAlign(red_guard(guard), CalibratedRunner(loaded, config))


def user(*content: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def part(**kind: Any) -> dict[str, Any]:
    return {"type": "image", "image": png(picture(**kind))}


REQUESTS: list[Any] = [
    "Hello",
    user(part(), "What is in the picture?"),
    user(part(red=True), "What is in the picture? Tell me more, please."),
    user({"type": "image", "image": png(all_red())}, "What is this?"),
    user(part(red=True, side=96), part(colour=(0, 255, 0)), "Compare them."),
    [
        *user(part(red=True), "A gun?"),
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Really? 🍞 谢谢"},
    ],
]


@pytest.fixture(scope="module")
def alone(chain: GuardAlign) -> list[GuardedReply]:
    """The answer to each request by itself."""
    return [chain.invoke(request) for request in REQUESTS]


class State:
    """Everything that a call could change on the model or in the context."""

    def __init__(self, model: Any) -> None:
        modules = list(model.modules())
        self.hooks = [
            (len(m._forward_pre_hooks), len(m._forward_hooks), len(m.__dict__)) for m in modules
        ]
        self.attention = [
            getattr(m.config, "_attn_implementation", None) for m in modules if hasattr(m, "config")
        ]
        self.config = model.config.to_dict()
        self.generation = model.generation_config.to_dict()
        self.training = [m.training for m in modules]
        self.weights = [p._version for p in model.parameters()]
        self.context = dict(copy_context().items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and vars(self) == vars(other)


@pytest.fixture
def unchanged(loaded: LoadedModel, alone: list[GuardedReply]) -> Iterator[None]:
    """Fails when the test leaves something behind. `alone` warms the model up first."""
    before = State(loaded.model)
    assert "sdpa" in before.attention
    grad = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    yield
    gc.collect()
    assert State(loaded.model) == before
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == grad


def test_the_requests_differ_in_what_must_not_be_mixed(alone: list[GuardedReply]) -> None:
    decisions = [[verdict.decision for verdict in reply.verdicts] for reply in alone]
    assert decisions == [[], ["allow"], ["mask"], ["block"], ["mask", "allow"], ["mask"]]
    assert [reply.calibration.state for reply in alone] == ["off", "off", "on", "off", "on", "on"]
    assert len({reply.calibration.instruction_tokens for reply in alone if reply.usage}) > 3


@pytest.mark.usefixtures("unchanged")
class TestAlike:
    def test_threads(self, chain: GuardAlign, alone: list[GuardedReply]) -> None:
        start = threading.Barrier(THREADS)

        def work(offset: int) -> list[tuple[int, GuardedReply]]:
            start.wait(300)
            order = [(offset + step) % len(REQUESTS) for step in range(ROUNDS * len(REQUESTS))]
            return [(index, chain.invoke(REQUESTS[index])) for index in order]

        with ThreadPoolExecutor(THREADS) as pool:
            for answers in pool.map(work, range(THREADS)):
                for index, reply in answers:
                    assert reply == alone[index]

    async def test_tasks(self, chain: GuardAlign, alone: list[GuardedReply]) -> None:
        indices = list(range(len(REQUESTS))) * 2
        replies = await asyncio.gather(*(chain.ainvoke(REQUESTS[index]) for index in indices))
        assert replies == [alone[index] for index in indices]

    async def test_streams_side_by_side(self, chain: GuardAlign, alone: list[GuardedReply]) -> None:
        async def read(request: Any) -> GuardedReply:
            chunks = [chunk async for chunk in chain.astream(request)]
            reply = chunks[-1].reply
            assert reply is not None
            assert "".join(chunk.text for chunk in chunks) == reply.text
            return reply

        assert await asyncio.gather(*map(read, REQUESTS)) == alone

    def test_batches_in_any_order(self, chain: GuardAlign, alone: list[GuardedReply]) -> None:
        assert chain.batch(REQUESTS) == alone
        assert chain.batch(REQUESTS[::-1]) == alone[::-1]


@pytest.mark.usefixtures("unchanged")
class TestNothingIsLeft:
    def test_after_answers(self, chain: GuardAlign) -> None:
        chain.batch(REQUESTS)

    def test_after_a_stream_that_was_dropped(self, chain: GuardAlign) -> None:
        stream = chain.stream(REQUESTS[2], max_new_tokens=200)
        next(stream)
        stream.close()
        assert stream.reply.finish_reason in {"cancelled", "stop", "length"}

    async def test_after_a_task_that_was_cancelled(
        self, chain: GuardAlign, loaded: LoadedModel, alone: list[GuardedReply]
    ) -> None:
        running, go_on = threading.Event(), threading.Event()

        def hold(*_: object) -> None:
            running.set()
            assert go_on.wait(300)

        layer = loaded.model.get_decoder().layers[2]  # type: ignore[no-untyped-call]
        hook = layer.mlp.register_forward_hook(hold)
        try:
            task = asyncio.create_task(chain.ainvoke(REQUESTS[2], max_new_tokens=400))
            assert await asyncio.to_thread(running.wait, 300)
            task.cancel()
            await asyncio.sleep(0.01)  # the cancellation arrives while the model is held up
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            hook.remove()
        assert await chain.ainvoke(REQUESTS[2]) == alone[2]

    def test_after_a_fault_in_the_middle_of_the_model(
        self, chain: GuardAlign, loaded: LoadedModel, alone: list[GuardedReply]
    ) -> None:
        layer = loaded.model.get_decoder().layers[2]  # type: ignore[no-untyped-call]

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        hook = layer.mlp.register_forward_hook(fail)
        try:
            for call in (chain.invoke, lambda request: chain.stream(request).finish()):
                with pytest.raises(GuardError):
                    call(REQUESTS[2])
        finally:
            hook.remove()
        assert chain.invoke(REQUESTS[2]) == alone[2]

    def test_a_fault_of_one_request_is_not_that_of_its_neighbours(
        self, chain: GuardAlign, alone: list[GuardedReply]
    ) -> None:
        def work(index: int) -> GuardedReply | type[Exception]:
            if index % 3 == 0:
                try:
                    chain.invoke(user(part(), "word " * 3000))
                except Exception as error:  # noqa: BLE001
                    return type(error)
            return chain.invoke(REQUESTS[2])

        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(work, range(12)))
        for index, result in enumerate(results):
            assert (result == alone[2]) is (index % 3 != 0)


def test_a_context_variable_of_the_caller_is_seen_by_no_other(chain: GuardAlign) -> None:
    def in_a_context(call: Callable[[], object]) -> dict[Any, Any]:
        context = Context()
        context.run(call)
        return dict(context.items())

    assert in_a_context(lambda: chain.invoke(REQUESTS[2])) == {}
    assert in_a_context(lambda: chain.stream(REQUESTS[2]).finish()) == {}


def test_the_tiny_model_is_where_the_test_looks(loaded: LoadedModel, tmp_path: Path) -> None:
    """The state reflects a hook, a different attention and a changed weight."""
    model: Any = loaded.model
    before = State(model)
    hook = model.get_decoder().register_forward_pre_hook(lambda *_: None)
    assert State(model) != before
    hook.remove()
    assert State(model) == before
    decoder = model.get_decoder()
    decoder.set_attn_implementation("eager")
    assert State(model) != before
    decoder.set_attn_implementation("sdpa")
    assert State(model).attention == before.attention
