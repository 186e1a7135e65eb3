"""The figures of a guard and a model whose calls take a known time, and what voids a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from guardalign_middleware.bench.measure import (
    ANSWER_TWICE,
    CALIBRATED,
    GUARDED,
    SCAN_TWICE,
    Found,
    Plan,
    measure,
)
from guardalign_middleware.bench.page import machine, page_of, to_json
from guardalign_middleware.bench.subject import (
    Subject,
    drawn_picture,
    flagging_nothing,
    forgetting,
)
from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import EchoRunner, red_config, red_detector

SCAN, ANSWER, CALIBRATION = 1.0, 0.25, 0.025
GIB = 2**30


class Double:
    """A device whose time passes by what is done on it."""

    name, memory = "a double of a GPU", "peak of the device's allocator"

    def __init__(self) -> None:
        self.now, self.peak = 0.0, 2 * GIB

    def cost(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def restart_peak(self) -> None:
        self.peak += GIB

    def peak_bytes(self) -> int:
        return self.peak


class TimedRunner(EchoRunner):
    """Answers in a known time; `spare` words less than asked for, if set."""

    def __init__(self, device: Double, spare: int = 0) -> None:
        super().__init__()
        self.config = RunnerConfig(model="/home/somebody/echo-7b", batch_size=4)
        self._device, self._spare = device, spare

    def generate(self, *args: Any, **options: Any) -> Any:
        calibrated = options.get("calibrate", True) and options.get("prefix", True)
        slower = CALIBRATION if calibrated else 0.0
        self._device.now += ANSWER + slower
        if self._spare:
            options["max_new_tokens"] -= self._spare
        return super().generate(*args, **options)

    def generate_batch(self, rows: Any, **options: Any) -> Any:
        self._device.now += ANSWER
        return [EchoRunner.generate(self, row, **options) for row in rows]


def subject_of(
    *, spare: int = 0, model: bool = True, noise: Callable[[], float] = float
) -> Subject:
    device = Double()
    runner = TimedRunner(device, spare) if model else None
    config = forgetting(red_config(runner=None if runner is None else runner.config))
    guard = ImageGuard(config, flagging_nothing(red_detector(config)))
    scan_many = guard.detector.scan_many

    def timed(images: Any) -> Any:
        device.now += SCAN * len(images) + noise()
        return scan_many(images)

    guard.detector.scan_many = timed  # type: ignore[method-assign]
    return Subject(config, guard, runner, device, 4)  # type: ignore[arg-type]


SMALL = Plan(sizes=(), asked=(16, 16))
PLAN = replace(SMALL, sizes=((32, 24), (16, 16)), own=(drawn_picture(24, 24, 5),))


@pytest.fixture(scope="module")
def measured() -> tuple[Subject, Found]:
    subject = subject_of()
    return subject, measure(subject, PLAN)


def test_scans_and_answers_take_their_time(measured: tuple[Subject, Found]) -> None:
    _, found = measured
    assert [each.pictures for each in found.scans] == [
        "32 × 24, drawn",
        "16 × 16, drawn",
        "1 of your own",
    ]
    assert [each.seconds for each in found.scans] == pytest.approx([SCAN] * 3)
    assert all(each.crops > 0 for each in found.scans)
    speeds = {each.how: (each.answers, each.tokens) for each in found.answers}
    assert speeds == {"unguarded": (1, 4), "guarded": (1, 4), "unguarded, 4 at once": (4, 16)}


def test_ratios_are_of_what_is_compared_and_of_a_call_to_itself(
    measured: tuple[Subject, Found],
) -> None:
    ratios = {each.name: each.ratio for each in measured[1].ratios}
    assert ratios[SCAN_TWICE] == ratios[ANSWER_TWICE] == pytest.approx(1.0)
    assert ratios[GUARDED] == pytest.approx((SCAN + ANSWER) / ANSWER)
    assert ratios[CALIBRATED] == pytest.approx((ANSWER + CALIBRATION) / ANSWER)
    assert len(ratios) == 4
    assert measured[1].faults == ()


def test_peaks_are_told_apart(measured: tuple[Subject, Found]) -> None:
    assert measured[1].peaks == {
        "after loading": 2 * GIB,
        "scanning": 3 * GIB,
        "answering": 4 * GIB,
    }


def test_the_page_says_all_of_it_and_names_no_path(measured: tuple[Subject, Found]) -> None:
    subject, found = measured
    about = machine(subject)
    page = page_of(subject, PLAN, found, about)
    for words in (
        "**Valid**",
        "| model | echo-7b |",
        "| device | a double of a GPU |",
        "| 1 of your own |",
        "| guarded ÷ unguarded | 5.000 (5.000–5.000) |",
        "answered with exactly 4 tokens",
        "elapsed time with the work of the device",
        "| answering | 4.00 |",
        "stays so",
    ):
        assert words in page
    assert "/home" not in page
    stored = to_json(PLAN, found, about)
    assert (stored["valid"], stored["pairs"], len(stored["scans"])) == (True, 20, 3)


def test_without_a_model_there_are_scans_only() -> None:
    subject = subject_of(model=False)
    found = measure(subject, replace(SMALL, sizes=((32, 24),)))
    assert (found.answers, [each.name for each in found.ratios]) == ((), [SCAN_TWICE])
    page = page_of(subject, Plan(), found, machine(subject))
    assert "## Answers" not in page
    assert "| model | none |" in page


def test_a_scan_that_differs_from_itself_voids_the_run() -> None:
    count = {"scans": 0}

    def noise() -> float:
        """More in one half of the timings of ABBA than in the other."""
        count["scans"] += 1
        return 0.4 if count["scans"] % 4 in {0, 1} else 0.0

    subject = subject_of(model=False, noise=noise)
    found = measure(subject, SMALL)
    (fault,) = found.faults
    assert fault.startswith(SCAN_TWICE)
    assert "This run is void" in page_of(subject, Plan(), found, machine(subject))


def test_answers_of_another_length_and_too_few_pairs_void_the_run() -> None:
    found = measure(subject_of(spare=1), replace(SMALL, pairs=3))
    assert found.faults == (
        "answers had 3, 4 tokens instead of 4",
        "3 pairs are fewer than 20",
    )


def test_drawn_pictures_differ() -> None:
    assert drawn_picture(40, 30).sha256 != drawn_picture(40, 30, 1).sha256
    assert drawn_picture(40, 30).sha256 == drawn_picture(40, 30).sha256
