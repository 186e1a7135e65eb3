"""The measurements: throughput of scans and answers, ratios, memory, and whether they are valid."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from guardalign_middleware.bench.device import Device
from guardalign_middleware.bench.subject import Subject, conversation, drawn_picture
from guardalign_middleware.bench.timing import (
    NOISE,
    Comparison,
    compare,
    compare_in_turn,
    is_noisy,
)
from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import CanonicalImage

Tell = Callable[[str], None]

SIZES = ((480, 320), (1920, 1080), (4000, 3000))
"""Of the drawn pictures."""

FEWEST_PAIRS = 20
"""For figures that are published."""

_MOST_AT_ONCE = 16


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        pairs: of timings for each ratio.
        sizes: of the drawn pictures that are scanned.
        asked: size of the drawn picture that is scanned again and again, and asked about.
        own: pictures of the reader, scanned in one row.
    """

    pairs: int = FEWEST_PAIRS
    sizes: Sequence[tuple[int, int]] = SIZES
    asked: tuple[int, int] = (640, 480)
    own: Sequence[CanonicalImage] = ()

    @property
    def repeats(self) -> int:
        """Of calls whose elapsed time is reported."""
        return max(3, self.pairs // 4)


@dataclass(frozen=True)
class ScanSpeed:
    """Scanning pictures one after another, without decoding: medians of elapsed time.

    Attributes:
        pictures: which.
        crops: about how many crops are encoded for one, by all encoders.
        seconds: for one.
    """

    pictures: str
    crops: int
    seconds: float


@dataclass(frozen=True)
class AnswerSpeed:
    """Answers of one length: medians of elapsed time.

    Attributes:
        how: unguarded, guarded, or how many at once.
        answers: in one call.
        seconds: for one call.
        tokens: that are generated in it.
    """

    how: str
    answers: int
    seconds: float
    tokens: int


@dataclass(frozen=True, eq=False)
class Found:
    """All figures.

    Attributes:
        scans: by pictures.
        answers: unguarded and guarded; empty without a model.
        ratios: of costs; those of a call to itself (A/A) are named so.
        peaks: bytes by what was done; None where the device does not tell.
        faults: why the run is void; empty if it is valid.
    """

    scans: tuple[ScanSpeed, ...]
    answers: tuple[AnswerSpeed, ...]
    ratios: tuple[Comparison, ...]
    peaks: Mapping[str, int | None]
    faults: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "valid": not self.faults,
            "faults": list(self.faults),
            "scans": [asdict(each) for each in self.scans],
            "answers": [asdict(each) for each in self.answers],
            "ratios": [asdict(each) for each in self.ratios],
            "peak_bytes": dict(self.peaks),
        }


SCAN_TWICE = "scan ÷ scan (A/A)"
ANSWER_TWICE = "unguarded ÷ unguarded (A/A)"
GUARDED = "guarded ÷ unguarded"
CALIBRATED = "calibrated ÷ plain, both with the prefix"


def measure(subject: Subject, plan: Plan, tell: Tell = lambda doing: None) -> Found:
    """Measure a guard and, if there is one, its model.

    Args:
        subject: the guard and the model.
        plan: how much is measured.
        tell: called with what is done next.

    Raises:
        GuardAlignError: a scan or an answer failed.
    """
    device = subject.device
    peaks: dict[str, int | None] = {"after loading": device.peak_bytes()}
    device.restart_peak()
    scans = []
    for pictures, images in _pictures(plan).items():
        tell(f"scanning {pictures}")
        scans_of = [partial(subject.guard.scan, image) for image in images]
        seconds = _median(device, scans_of, plan)
        crops = round(statistics.median(subject.crops(image) for image in images))
        scans.append(ScanSpeed(pictures, crops, seconds))
    tell("scanning one picture again and again")
    image = drawn_picture(*plan.asked)
    scan = partial(subject.guard.scan, image)
    ratios = [compare(SCAN_TWICE, scan, scan, pairs=plan.pairs, clock=device.cost)]
    peaks["scanning"] = device.peak_bytes()
    answers: tuple[AnswerSpeed, ...] = ()
    lengths: set[int] = set()
    if subject.runner is not None:
        device.restart_peak()
        answers, more = _answers(subject, subject.runner, image, plan, tell, lengths)
        ratios += more
        peaks["answering"] = device.peak_bytes()
    faults = _faults(ratios, lengths, subject.tokens, plan)
    return Found(tuple(scans), answers, tuple(ratios), peaks, faults)


def _pictures(plan: Plan) -> dict[str, Sequence[CanonicalImage]]:
    drawn = {f"{w} × {h}, drawn": [drawn_picture(w, h)] for w, h in plan.sizes}
    return {**drawn, f"{len(plan.own)} of your own": plan.own} if plan.own else dict(drawn)


def _answers(
    subject: Subject,
    runner: CalibratedRunner,
    image: CanonicalImage,
    plan: Plan,
    tell: Tell,
    lengths: set[int],
) -> tuple[tuple[AnswerSpeed, ...], list[Comparison]]:
    device, tokens, chain = subject.device, subject.tokens, subject.chain
    asked = conversation(image)

    def noted(answer: Generated) -> None:
        lengths.add(answer.usage.output_tokens)

    def unguarded() -> None:
        noted(runner.generate(asked, prefix=False, calibrate=False, max_new_tokens=tokens))

    def guarded() -> None:
        reply = chain.invoke(asked, max_new_tokens=tokens)
        lengths.add(reply.usage.output_tokens)

    def plain() -> None:
        noted(runner.generate(asked, calibrate=False, max_new_tokens=tokens))

    def calibrated() -> None:
        noted(runner.generate(asked, max_new_tokens=tokens))

    count = min(_at_once(subject.config.runner), _MOST_AT_ONCE)
    batch = [conversation(drawn_picture(*plan.asked, seed)) for seed in range(count)]

    def together() -> None:
        rows = runner.generate_batch(batch, prefix=False, calibrate=False, max_new_tokens=tokens)
        for row in rows:
            noted(row)

    tell("answering, unguarded and guarded in turns")
    ratios = compare_in_turn(
        unguarded,
        {ANSWER_TWICE: unguarded, GUARDED: guarded},
        pairs=plan.pairs,
        clock=device.cost,
    )
    if runner.config.calibration.gamma > 0.0:
        tell("answering, with and without calibration in turns")
        ratios += compare_in_turn(
            plain, {CALIBRATED: calibrated}, pairs=plan.pairs, clock=device.cost
        )
    arms = {"unguarded": (unguarded, 1), "guarded": (guarded, 1)}
    if count > 1:
        arms[f"unguarded, {count} at once"] = together, count
    speeds = []
    for how, (call, answers) in arms.items():
        tell(f"answering: {how}")
        seconds = _median(device, [call], plan)
        speeds.append(AnswerSpeed(how, answers, seconds, answers * tokens))
    return tuple(speeds), ratios


def _at_once(config: RunnerConfig | None) -> int:
    return 1 if config is None else config.batch_size


def _median(device: Device, calls: Sequence[Callable[[], object]], plan: Plan) -> float:
    """Median elapsed seconds of a call, each at least once after the first ones."""
    calls[0]()
    taken = []
    for index in range(max(plan.repeats, len(calls))):
        start = device.wall()
        calls[index % len(calls)]()
        taken.append(device.wall() - start)
    return statistics.median(taken)


def _faults(
    ratios: Sequence[Comparison], lengths: set[int], tokens: int, plan: Plan
) -> tuple[str, ...]:
    faults = [
        f"{each.name} is {each.ratio:.3f}, which is more than {NOISE:.0%} from 1: the machine was "
        "busy with something else"
        for each in ratios
        if each.name in {SCAN_TWICE, ANSWER_TWICE} and is_noisy(each.ratio)
    ]
    if lengths - {tokens}:
        told = ", ".join(map(str, sorted(lengths)))
        faults.append(f"answers had {told} tokens instead of {tokens}")
    if plan.pairs < FEWEST_PAIRS:
        faults.append(f"{plan.pairs} pairs are fewer than {FEWEST_PAIRS}")
    return tuple(faults)
