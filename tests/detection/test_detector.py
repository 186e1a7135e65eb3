from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from guardalign_middleware.boxes import coverage, covered
from guardalign_middleware.config import DetectionConfig, PatchConfig, TransportConfig
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.conformal import fit_threshold
from guardalign_middleware.detection.detector import Detector, distinct_images
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import CanonicalImage
from tests.support.colours import COLOUR_BANK, scene

RED, BLUE, YELLOW = (255, 0, 0), (0, 0, 255), (255, 255, 0)


def profile_for(detector: Detector, threshold: float = 0.4) -> ThresholdProfile:
    fitted = fit_threshold([0.5] * 100, binding=detector.meters[0].binding)
    return replace(fitted, threshold=threshold)


@pytest.fixture
def guarded(detector: Detector) -> Detector:
    return Detector(detector.meters, detector.config, profile_for(detector))


def test_finds_a_planted_square_and_names_it(guarded: Detector) -> None:
    verdict = guarded.scan(scene(200, 160, {(90, 60, 130, 100): RED}))
    assert verdict.decision == "mask"
    assert verdict.category == "fire"
    assert verdict.distance <= verdict.threshold == 0.4
    boxes = [region.box for region in verdict.regions]
    # To this encoder a part of a red thing is as red as all of it, so it may be found in parts.
    assert covered((90, 60, 130, 100), boxes) >= 0.5
    assert coverage(boxes, 200, 160).sum() <= 4 * 40 * 40
    assert {region.category for region in verdict.regions} == {"fire"}


def test_finds_two_things_of_two_categories(guarded: Detector) -> None:
    image = scene(320, 200, {(10, 10, 60, 60): RED, (240, 130, 290, 180): YELLOW})
    verdict = guarded.scan(image)
    assert {region.category for region in verdict.regions} == {"fire", "toxic"}


def test_allows_what_is_neutral(guarded: Detector) -> None:
    verdict = guarded.scan(scene(200, 160, {(90, 60, 130, 100): BLUE}))
    assert verdict.decision == "allow"
    assert verdict.regions == ()
    assert verdict.distance > verdict.threshold


def test_evidence_is_complete(guarded: Detector) -> None:
    image = scene(100, 70, {(0, 0, 30, 30): RED})
    verdict = guarded.scan(image)
    evidence = verdict.evidence
    count = len(evidence.patch_boxes)
    assert evidence.patch_distances.shape == (count,)
    assert len(evidence.patch_categories) == count
    assert verdict.distance == evidence.patch_distances.min()
    assert evidence.marginal_error <= 1e-6
    assert evidence.solver == "kernel"
    assert evidence.encoder == guarded.encoder == "fake-encoder-16"
    assert guarded.profile is not None
    assert verdict.profile == guarded.profile.fingerprint
    assert (verdict.width, verdict.height, verdict.sha256) == (100, 70, image.sha256)
    assert ((evidence.patch_distances >= 0) & (evidence.patch_distances <= 1)).all()


def test_company_does_not_change_a_verdict(guarded: Detector) -> None:
    rng = np.random.default_rng(0)
    images = [
        CanonicalImage(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        for w, h in ((64, 64), (500, 400), (33, 90), (600, 500), (100, 100))
    ]
    together = guarded.scan_many(images)
    for verdict, image in zip(together, images, strict=True):
        alone = Detector(guarded.meters, guarded.config, guarded.profile).scan(image)
        assert alone.evidence is not verdict.evidence
        assert alone.decision == verdict.decision
        assert alone.regions == verdict.regions
        np.testing.assert_allclose(
            verdict.evidence.patch_distances, alone.evidence.patch_distances, atol=1e-6
        )
    assert guarded.scan_many([]) == []


def test_only_images_of_few_crops_share_a_turn(colour_config: DetectionConfig) -> None:
    patches = PatchConfig(sizes=(1.0,), overlap=0.0)
    config = colour_config.model_copy(update={"patches": patches, "remembered_verdicts": 0})
    encoder = Recording()
    bare = Detector.from_parts(encoder, COLOUR_BANK, config)
    detector = Detector(bare.meters, config, profile_for(bare))
    crops = [1, 1, 2, 5, 4, 1, 1, 1]
    images = [scene((60 + k) * count, 60 + k, {}) for k, count in enumerate(crops)]
    counts = [bare.meters[0].crop_count(image) for image in images]
    assert counts == crops
    alone = [detector.scan(image) for image in images]
    for most, turns in ((1, [[n] for n in crops]), (4, [[1, 1, 2], [5], [4], [1, 1, 1]])):
        encoder.crops_together, encoder.batches = most, []
        found = detector.turns(images)
        assert [[bare.meters[0].crop_count(i) for i in turn] for turn in found] == turns
        assert detector.scan_many(images) == alone
        assert encoder.batches == [sum(turn) for turn in turns]


class Recording(FakeEncoder):
    crops_together = 1

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(pixels))
        return super().encode_images(pixels)


def test_threads_may_share_a_detector(guarded: Detector) -> None:
    images = [scene(120, 90, {(k, k, k + 40, k + 40): RED}) for k in range(0, 48, 6)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(guarded.scan, images))
    other = Detector(guarded.meters, guarded.config, guarded.profile)
    assert [v.regions for v in threaded] == [other.scan(i).regions for i in images]


def test_without_a_profile_it_measures_but_does_not_decide(detector: Detector) -> None:
    image = scene(100, 70, {(0, 0, 30, 30): RED})
    (measured,) = detector.distances(image)
    assert measured.distance < 0.4
    assert measured.category == "fire"
    with pytest.raises(ConfigError, match="profile"):
        detector.scan(image)


def test_a_profile_of_other_parts_is_rejected(detector: Detector) -> None:
    profile = profile_for(detector)
    other = AnchorBank({"fire": ("red",)}, {"sky": ("blue",)})
    with pytest.raises(ConfigError, match="different anchors"):
        Detector.from_parts(FakeEncoder(), other, detector.config, profile)
    with pytest.raises(ConfigError, match="different encoder"):
        Detector.from_parts(FakeEncoder(8), COLOUR_BANK, detector.config, profile)
    changed = detector.config.model_copy(update={"transport": TransportConfig(epsilon=0.2)})
    with pytest.raises(ConfigError, match="different transport"):
        Detector.from_parts(FakeEncoder(), COLOUR_BANK, changed, profile)


def test_contrast_needs_a_neutral_bank(colour_config: DetectionConfig) -> None:
    with pytest.raises(ConfigError, match="neutral"):
        Detector.from_parts(FakeEncoder(), AnchorBank({"fire": ("red",)}, {}), colour_config)


@pytest.mark.parametrize("weights", ["entropy", "uniform"])
def test_without_contrast_the_distance_is_a_cost(
    colour_config: DetectionConfig, weights: str
) -> None:
    transport = TransportConfig.model_validate({"contrast": "none", "patch_weights": weights})
    config = colour_config.model_copy(update={"transport": transport})
    bank = AnchorBank({"fire": ("red",)}, {})
    detector = Detector.from_parts(FakeEncoder(), bank, config)
    (red,) = detector.distances(scene(64, 64, {(0, 0, 64, 64): RED}))
    (blue,) = detector.distances(scene(64, 64, {(0, 0, 64, 64): BLUE}))
    assert red.distance == pytest.approx(0.0, abs=1e-6)
    assert blue.distance == pytest.approx(1.0, abs=1e-6)


def test_the_papers_sum_is_the_plan_cost_of_each_patch(colour_config: DetectionConfig) -> None:
    transport = TransportConfig(aggregation="paper", patch_weights="uniform")
    config = colour_config.model_copy(update={"transport": transport})
    detector = Detector.from_parts(
        FakeEncoder(), AnchorBank({"fire": ("red",), "toxic": ("yellow",)}, {}), config
    )
    (measured,) = detector.distances(scene(96, 64, {(0, 0, 96, 64): RED}))
    count = len(measured.evidence.patch_boxes)
    np.testing.assert_allclose(measured.evidence.patch_distances, 1.0 / count, atol=1e-6)


def test_a_neutral_mass_near_zero_keeps_its_digits(detector: Detector) -> None:
    config = detector.config.model_copy(
        update={"transport": TransportConfig(contrast_temperature=0.02)}
    )
    sharp = Detector.from_parts(FakeEncoder(), COLOUR_BANK, config)
    (measured,) = sharp.distances(scene(64, 64, {(0, 0, 64, 64): RED}))
    assert 0.0 < measured.distance < 1e-15


class _Broken(FakeEncoder):
    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = super().encode_images(pixels)
        rows[-1] = float("nan")
        return rows


def test_nan_from_an_encoder_is_a_fault_not_an_allow(colour_config: DetectionConfig) -> None:
    with pytest.raises(DetectionError):
        Detector.from_parts(_Broken(), COLOUR_BANK, colour_config).distances(scene(64, 64, {}))


def test_the_fake_encoder_knows_only_colours() -> None:
    with pytest.raises(ConfigError, match="names none"):
        FakeEncoder().encode_texts(["a knife"])


def test_equal_images_count_once_at_the_place_of_the_first() -> None:
    red, green = scene(16, 16, {(0, 0, 16, 16): (255, 0, 0)}), scene(16, 16, {})
    again = CanonicalImage(red.pixels, "again.png")
    assert distinct_images([red, green, again]) == [red, green]


def test_a_profile_does_not_depend_on_how_long_transport_may_take(detector: Detector) -> None:
    transport = detector.config.transport.model_copy(update={"max_iterations": 7_000})
    config = detector.config.model_copy(update={"transport": transport})
    patient = Detector.from_parts(FakeEncoder(), COLOUR_BANK, config)
    assert patient.meters[0].binding == detector.meters[0].binding
    finer = config.model_copy(update={"transport": transport.model_copy(update={"epsilon": 0.04})})
    other = Detector.from_parts(FakeEncoder(), COLOUR_BANK, finer)
    assert other.meters[0].binding != detector.meters[0].binding
