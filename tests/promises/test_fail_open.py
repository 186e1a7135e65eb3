"""`on_fault="allow"` is an explicit setting, counted, and visible in every verdict it makes."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
from pydantic import ValidationError
from torch import Tensor

from guardalign_middleware import (
    GuardAlign,
    GuardAlignConfig,
    GuardError,
    ImageGuard,
    ImageRejected,
    Verdict,
)
from guardalign_middleware.audit import differences, read_entries, verify
from guardalign_middleware.config import (
    AuditConfig,
    IntakePolicy,
    PrefixConfig,
    RunnerConfig,
)
from guardalign_middleware.preset_files import available_presets
from guardalign_middleware.testing import (
    BOX,
    EchoRunner,
    all_red,
    picture,
    png,
    red_config,
    red_guard,
)
from tests.support.animations import animation
from tests.support.audit_logs import KEY
from tests.support.broken import CANARY, FAULTS, ask, guard_with, raising, ways_to_ask

PLAIN, UNSAFE, HOPELESS = picture(), picture(red=True), all_red()
GREEN = picture(colour=(0, 255, 0))


def open_guard(name: str = "NaN", **changes: object) -> ImageGuard:
    return guard_with(FAULTS[name], on_fault="allow", **changes)


def blind_to_green(rows: Tensor) -> Tensor:
    """Fails on a crop that is entirely green; the second column is the share of green."""
    return rows.masked_fill((rows[:, 1] == 1.0)[:, None], float("nan"))


def test_it_is_never_the_default() -> None:
    assert red_config().on_fault == "raise"
    assert all(GuardAlignConfig.load(name).on_fault == "raise" for name in available_presets())
    with pytest.raises(ValidationError):
        red_config(on_fault="ignore")


@pytest.mark.parametrize("name", FAULTS)
def test_the_image_passes_and_everything_says_so(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    runner = EchoRunner()
    guard = open_guard(name)
    with caplog.at_level(logging.WARNING):
        reply = GuardAlign(guard, runner).invoke(ask(UNSAFE))
    assert runner.calls[0].images[0].sha256 == UNSAFE.sha256
    (verdict,) = reply.verdicts
    assert (verdict.decision, verdict.flagged, verdict.regions) == ("allow", False, ())
    assert verdict.fault
    assert math.isnan(verdict.distance)
    assert (reply.failed_open, guard.failed_open) == (1, 1)
    facts = json.loads(json.dumps(reply.to_json(), allow_nan=False))
    assert facts["failed_open"] == 1
    assert facts["verdicts"][0]["distance"] is None
    assert facts["verdicts"][0]["fault"] == verdict.fault
    assert "unscanned" in caplog.text
    assert CANARY not in caplog.text + json.dumps(facts["verdicts"])


def test_every_way_of_asking_counts() -> None:
    guard = open_guard()
    calls = ways_to_ask(GuardAlign(guard, EchoRunner()), ask(PLAIN))
    for number, call in enumerate(calls.values(), start=1):
        call()
        assert guard.failed_open == number


def test_only_the_image_with_the_fault_passes_unscanned() -> None:
    guard = guard_with(blind_to_green, on_fault="allow")
    reply = GuardAlign(guard, EchoRunner()).invoke(ask(PLAIN, GREEN, UNSAFE))
    assert [(v.decision, v.fault is not None) for v in reply.verdicts] == [
        ("allow", False),
        ("allow", True),
        ("mask", False),
    ]
    blocked = GuardAlign(guard, EchoRunner()).invoke(ask(GREEN, HOPELESS))
    assert blocked.finish_reason == "blocked"
    assert guard.failed_open == 2


def test_a_fault_that_passes_by_leaves_nothing_behind() -> None:
    """A batch that fails is scanned again one by one; nothing remains unscanned."""
    calls: list[int] = []

    def once(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        return rows * float("nan") if len(calls) == 1 else rows

    guard = guard_with(once, on_fault="allow")
    assert guard.scan_many([PLAIN, UNSAFE]) == red_guard().scan_many([PLAIN, UNSAFE])
    assert guard.failed_open == 0


def test_anything_but_a_detector_fault_is_still_refused() -> None:
    guard = open_guard()
    with pytest.raises(ImageRejected):
        guard.scan(b"no image")
    with pytest.raises(ImageRejected):
        GuardAlign(guard, EchoRunner()).invoke(
            [{"role": "user", "content": [{"type": "image", "image": b"no image"}]}]
        )
    with pytest.raises(KeyboardInterrupt):
        guard_with(raising(KeyboardInterrupt()), on_fault="allow").scan(PLAIN)


def test_the_prefix_precedes_an_unscanned_image() -> None:
    runner = EchoRunner()
    runner.config = RunnerConfig(model="echo", prefix=PrefixConfig(policy="when_flagged"))
    chain = GuardAlign(guard_with(blind_to_green, on_fault="allow"), runner)
    chain.batch([ask(PLAIN), ask(GREEN)])
    assert [call.prefix for call in runner.calls] == [False, True]


def test_an_unscanned_frame_is_worse_than_an_allowed_one_and_better_than_an_unsafe_one() -> None:
    intake = IntakePolicy(frames="scan_all")
    guard = guard_with(blind_to_green, on_fault="allow", intake=intake)
    assert guard.scan(animation(PLAIN, GREEN)).fault is not None
    assert guard.scan(animation(GREEN, UNSAFE)).decision == "mask"


def test_the_overlay_marks_an_unscanned_image() -> None:
    unscanned = open_guard().sanitize(UNSAFE)
    allowed = red_guard().sanitize(PLAIN)
    assert unscanned.overlay().getpixel((2, 2)) != allowed.overlay().getpixel((2, 2))
    x0, y0, *_ = BOX
    assert unscanned.image is not None
    assert tuple(unscanned.image.pixels[y0, x0]) == (255, 0, 0)


def test_the_log_records_it_and_a_replay_shows_the_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARDALIGN_TEST_KEY", KEY.decode())
    log = tmp_path / "log"
    audit = AuditConfig(log=log, key_variable="GUARDALIGN_TEST_KEY")
    open_guard(audit=audit).sanitize(PLAIN)
    assert verify(log, KEY).intact
    (entry,) = read_entries(log, KEY)
    assert (entry.decision, entry.distance) == ("allow", None)
    assert entry.fault is not None
    assert entry.cleaned == entry.image
    assert differences(entry, open_guard().sanitize(PLAIN), PLAIN, KEY) == ()
    healthy = set(differences(entry, red_guard().sanitize(PLAIN), PLAIN, KEY))
    assert healthy >= {"fault", "distance"}


def test_a_verdict_without_a_fault_is_printed_as_before() -> None:
    verdict: Verdict = red_guard().scan(png(PLAIN))
    assert "fault" not in verdict.to_json()
    with pytest.raises(GuardError):
        guard_with(FAULTS["NaN"]).scan(PLAIN)
