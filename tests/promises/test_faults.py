"""Promise 8: a fault at any stage is a typed error, not a "block", and the model is not asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from guardalign_middleware import (
    ConfigError,
    DetectionError,
    GuardAlign,
    GuardError,
    ImageGuard,
    MessageError,
)
from guardalign_middleware.cli import app
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.testing import EchoRunner, all_red, picture, png, red_chain, red_guard
from tests.support.broken import (
    CANARY,
    FAULTS,
    BrokenRunner,
    ask,
    guard_that_does_not_converge,
    guard_with,
    raising,
    save_profile,
    ways_to_ask,
)

PLAIN, UNSAFE, HOPELESS = picture(), picture(red=True), all_red()
WAYS = list(ways_to_ask(red_chain(), []))
NO_MEMORY = [name for name in FAULTS if "memory" in name]


def fault_of(call: Callable[[], object]) -> GuardError:
    with pytest.raises(GuardError) as caught:
        call()
    assert CANARY not in str(caught.value)
    assert caught.value.stage
    return caught.value


class TestDetection:
    @pytest.mark.parametrize("name", FAULTS)
    @pytest.mark.parametrize("way", WAYS)
    def test_a_fault_of_the_encoder(self, name: str, way: str) -> None:
        runner = EchoRunner()
        chain = GuardAlign(guard_with(FAULTS[name]), runner)
        fault_of(ways_to_ask(chain, ask(PLAIN))[way])
        assert runner.calls == []

    @pytest.mark.parametrize("name", FAULTS)
    def test_the_guard_alone(self, name: str) -> None:
        guard = guard_with(FAULTS[name])
        for call in (guard.scan, guard.sanitize):
            fault_of(lambda call=call: call(png(PLAIN)))  # type: ignore[misc]

    @pytest.mark.parametrize("name", NO_MEMORY)
    def test_out_of_memory_names_its_remedy(self, name: str) -> None:
        error = fault_of(lambda: guard_with(FAULTS[name]).scan(PLAIN))
        assert "memory" in error.message
        assert "smaller images" in error.remedy

    def test_the_cause_is_kept(self) -> None:
        error = fault_of(lambda: guard_with(FAULTS["an error of a library"]).scan(PLAIN))
        assert isinstance(error.__cause__, ValueError)

    @pytest.mark.parametrize("solver", ["sinkhorn", "pot"])
    def test_a_transport_that_does_not_converge(self, solver: str) -> None:
        runner = EchoRunner()
        chain = GuardAlign(guard_that_does_not_converge(solver), runner)
        for call in ways_to_ask(chain, ask(UNSAFE)).values():
            error = fault_of(call)
            assert isinstance(error, DetectionError)
            assert error.stage == "transport"
        assert runner.calls == []

    @pytest.mark.parametrize("on_fault", ["raise", "allow"])
    def test_a_fault_while_the_masked_picture_is_scanned_again(self, on_fault: str) -> None:
        """Something was found, so not even fail-open lets it through."""
        guard = guard_with(FAULTS["NaN"], healthy_calls=1, on_fault=on_fault)
        fault_of(lambda: guard.sanitize(UNSAFE))
        assert guard.failed_open == 0

    def test_one_fault_fails_a_whole_batch_and_asks_no_model(self) -> None:
        runner = EchoRunner()
        chain = GuardAlign(guard_with(FAULTS["NaN"]), runner)
        fault_of(lambda: chain.batch(["only words", ask(PLAIN)]))
        assert runner.calls == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
    def test_interrupts_stay_what_they_are(self, error: BaseException) -> None:
        with pytest.raises(type(error)):
            guard_with(raising(error)).scan(PLAIN)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "threshold": NaN}', "\x00"]
)
def test_a_corrupt_profile_does_not_start(tmp_path: Path, text: str) -> None:
    config = save_profile(tmp_path / "profile.json", text)
    config = config.model_copy(
        update={
            "detection": config.detection.model_copy(
                update={"anchors": Path("guardalign_middleware/mini/anchors.yaml").absolute()}
            )
        }
    )
    with pytest.raises(ConfigError, match="profile"):
        ImageGuard.from_config(config)


class TestModel:
    ERRORS: tuple[Exception, ...] = (
        RuntimeError(CANARY),
        torch.OutOfMemoryError("CUDA out of memory."),
        ConnectionError(CANARY),
        BrokenPipeError(CANARY),
    )

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_a_model_that_dies(self, way: str, error: Exception) -> None:
        chain = red_chain(runner=BrokenRunner(error))
        fault = fault_of(ways_to_ask(chain, ask(PLAIN))[way])
        assert fault.stage == "generation"
        assert fault.__cause__ is error

    def test_half_an_answer_never_carries_a_reply(self) -> None:
        chain = red_chain(runner=BrokenRunner(RuntimeError(CANARY), words=3))
        stream = chain.stream(ask(PLAIN))
        chunks = [next(stream) for _ in range(3)]
        assert [chunk.reply for chunk in chunks] == [None] * 3
        fault_of(lambda: next(stream))
        fault_of(lambda: stream.reply)

    def test_the_guards_own_errors_are_not_changed(self) -> None:
        chain = red_chain(runner=BrokenRunner(MessageError("Too long.")))
        for call in ways_to_ask(chain, ask(PLAIN)).values():
            with pytest.raises(MessageError, match="Too long"):
                call()

    def test_a_blocked_image_asks_no_model_so_its_death_is_not_noticed(self) -> None:
        chain = red_chain(runner=BrokenRunner(RuntimeError(CANARY)))
        for call in ways_to_ask(chain, ask(HOPELESS)).values():
            call()


async def test_cancelling_while_images_are_scanned_asks_no_model() -> None:
    scanning, go_on = threading.Event(), threading.Event()

    def slow(rows: Tensor) -> Tensor:
        scanning.set()
        assert go_on.wait(300)
        return rows

    runner = EchoRunner()
    chain = GuardAlign(guard_with(slow), runner)
    finished = threading.Event()
    prepare = chain.prepare

    def told(messages: Any) -> Any:
        prompt = prepare(messages)
        finished.set()
        return prompt

    chain.prepare = told  # type: ignore[method-assign]
    task = asyncio.create_task(chain.ainvoke(ask(PLAIN)))
    assert await asyncio.to_thread(scanning.wait, 300)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await asyncio.to_thread(finished.wait, 300)
    await asyncio.sleep(0.05)
    assert runner.calls == []


def test_a_block_is_an_answer_and_a_fault_is_not() -> None:
    """Every way of asking returns a reply for the first and raises for the second."""
    blocked, broken = red_chain(), GuardAlign(guard_with(FAULTS["NaN"]), EchoRunner())
    assert blocked.invoke(ask(HOPELESS)).finish_reason == "blocked"
    assert blocked.guard.sanitize(HOPELESS).verdict.decision == "block"
    fault_of(lambda: broken.invoke(ask(HOPELESS)))
    fault_of(lambda: broken.guard.sanitize(HOPELESS))


class TestCommand:
    def status(
        self, monkeypatch: pytest.MonkeyPatch, guard: ImageGuard, file: Path, *options: str
    ) -> tuple[int, str, str]:
        monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)
        result = CliRunner().invoke(app, ["scan", str(file), *options])
        return result.exit_code, result.stdout, result.stderr

    @pytest.fixture
    def unsafe(self, tmp_path: Path) -> Path:
        file = tmp_path / "unsafe.png"
        file.write_bytes(png(UNSAFE))
        return file

    def test_scan_tells_unsafe_from_unknown(
        self, monkeypatch: pytest.MonkeyPatch, unsafe: Path
    ) -> None:
        assert self.status(monkeypatch, red_guard(), unsafe)[0] == 1
        code, stdout, stderr = self.status(monkeypatch, guard_with(FAULTS["NaN"]), unsafe)
        assert (code, stdout) == (2, "")
        assert "error:" in stderr

    def test_scan_stays_unknown_when_the_guard_fails_open(
        self, monkeypatch: pytest.MonkeyPatch, unsafe: Path, tmp_path: Path
    ) -> None:
        guard = guard_with(FAULTS["NaN"], on_fault="allow")
        overlay = ("--overlay", str(tmp_path / "seen"))
        code, stdout, _ = self.status(monkeypatch, guard, unsafe, "--json", *overlay)
        row = json.loads(stdout)
        assert code == 2
        assert (row["decision"], row["distance"]) == ("allow", None)
        assert "transport" in row["fault"]
        assert "not scanned" in self.status(monkeypatch, guard, unsafe)[1]

    def test_ask_answers_a_block_and_not_a_fault(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "hopeless.png"
        file.write_bytes(png(HOPELESS))
        broken = GuardAlign(guard_with(FAULTS["NaN"]), EchoRunner())
        for chain, code in ((red_chain(), 0), (broken, 3)):
            monkeypatch.setattr(GuardAlign, "from_config", lambda config, chain=chain: chain)
            result = CliRunner().invoke(app, ["ask", str(file), "What is it?", "--json"])
            assert result.exit_code == code
            if code == 0:
                assert json.loads(result.stdout)["finish_reason"] == "blocked"
            else:
                assert result.stdout == ""


def test_out_of_memory_anywhere_has_one_message() -> None:
    with pytest.raises(GuardError, match="memory"), typed_faults("anywhere"):
        raise MemoryError
