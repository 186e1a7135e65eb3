from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from guardalign_middleware.cli.app import app
from guardalign_middleware.config import (
    DefenceConfig,
    DetectionConfig,
    EncoderConfig,
    GuardAlignConfig,
    PatchConfig,
    SecondEncoderConfig,
)
from guardalign_middleware.detection import AnchorBank, Detector
from guardalign_middleware.detection.detector import Parts
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks import ATTACKS, Target, run_attacks
from guardalign_middleware.evaluation.attacks.defences import (
    DEFENCES,
    NO_DEFENCE,
    Defence,
    defences_for,
    flagged,
    patches_of,
)
from guardalign_middleware.evaluation.attacks.gradient import evade, float_crops, to_tensor
from guardalign_middleware.evaluation.attacks.report import CLEAN, STRADDLED
from guardalign_middleware.mini.world import CONCEPTS, HELD_OUT_BACKGROUNDS, draw_scene
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import CanonicalImage

torch.set_num_threads(1)
PATCHES = PatchConfig(sizes=(32, 64), unit="pixels")
RED = (255, 0, 0)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.from_config(GuardAlignConfig.load("mini").detection)


@pytest.fixture(scope="module")
def target(detector: Detector) -> Target:
    """A small scene with a bomb that is found."""
    bomb = next(concept for concept in CONCEPTS if concept.name == "bomb")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scene = draw_scene(
            rng,
            [bomb],
            width=130,
            height=110,
            item_sides=(60, 60),
            backgrounds=HELD_OUT_BACKGROUNDS,
        )
        image = CanonicalImage(scene.pixels, f"scene-{seed}")
        if detector.scan(image).flagged:
            return Target(image, (scene.items[0].box,))
    raise AssertionError("no scene is found")


def parts_of(detector: Detector) -> Parts:
    (meter,) = detector.meters
    return meter.encoder, meter.anchors


def nearest(detector: Detector, image: CanonicalImage) -> float:
    """The distance of an image to the first encoder."""
    return detector.distances(image)[0].distance


def red_square() -> Target:
    pixels = np.full((160, 192, 3), 127, dtype=np.uint8)
    pixels[64:96, 96:128] = RED
    return Target(CanonicalImage(pixels, "square"), ((96, 64, 128, 96),))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_boxes_go_where_the_things_go(name: str) -> None:
    before = red_square()
    after = ATTACKS[name](before, PATCHES, np.random.default_rng(0))
    assert before.image.pixels[64, 96].tolist() == list(RED)
    red = (after.image.pixels[..., 0].astype(int) - after.image.pixels[..., 1]) > 60
    hidden = np.zeros_like(red)
    for x0, y0, x1, y1 in after.boxes:
        assert 0 <= x0 < x1 <= after.image.width
        assert 0 <= y0 < y1 <= after.image.height
        assert red[y0:y1, x0:x1].mean() > 0.15
        hidden[y0:y1, x0:x1] = True
    # JPEG lets colour run over the edge.
    assert (red & ~hidden).sum() <= (0.2 if "JPEG" in name else 0.05) * red.sum()


def test_attacks_do_what_they_say() -> None:
    rng = np.random.default_rng(0)
    square = red_square()
    moved = ATTACKS["moved onto crop borders"](square, PATCHES, rng)

    def best_share(target: Target) -> float:
        boxes = patch_boxes(target.image.width, target.image.height, PATCHES)
        boxes = boxes[boxes[:, 2] - boxes[:, 0] == 32]
        x0, y0, x1, y1 = target.boxes[0]
        return max(
            max(min(b[2], x1) - max(b[0], x0), 0) * max(min(b[3], y1) - max(b[1], y0), 0)
            for b in boxes.tolist()
        ) / ((x1 - x0) * (y1 - y0))

    assert best_share(square) == 1.0
    assert best_share(moved) <= 0.7
    assert len(ATTACKS["three more copies"](square, PATCHES, rng).boxes) == 4
    tiny = ATTACKS["tiny: shrunk to a third on a canvas"](square, PATCHES, rng)
    assert tiny.image.pixels.shape == square.image.pixels.shape
    assert tiny.boxes[0][2] - tiny.boxes[0][0] <= 12
    assert ATTACKS["half the size"](square, PATCHES, rng).image.width == 96


def test_float_crops_are_the_detectors_crops(target: Target) -> None:
    boxes = patch_boxes(target.image.width, target.image.height, PATCHES)
    expected = crop_patches(target.image, boxes, 56)
    difference = (float_crops(to_tensor(target.image), boxes, 56) - expected).abs()
    # The detector's resize rounds to 8 bits after each of its two passes.
    assert difference.max() <= 10.0 / 255.0
    assert difference.mean() <= 0.5 / 255.0


def test_the_gradient_goes_through_encoder_and_transport(
    detector: Detector, target: Target
) -> None:
    clean = nearest(detector, target.image)
    threshold = detector.profile.threshold if detector.profile else 0.0
    evaded = evade(detector, target, [threshold], levels=8, steps=6, rng=np.random.default_rng(0))
    change = evaded.image.pixels.astype(int) - target.image.pixels
    assert 0 < np.abs(change).max() <= 8
    after = nearest(detector, evaded.image)
    assert after > 3 * clean
    rng = np.random.default_rng(0)
    noise = rng.integers(-8, 9, target.image.pixels.shape)
    noisy = np.clip(target.image.pixels + noise, 0, 255).astype(np.uint8)
    assert after > nearest(detector, CanonicalImage(noisy))
    # What a gradient was asked of still scans as before.
    assert nearest(detector, target.image) == pytest.approx(clean, abs=1e-6)


def test_a_gradient_that_overflows_in_single_precision(detector: Detector) -> None:
    pistol = next(concept for concept in CONCEPTS if concept.name == "pistol")
    scene = draw_scene(
        np.random.default_rng(1),
        [pistol],
        width=130,
        height=110,
        item_sides=(60, 60),
        backgrounds=HELD_OUT_BACKGROUNDS,
    )
    target = Target(CanonicalImage(scene.pixels), (scene.items[0].box,))
    # At a small ε the kernel's values span more than single precision holds the derivatives of.
    sharp = detector.config.transport.model_copy(update={"epsilon": 0.02})
    config = detector.config.model_copy(update={"transport": sharp})
    sharper = Detector.from_parts(*parts_of(detector), config)
    clean = nearest(sharper, target.image)
    rng = np.random.default_rng(0)
    evaded = evade(sharper, target, [0.2], levels=8, steps=10, rng=rng)
    assert nearest(sharper, evaded.image) > 2 * clean


def test_the_report_is_whole(detector: Detector, target: Target) -> None:
    safe = CanonicalImage(np.full((110, 130, 3), 200, dtype=np.uint8), "plain")
    report = run_attacks(detector, [target], [safe], levels=(8,), steps=1)
    assert [row.attack for row in report.attacks] == [CLEAN, *ATTACKS, "gradient, ε = 8/255"]
    assert report.attacks[0].detected.value == 1.0
    assert [row.defence for row in report.defences] == [one.name for one in DEFENCES]
    none = report.defences[0]
    assert none.scans == 1.0
    assert none.detected[CLEAN] == report.attacks[0].detected
    assert none.detected["moved onto crop borders"] == next(
        row.detected for row in report.attacks if row.attack == "moved onto crop borders"
    )
    assert report.defences[3].scans == 3.0
    assert report.defences[4].scans > 1.5
    assert all(row.false_alarms is not None for row in report.defences)
    json.dumps(report.to_json(), allow_nan=False)


def doubled(detector: Detector) -> Detector:
    """The miniature twice, at random offsets, with the thresholds of the shipped profile."""
    config = detector.config
    second = SecondEncoderConfig(encoder=config.encoder, transport=config.transport)
    defence = DefenceConfig(views=("shifted", "mirrored"))
    both = config.model_copy(update={"defence": defence.model_copy(update={"second": second})})
    bare = Detector.from_parts(*parts_of(detector), both, second=parts_of(detector))
    assert detector.profile is not None
    own = replace(detector.profile, binding=bare.meters[0].binding)
    profile = replace(own, second=replace(own, binding=bare.meters[1].binding))
    return Detector(bare.meters, both, profile)


def test_what_is_configured_is_attacked_and_compared(
    detector: Detector, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {STRADDLED: ATTACKS[STRADDLED]}
    monkeypatch.setattr("guardalign_middleware.evaluation.attacks.report.ATTACKS", kept)
    guarded = doubled(detector)
    report = run_attacks(guarded, [target], levels=(8,), steps=1)
    names = [one.name for one in DEFENCES]
    assert [row.defence for row in report.defences] == [*names, "two encoders", "as configured"]
    costs = {row.defence: row.scans for row in report.defences}
    assert costs["none"] == 1.0
    assert costs["two encoders"] == 2.0
    assert costs["as configured"] >= 4.0
    assert all(row.false_alarms is None for row in report.defences)
    assert report.attacks[0].detected.value == 1.0
    alone = replace(Defence("x", ("mirrored", "shifted")), second=True).applied(guarded)
    assert [meter.views for meter in alone.meters] == [("mirrored", "shifted")] * 2
    assert defences_for(alone)[-1].views == ("mirrored", "shifted")
    assert defences_for(DEFENCES[2].applied(guarded)) == DEFENCES  # it is compared already


def test_only_what_is_configured_may_be_measured(detector: Detector) -> None:
    def names(detector: Detector) -> list[str]:
        return [one.name for one in defences_for(detector, compare=False)]

    guarded = doubled(detector)
    assert names(guarded) == ["none", "as configured"]
    assert names(replace(NO_DEFENCE, second=True).applied(guarded)) == ["none", "two encoders"]
    assert names(DEFENCES[2].applied(guarded)) == ["none", DEFENCES[2].name]
    assert names(detector) == ["none"]


def test_who_knows_of_the_views_goes_through_them(detector: Detector, target: Target) -> None:
    assert detector.profile is not None
    mirrored = Defence("mirrored", ("mirrored",)).applied(detector)
    threshold = detector.profile.threshold
    before = nearest(mirrored, target.image)
    rng = np.random.default_rng(0)
    known = evade(mirrored, target, [threshold], levels=8, steps=12, rng=rng)
    unknown = evade(detector, target, [threshold], levels=8, steps=12, rng=rng)
    after = [nearest(mirrored, one.image) for one in (known, unknown)]
    assert after[0] > 3 * before
    assert after[0] > after[1]


def test_a_gradient_goes_through_both_encoders(detector: Detector, target: Target) -> None:
    assert detector.profile is not None
    two = Defence("two", second=True).applied(doubled(detector))
    threshold = detector.profile.threshold

    def evaded(thresholds: list[float], attacked: Detector) -> CanonicalImage:
        rng = np.random.default_rng(0)
        return evade(attacked, target, thresholds, levels=8, steps=2, rng=rng).image

    one = evaded([threshold], detector)
    # The same encoder twice pulls where one does; a second goal of its own pulls elsewhere.
    assert np.array_equal(evaded([threshold, threshold], two).pixels, one.pixels)
    assert not np.array_equal(evaded([threshold, 5 * threshold], two).pixels, one.pixels)
    with pytest.raises(ValueError, match="zip"):
        evaded([threshold], two)


def test_views_only_add_to_what_is_found(detector: Detector, target: Target) -> None:
    seed = "5" * 32
    (measured,) = NO_DEFENCE.applied(detector).distances(target.image, view_seed=seed)
    plain = measured.by_category()
    assert plain == pytest.approx(detector.distances(target.image)[0].by_category())
    several = DEFENCES[3].applied(detector)
    (measured,) = several.distances(target.image, view_seed=seed)
    found = measured.by_category()
    assert all(found[name] <= value + 1e-6 for name, value in plain.items())
    assert detector.profile is not None
    assert flagged(several, detector.profile, target.image, seed)
    assert patches_of(several, target.image, seed) == len(measured.evidence.patch_boxes)


def test_what_cannot_be_attacked() -> None:
    config = DetectionConfig(
        encoder=EncoderConfig(model="fake"), anchors=Path("unused.yaml"), patches=PATCHES
    )
    bank = AnchorBank({"fire": ("red",)}, {"wall": ("grey",)})
    fake = Detector.from_parts(FakeEncoder(), bank, config)
    with pytest.raises(ConfigError, match="open_clip"):
        evade(fake, red_square(), [0.1], levels=8, rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="profile"):
        run_attacks(fake, [red_square()])


def test_the_command_attacks_own_images(target: Target, tmp_path: Path) -> None:
    target.image.to_pil().save(tmp_path / "bomb.png")
    plain = np.full((100, 100, 3), 200, dtype=np.uint8)
    CanonicalImage(plain).to_pil().save(tmp_path / "plain.png")
    options = ["--eps", "4", "--steps", "1", "--json", str(tmp_path / "figures.json")]
    images = ["--unsafe", str(tmp_path), "--safe", str(tmp_path / "plain.png")]
    plot = ["--plot", str(tmp_path / "plots" / "attacks.png")]
    result = CliRunner().invoke(app, ["attack", *images, *options, *plot])
    assert result.exit_code == 0, result.output
    assert "1 of 2 unsafe images are not detected" in result.stderr
    assert json.loads((tmp_path / "figures.json").read_text())["images"] == 1
    assert (tmp_path / "plots" / "attacks.png").stat().st_size > 10_000
    nothing = CliRunner().invoke(app, ["attack", "--unsafe", str(tmp_path / "plain.png")])
    assert nothing.exit_code == 2
    assert "nothing is attacked" in nothing.stderr
    assert CliRunner().invoke(app, ["attack", "--eps", "0"]).exit_code == 2
