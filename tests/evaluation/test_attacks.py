from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from guardalign_middleware.cli.app import app
from guardalign_middleware.config import (
    DefenceConfig,
    DetectionConfig,
    EncoderConfig,
    FormConfig,
    GuardAlignConfig,
    PatchConfig,
    SecondEncoderConfig,
)
from guardalign_middleware.detection import AnchorBank, Detector
from guardalign_middleware.detection.detector import Parts
from guardalign_middleware.detection.forms import Form
from guardalign_middleware.detection.image_distances import smallest_distances
from guardalign_middleware.detection.measured import PatchDistances
from guardalign_middleware.detection.patches import PADDING, crop_patches, cut_crops
from guardalign_middleware.detection.plan import view_patches
from guardalign_middleware.detection.resize import resized
from guardalign_middleware.detection.views import View
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks import ATTACKS, FAMILIES, Attack, Target, run_attacks
from guardalign_middleware.evaluation.attacks.defences import (
    DEFENCES,
    NO_DEFENCE,
    Defence,
    defences_for,
    flagged,
    patches_of,
)
from guardalign_middleware.evaluation.attacks.gradient import Thresholds, evade, stand_in, to_tensor
from guardalign_middleware.evaluation.attacks.report import CLEAN, GRADIENT, STRADDLED
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.mini.world import CONCEPTS, HELD_OUT_BACKGROUNDS, draw_scene
from guardalign_middleware.testing import FakeEncoder, red_chain
from guardalign_middleware.types import CanonicalImage, FormName

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
            width=80,
            height=72,
            item_sides=(52, 52),
            backgrounds=HELD_OUT_BACKGROUNDS,
        )
        image = CanonicalImage(scene.pixels, f"scene-{seed}")
        if detector.scan(image).flagged:
            return Target(image, (scene.items[0].box,))
    raise AssertionError("no scene is found")


def parts_of(detector: Detector) -> Parts:
    (meter,) = detector.meters
    return meter.encoder, meter.anchors


def limit(detector: Detector, factor: float = 1.0) -> Thresholds:
    """The threshold of the detector's profile in any form, times a factor."""
    assert detector.profile is not None
    threshold = factor * detector.profile.threshold
    return lambda form: threshold


def nearest(detector: Detector, image: CanonicalImage) -> float:
    """The distance of an image to the first encoder."""
    return detector.distances(image)[0].distance


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Attack]]:
    """The first attack of every family; test_attack_pictures.py has them all."""
    first = {family: dict([next(iter(arms.items()))]) for family, arms in FAMILIES.items()}
    monkeypatch.setattr("guardalign_middleware.evaluation.attacks.report.FAMILIES", first)
    return first


def red_square() -> Target:
    pixels = np.full((80, 96, 3), 127, dtype=np.uint8)
    pixels[24:56, 40:72] = RED
    return Target(CanonicalImage(pixels, "square"), ((40, 24, 72, 56),))


@pytest.mark.parametrize(("width", "height"), [(130, 110), (300, 40)])
def test_the_stand_ins_are_the_detectors_crops(detector: Detector, width: int, height: int) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    blobs = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image = CanonicalImage(np.asarray(blobs))
    forms = view_patches(image, View("as_is"), detector.meters[0].look)
    assert {form.form.name for form in forms} == {"squashed", "native"}
    for form in forms:
        expected = crop_patches(form.frame(), form.boxes, 56)
        frame = stand_in(form.form, to_tensor(image))
        difference = (cut_crops(frame, form.boxes, 56, PADDING / 255) - expected).abs()
        # The detector's resize rounds to 8 bits after each of its passes.
        assert difference.max() <= 10.0 / 255.0
        assert difference.mean() <= 0.5 / 255.0


def test_a_processors_frame_is_replaced_by_the_part_it_shows() -> None:
    picture = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    part = Form("model", 20, 20, (10.0, 20.0, 30.0, 40.0), pixels)
    assert torch.equal(stand_in(part, picture), picture[:, 20:40, 10:30])
    padded = Form("model", 20, 20, (0.0, -10.0, 60.0, 50.0), pixels)
    frame = stand_in(padded, picture)
    assert frame.shape == (3, 20, 20)
    assert torch.allclose(frame[:, 0], torch.tensor(PADDING / 255.0))
    assert torch.allclose(frame[:, 9], resized(picture[None], 40 // 3, 20)[0, :, 6], atol=0.2)


def test_the_gradient_goes_through_encoder_and_transport(
    detector: Detector, target: Target
) -> None:
    clean = nearest(detector, target.image)
    rng = np.random.default_rng(0)
    evaded = evade(detector, target, [limit(detector)], levels=8, steps=6, rng=rng)
    change = evaded.image.pixels.astype(int) - target.image.pixels
    assert 0 < np.abs(change).max() <= 8
    after = nearest(detector, evaded.image)
    assert after > 3 * clean
    noise = rng.integers(-8, 9, target.image.pixels.shape)
    noisy = np.clip(target.image.pixels + noise, 0, 255).astype(np.uint8)
    assert after > nearest(detector, CanonicalImage(noisy))
    # What a gradient was asked of still scans as before.
    assert nearest(detector, target.image) == pytest.approx(clean, abs=1e-6)


@pytest.mark.parametrize("kind", ["squashed", "native"])
def test_the_gradient_goes_through_every_form(
    detector: Detector, target: Target, kind: FormName
) -> None:
    """A detector that has one form alone is got past through that form."""
    side = 112 if kind == "squashed" else None
    sees = (FormConfig(kind=kind, side=side),)
    config = detector.config.model_copy(update={"sees": sees, "profile": None})
    alone = Detector.from_parts(*parts_of(detector), config)
    before = nearest(alone, target.image)
    rng = np.random.default_rng(0)
    evaded = evade(alone, target, [limit(detector)], levels=8, steps=4, rng=rng)
    assert nearest(alone, evaded.image) > 3 * before


@pytest.mark.evidence
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
    evaded = evade(sharper, target, [lambda form: 0.2], levels=8, steps=10, rng=rng)
    assert nearest(sharper, evaded.image) > 2 * clean


def test_the_report_is_whole(
    few: dict[str, dict[str, Attack]], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaded = []

    def nothing_changed(detector: Detector, target: Target, *_: object, **__: object) -> Target:
        evaded.append(detector.config)
        return target

    monkeypatch.setattr("guardalign_middleware.evaluation.attacks.report.evade", nothing_changed)
    guard = red_chain().guard
    assert isinstance(guard, ImageGuard)
    detector = guard.detector
    safe = CanonicalImage(np.full((80, 96, 3), 200, dtype=np.uint8), "plain")
    report = run_attacks(detector, [red_square()], [safe], levels=(8,))
    # The detector, and every counter-measure that an attacker may know.
    assert [(one.patches.overlap, one.defence.views) for one in evaded] == [
        (0.5, ("as_is",)),
        *((one.overlap or 0.5, one.views) for one in DEFENCES[1:]),
    ]
    assert [(row.family, row.attack) for row in report.attacks] == [
        ("", CLEAN),
        *((family, name) for family, arms in few.items() for name in arms),
        (GRADIENT, "gradient, ε = 8/255"),
    ]
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


@pytest.mark.evidence
def test_what_is_configured_is_attacked_and_compared(
    detector: Detector, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"place": {STRADDLED: ATTACKS[STRADDLED]}}
    monkeypatch.setattr("guardalign_middleware.evaluation.attacks.report.FAMILIES", kept)
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


@pytest.mark.evidence
def test_who_knows_of_the_views_goes_through_them(detector: Detector, target: Target) -> None:
    mirrored = Defence("mirrored", ("mirrored",)).applied(detector)
    before = nearest(mirrored, target.image)
    rng = np.random.default_rng(0)
    known = evade(mirrored, target, [limit(detector)], levels=8, steps=12, rng=rng)
    unknown = evade(detector, target, [limit(detector)], levels=8, steps=12, rng=rng)
    after = [nearest(mirrored, one.image) for one in (known, unknown)]
    assert after[0] > 3 * before
    assert after[0] > after[1]


@pytest.mark.evidence
def test_a_gradient_goes_through_both_encoders(detector: Detector, target: Target) -> None:
    two = Defence("two", second=True).applied(doubled(detector))

    def evaded(factors: list[float], attacked: Detector) -> CanonicalImage:
        thresholds = [limit(detector, factor) for factor in factors]
        rng = np.random.default_rng(0)
        return evade(attacked, target, thresholds, levels=8, steps=2, rng=rng).image

    one = evaded([1.0], detector)
    # The same encoder twice pulls where one does; a second goal of its own pulls elsewhere.
    assert np.array_equal(evaded([1.0, 1.0], two).pixels, one.pixels)
    assert not np.array_equal(evaded([1.0, 5.0], two).pixels, one.pixels)
    with pytest.raises(ValueError, match="zip"):
        evaded([1.0], two)


def form_distances(measured: PatchDistances) -> dict[tuple[str, str], float]:
    """The smallest distance in each form to each category."""
    nearest_in = smallest_distances(measured.evidence)
    return {(form, name): value for form, own in nearest_in.items() for name, value in own.items()}


def test_views_only_add_to_what_is_found(detector: Detector, target: Target) -> None:
    seed = "5" * 32
    (measured,) = NO_DEFENCE.applied(detector).distances(target.image, view_seed=seed)
    plain = form_distances(measured)
    assert plain == pytest.approx(form_distances(detector.distances(target.image)[0]))
    several = DEFENCES[3].applied(detector)
    (measured,) = several.distances(target.image, view_seed=seed)
    found = form_distances(measured)
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
        evade(fake, red_square(), [lambda form: 0.1], levels=8, rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="profile"):
        run_attacks(fake, [red_square()])


@pytest.mark.evidence
@pytest.mark.usefixtures("few")
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
    assert nothing.exit_code == 3
    assert "nothing is attacked" in nothing.stderr
    assert CliRunner().invoke(app, ["attack", "--eps", "0"]).exit_code == 3
