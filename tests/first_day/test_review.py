"""The step `review` shows the thresholds of the guard, whatever this run is asked for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.canonical import CanonicalImage
from guardalign_middleware.cli import init_steps
from guardalign_middleware.cli.init_steps import FirstDay
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector, ThresholdFit, ThresholdProfile
from guardalign_middleware.detection.profile import TrafficFit
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.first_day.plan import Plan
from guardalign_middleware.testing import png, red_config, red_detector

BARE = Detector(red_detector().meters, red_config().detection)


@pytest.fixture(autouse=True)
def red(monkeypatch: pytest.MonkeyPatch) -> None:
    def written(plan: Plan) -> GuardAlignConfig:
        profile = plan.profile if plan.profile.exists() else None
        detection = red_config().detection.model_copy(update={"profile": profile})
        return red_config(detection=detection)

    monkeypatch.setattr(Plan, "written", written)
    monkeypatch.setattr(FirstDay, "_loaded", lambda day, config: BARE)
    monkeypatch.setattr(init_steps, "name_profile", lambda plan: None)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("safe", 10), ("unsafe", 5)):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(24, 0).repeat(24, 1)
            (tmp_path / name / f"{number}.png").write_bytes(png(CanonicalImage(pixels)))
    (tmp_path / "guard.yaml").write_text("")
    return tmp_path


def done(photos: Path, step: str, *, bound: float = 0.4, seed: int = 0) -> Plan:
    plan = Plan(
        "red",
        photos / "guard.yaml",
        (str(photos / "safe"),),
        (str(photos / "unsafe"),),
        max_false_alarm=bound,
        seed=seed,
    )
    FirstDay(plan, lambda question: True).do(step, again=True)  # type: ignore[arg-type]
    return plan


def held_out(page: str) -> set[str]:
    return set(re.findall(r"<figcaption>(\S+) · \S+, held out<", page))


def test_the_page_is_about_the_profile_that_the_preset_names(photos: Path) -> None:
    plan = done(photos, "calibrate")
    done(photos, "review")
    page = plan.review.read_text()
    assert "at most 0.4" in page
    assert len(held_out(page)) == 3 + 2
    done(photos, "review", bound=0.6, seed=7)
    assert plan.review.read_text() == page


def test_a_profile_of_another_command_does_not_say_what_was_held_out(photos: Path) -> None:
    plan = done(photos, "calibrate")
    fit = ThresholdFit(0.125, 70, 0.1, held_out_safe=(3, 30))
    ThresholdProfile(0.3, "others", fit, BARE.meters[0].binding).save(plan.profile)
    done(photos, "review")
    page = plan.review.read_text()
    assert "at most 0.125" in page
    assert "100 safe pictures: 70 set the threshold, 30 are held out" in page
    assert "Which pictures were held out is not known" in page
    assert not held_out(page)


def test_a_profile_of_a_log_is_said_to_be_one(photos: Path) -> None:
    traffic = TrafficFit(200, 0.02, 0.07, 0.06, (5, 90))
    fit = ThresholdFit(0.05, 0, 0.0, traffic=traffic)
    profile = ThresholdProfile(0.3, "traffic", fit, BARE.meters[0].binding)
    profile.save(photos / "guard-profile.json")
    plan = done(photos, "review")
    page = plan.review.read_text()
    assert "Fitted to 200 pictures of a log" in page
    assert "<td>pictures flagged</td><td>at most 0.07</td>" in page
    assert "<td>90</td>" in page


def test_a_profile_for_other_parts_is_refused_before_anything_is_measured(photos: Path) -> None:
    with pytest.raises(ConfigError, match="names no threshold profile yet") as caught:
        done(photos, "review")
    assert "--step calibrate" in caught.value.remedy
    binding = {**BARE.meters[0].binding, "anchors": "others"}
    fit = ThresholdFit(0.1, 70, 0.1)
    ThresholdProfile(0.3, "others", fit, binding).save(photos / "guard-profile.json")
    with pytest.raises(ConfigError, match="fitted with different anchors"):
        done(photos, "review")
    assert not (photos / "guard-distances.jsonl").exists()


def test_an_unsafe_picture_that_is_called_safe_too_is_never_shown(photos: Path) -> None:
    plan = done(photos, "calibrate")
    copied = (photos / "unsafe" / "1.png").read_bytes()
    (photos / "safe" / "copy.png").write_bytes(copied)
    with pytest.raises(ConfigError, match="is in two groups"):
        done(photos, "review")
    assert not plan.review.exists()
