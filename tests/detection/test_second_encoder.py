"""Two encoders: an image is unsafe when either says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from guardalign_middleware.cli import app
from guardalign_middleware.config import (
    DefenceConfig,
    DetectionConfig,
    EncoderConfig,
    GuardAlignConfig,
    SecondEncoderConfig,
    TransportConfig,
    ViewName,
)
from guardalign_middleware.detection import (
    AnchorBank,
    Detector,
    ThresholdProfile,
    fit_pair,
    fit_threshold,
)
from guardalign_middleware.detection.detector import Parts
from guardalign_middleware.detection.image_distances import FormDistances
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import Action, CanonicalImage
from tests.support.colours import COLOUR_BANK, scene

RED, YELLOW, BLACK = (255, 0, 0), (255, 255, 0), (0, 0, 0)
NIGHT = AnchorBank({"night": ("black",)}, {"wall": ("grey", "white"), "fire": ("red",)})
SECOND = (FakeEncoder(8), NIGHT)
"""An encoder that looks for black things."""


def near(distance: float) -> FormDistances:
    return {"native": {"x": distance}}


def with_second(config: DetectionConfig, *views: ViewName) -> DetectionConfig:
    second = SecondEncoderConfig(encoder=EncoderConfig(model="fake"))
    defence = DefenceConfig(views=views or ("as_is",), second=second)
    return config.model_copy(update={"defence": defence})


def profile_for(detector: Detector) -> ThresholdProfile:
    both = [
        replace(fit_threshold([0.5] * 100, binding=one.binding), threshold=0.4)
        for one in detector.meters
    ]
    return replace(both[0], second=both[1]) if len(both) > 1 else both[0]


def pair(config: DetectionConfig, *views: ViewName, second: Parts = SECOND) -> Detector:
    config = with_second(config, *views)
    bare = Detector.from_parts(FakeEncoder(), COLOUR_BANK, config, second=second)
    return Detector(bare.meters, config, profile_for(bare))


def test_either_is_enough(colour_config: DetectionConfig) -> None:
    detector = pair(colour_config)
    first = Detector.from_parts(FakeEncoder(), COLOUR_BANK, colour_config)
    first = Detector(first.meters, colour_config, profile_for(first))
    black = scene(320, 200, {(240, 130, 290, 180): BLACK})
    assert first.scan(black).decision == "allow"
    verdict = detector.scan(black)
    assert (verdict.decision, verdict.category) == ("mask", "night")
    assert verdict.evidence.encoder == "fake-encoder-16+fake-encoder-8"
    assert len(verdict.evidence.patch_boxes) == 2 * len(first.scan(black).evidence.patch_boxes)
    both = detector.scan(scene(320, 200, {(10, 10, 60, 60): RED, (240, 130, 290, 180): BLACK}))
    assert {region.category for region in both.regions} == {"fire", "night"}
    assert detector.scan(scene(320, 200, {})).decision == "allow"
    assert detector.profile is not None
    assert verdict.profile == detector.profile.fingerprint != profile_for(first).fingerprint


@pytest.mark.parametrize(("action", "decision"), [("block", "block"), ("flag", "allow")])
def test_a_category_of_the_second_has_its_own_action(
    colour_config: DetectionConfig, action: Action, decision: str
) -> None:
    bank = AnchorBank(NIGHT.categories, NIGHT.neutral, {"night": action})
    detector = pair(colour_config, second=(FakeEncoder(8), bank))
    verdict = detector.scan(scene(200, 160, {(60, 60, 110, 110): BLACK}))
    assert verdict.decision == decision
    assert {region.action for region in verdict.regions} == {action}


def test_both_look_at_the_same_random_views(colour_config: DetectionConfig) -> None:
    detector = pair(colour_config, "shifted")
    verdict = detector.scan(scene(200, 160, {(60, 60, 110, 110): RED}))
    boxes = verdict.evidence.patch_boxes
    half = len(boxes) // 2
    np.testing.assert_array_equal(boxes[:half], boxes[half:])
    again = pair(colour_config, "shifted").scan(
        scene(200, 160, {(60, 60, 110, 110): RED}), view_seed=verdict.evidence.view_seed
    )
    assert again == verdict


class _Broken(FakeEncoder):
    def encode_images(self, pixels):  # type: ignore[no-untyped-def]
        return super().encode_images(pixels) * float("nan")


def test_a_fault_of_the_second_is_a_fault(colour_config: DetectionConfig) -> None:
    with pytest.raises(DetectionError):
        pair(colour_config, second=(_Broken(8), NIGHT)).scan(scene(64, 64, {}))


def test_parts_that_do_not_belong_together_are_rejected(colour_config: DetectionConfig) -> None:
    detector = pair(colour_config)
    first = Detector.from_parts(FakeEncoder(), COLOUR_BANK, colour_config)
    both = with_second(colour_config)
    with pytest.raises(ConfigError, match="2 encoder.*has 1"):
        Detector(first.meters, colour_config, profile_for(detector))
    with pytest.raises(ConfigError, match="1 encoder.*has 2"):
        Detector(detector.meters, both, profile_for(first))
    other = Detector.from_parts(FakeEncoder(), COLOUR_BANK, both, second=(FakeEncoder(4), NIGHT))
    with pytest.raises(ConfigError, match="different encoder"):
        Detector(other.meters, both, profile_for(detector))
    for config, given in ((both, None), (colour_config, SECOND)):
        with pytest.raises(ConfigError, match="or neither"):
            Detector.from_parts(FakeEncoder(), COLOUR_BANK, config, second=given)
    with pytest.raises(ConfigError, match="configured views"):
        Detector(detector.meters, with_second(colour_config, "mirrored"))
    with pytest.raises(ConfigError, match="two encoders at most"):
        replace(profile_for(first), second=profile_for(detector))


def test_a_profile_of_two_comes_back_from_its_file(
    colour_config: DetectionConfig, tmp_path: Path
) -> None:
    profile = profile_for(pair(colour_config))
    profile.save(tmp_path / "profile.json")
    again = ThresholdProfile.load(tmp_path / "profile.json")
    assert again == profile
    assert again.fingerprint == profile.fingerprint
    data = json.loads((tmp_path / "profile.json").read_text())
    for wrong in (None, {}, {**data["second"], "surprise": 1}):
        (tmp_path / "wrong.json").write_text(json.dumps({**data, "second": wrong}))
        with pytest.raises(ConfigError, match="profile"):
            ThresholdProfile.load(tmp_path / "wrong.json")


@pytest.mark.parametrize("shared", [0.0, 0.7, 1.0])
def test_the_pair_keeps_its_promise_over_redraws(shared: float) -> None:
    """However much the encoders agree: at most 10% of the new safe images are flagged."""
    rng = np.random.default_rng(0)
    rates = []

    def drawn(count: int) -> list[tuple[FormDistances, ...]]:
        common, own = rng.random(count), rng.random((count, 2))
        same = rng.random((count, 2)) < shared
        values = np.where(same, common[:, None], own)
        return [(near(float(a)), near(float(b))) for a, b in values]

    for _ in range(300):
        safe = drawn(59)

        def fit_one(number: int, alarm: float | None, miss: float | None) -> ThresholdProfile:
            distances = [image[number]["native"]["x"] for image in safe]  # noqa: B023
            return fit_threshold(distances, (), alarm, max_miss=miss, binding={})

        profile = fit_pair(fit_one, safe, [], 0.1)
        rates.append(np.mean([profile.flags(*image) for image in drawn(200)]))
    assert np.mean(rates) <= 0.1 + 3 * np.std(rates) / np.sqrt(len(rates))
    # Half for each is no more than is needed where they never agree.
    assert np.mean(rates) >= (0.08 if shared == 0.0 else 0.04)


def test_promises_of_two() -> None:
    safe = [(near(0.5 + k / 100), near(0.6 + k / 100)) for k in range(39)]
    unsafe = [(near(k / 100), near(0.9)) for k in range(19)]
    asked: list[tuple[int, float | None, float | None]] = []

    def fit_one(number: int, alarm: float | None, miss: float | None) -> ThresholdProfile:
        asked.append((number, alarm, miss))
        distances = [
            [image[number]["native"]["x"] for image in images] for images in (safe, unsafe)
        ]
        return fit_threshold(distances[0], distances[1], alarm, max_miss=miss, binding={})

    both = fit_pair(fit_one, safe, unsafe, 0.05, max_miss=0.05)
    assert asked == [(0, 0.025, 0.05), (1, 0.025, None)]
    assert both.fit.detected == 1.0
    assert both.fit.max_false_alarm == 0.05
    assert "either of two encoders, because each flags at most 2.50%" in both.guarantee
    assert "missed by both" in both.guarantee
    asked.clear()
    fit_pair(fit_one, safe, unsafe, None, max_miss=0.05)
    assert asked == [(0, None, 0.05), (1, None, 0.05)]
    with pytest.raises(ConfigError, match=r"^the first encoder: 39 safe images cannot") as caught:
        fit_pair(fit_one, safe, unsafe, 0.02)
    assert "at least 99" in str(caught.value)


@pytest.mark.evidence
def test_calibrate_writes_what_the_guard_of_the_preset_takes(tmp_path: Path) -> None:
    """Two encoders and random views, from a preset: here the miniature twice."""
    mini = yaml.safe_load(
        Path("guardalign_middleware/presets/mini.yaml").read_text(encoding="utf-8")
    )
    detection = GuardAlignConfig.load("mini").detection
    encoder = {"model": detection.encoder.model}
    facts = {
        **mini["detection"],
        "encoder": encoder,
        "anchors": str(detection.anchors),
        "profile": "profile.json",
        "defence": {"views": ["shifted"], "second": {"encoder": encoder}},
    }
    preset = tmp_path / "mine.yaml"
    preset.write_text(yaml.safe_dump({"name": "mine", "detection": facts}))
    folder = tmp_path / "safe"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        CanonicalImage(coarse).to_pil().resize((72, 64)).save(folder / f"{number}.png")
    written = []
    for name in ("profile.json", "again.json"):
        command = ["calibrate", "--safe", folder, "--preset", preset, "--max-false-alarm", "0.6"]
        options = ["--held-out", "0.25", "--out", tmp_path / name]
        result = CliRunner().invoke(app, [str(part) for part in (*command, *options)])
        assert result.exit_code == 0, result.output
        assert "either of two encoders" in " ".join(result.stdout.split())
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]  # view seeds follow from --seed
    detector = Detector.from_config(GuardAlignConfig.load(preset).detection)
    first, second = (meter.transport for meter in detector.meters)
    assert first == second != TransportConfig()
    image = CanonicalImage(rng.integers(0, 256, (64, 72, 3), dtype=np.uint8))
    assert detector.scan(image).evidence.view_seed is not None
    other = {"encoder": encoder, "transport": {"epsilon": 0.05}}
    defence = {"views": ["shifted"], "second": other}
    own = yaml.safe_dump({"name": "mine", "detection": {**facts, "defence": defence}})
    preset.write_text(own)
    with pytest.raises(ConfigError, match="different transport"):
        Detector.from_config(GuardAlignConfig.load(preset).detection)
    plain = yaml.safe_dump({"name": "mine", "detection": {**facts, "defence": {}}})
    preset.write_text(plain)
    with pytest.raises(ConfigError, match="fitted for 2"):
        Detector.from_config(GuardAlignConfig.load(preset).detection)
