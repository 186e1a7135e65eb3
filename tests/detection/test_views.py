from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from guardalign_middleware.boxes import coverage, covered
from guardalign_middleware.config import (
    DefenceConfig,
    DetectionConfig,
    FormConfig,
    GuardAlignConfig,
    PatchConfig,
    ViewName,
)
from guardalign_middleware.detection.conformal import fit_threshold
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.detection.plan import Look, view_patches
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.detection.views import View, is_random, views_for
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import CanonicalImage
from tests.support.colours import COLOUR_BANK, scene

RED, GREY = (255, 0, 0), (127, 127, 127)
PATCHES = PatchConfig(sizes=(32, 64), unit="pixels")
NAMES: tuple[ViewName, ...] = ("as_is", "shifted", "mirrored", "softened")


def native(patches: PatchConfig) -> Look:
    return Look((FormConfig(kind="native"),), None, patches, 64)


def hexadecimal(number: int) -> str:
    return f"{number:032x}"


def looking(
    config: DetectionConfig, *views: ViewName, encoder: FakeEncoder | None = None
) -> Detector:
    """A detector with a profile that was fitted for these views."""
    config = config.model_copy(update={"defence": DefenceConfig(views=views)})
    encoder = encoder or FakeEncoder()
    bare = Detector.from_parts(encoder, COLOUR_BANK, config)
    return Detector(bare.meters, config, profile_for(bare))


def profile_for(detector: Detector) -> ThresholdProfile:
    return replace(fit_threshold([0.5] * 100, binding=detector.meters[0].binding), threshold=0.4)


def coordinates(width: int, height: int) -> Tensor:
    """`[2, H, W]`: the column and the row of each pixel."""
    columns = torch.arange(width).expand(height, width)
    return torch.stack([columns, torch.arange(height)[:, None].expand(height, width)])


@given(
    width=st.integers(2, 90),
    height=st.integers(2, 90),
    name=st.sampled_from(["as_is", "shifted", "mirrored"]),
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
    view_seed=st.integers(0, 2**128 - 1).map(hexadecimal),
)
@settings(max_examples=60, deadline=None)
def test_boxes_map_back_to_the_pixels_they_show(
    width: int, height: int, name: ViewName, overlap: float, view_seed: str
) -> None:
    look = native(PatchConfig(sizes=(20, 40), unit="pixels", overlap=overlap, max_crops=10**6))
    (view,) = views_for([name], width, height, look.finest_stride(width, height), view_seed)
    shown = view.apply(coordinates(width, height))
    image = CanonicalImage(np.zeros((height, width, 3), dtype=np.uint8))
    (seen,) = view_patches(image, view, look)
    assert (seen.boxes[:, 2:] <= [shown.shape[2], shown.shape[1]]).all()
    for (x0, y0, x1, y1), place in zip(seen.boxes.tolist(), seen.image_boxes.tolist(), strict=True):
        columns, rows = shown[:, y0:y1, x0:x1].flatten(1)
        assert place == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_view_changes_a_picture_as_it_says() -> None:
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (3, 50, 70), dtype=np.uint8)
    )
    assert torch.equal(View("mirrored").apply(View("mirrored").apply(pixels)), pixels)
    shifted = View("shifted", 7, 4).apply(pixels)
    assert torch.equal(shifted[:, 4:, 7:], pixels)
    assert torch.equal(shifted[:, 4:, 6], pixels[:, :, 1])
    soft = View("softened").apply(pixels)
    assert soft.shape == pixels.shape
    assert soft.float().std() < 0.8 * pixels.float().std()
    for view in (View("mirrored"), View("shifted", 7, 4), View("softened")):
        exact = view.apply(pixels.float())
        assert (view.apply(pixels).float() - exact).abs().max() <= 2.0


def test_a_gradient_flows_back_through_every_view() -> None:
    for view in (*map(View, ("as_is", "mirrored", "softened")), View("shifted", 5, 9)):
        pixels = torch.rand(3, 30, 40, requires_grad=True)
        (gradient,) = torch.autograd.grad(view.apply(pixels).sum(), pixels)
        assert (gradient > 0.2).all()


def test_offsets_reach_over_one_stride_and_follow_from_the_seed() -> None:
    drawn = [
        views_for(["shifted", "shifted"], 200, 150, 16, hexadecimal(number))
        for number in range(400)
    ]
    for values in ({one.left for one, _ in drawn}, {one.top for one, _ in drawn}):
        assert values == set(range(17))
    assert sum(first == second for first, second in drawn) < 20
    assert drawn[3] == views_for(["shifted", "shifted"], 200, 150, 16, hexadecimal(3))
    assert views_for(["shifted"], 1, 1, 16, hexadecimal(0)) == (View("shifted"),)
    with pytest.raises(ValueError, match="view seed"):
        views_for(["shifted"], 200, 150, 16, None)
    assert is_random(["as_is", "shifted"])
    assert not is_random(["as_is", "mirrored", "softened"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("left", [0, 60, 168])
def test_regions_are_in_pixels_of_the_picture(
    colour_config: DetectionConfig, name: ViewName, left: int
) -> None:
    thing = (left, 100, left + 32, 132)
    image = scene(200, 160, {thing: RED})
    detector = looking(colour_config, name)
    areas = []
    for number in range(9):  # at some offsets, the crops tell little of where the thing is
        verdict = detector.scan(image, view_seed=hexadecimal(number))
        assert verdict.decision == "mask"
        boxes = verdict.evidence.patch_boxes
        assert (boxes >= 0).all()
        assert (boxes <= [200, 160, 200, 160]).all()
        found = [region.box for region in verdict.regions]
        assert covered(thing, found) >= 0.2
        areas.append(int(coverage(found, 200, 160).sum()))
    assert np.median(areas) <= 2 * 32 * 32


def test_views_of_one_thing_agree_where_it_is(colour_config: DetectionConfig) -> None:
    image = scene(200, 160, {(90, 60, 130, 100): RED})
    detector = looking(colour_config, "as_is", "shifted", "mirrored", "softened")
    verdict = detector.scan(image, view_seed=hexadecimal(0))
    found = [region.box for region in verdict.regions]
    assert covered((90, 60, 130, 100), found) >= 0.4
    assert coverage(found, 200, 160).sum() <= 2 * 40 * 40
    one = looking(colour_config, "as_is").scan(image)
    assert len(verdict.evidence.patch_boxes) >= 4 * len(one.evidence.patch_boxes)
    assert verdict.distance <= one.distance


def test_as_is_costs_nothing(colour_config: DetectionConfig) -> None:
    image = scene(100, 80, {})
    (form,) = view_patches(image, View("as_is"), native(PATCHES))
    assert form.frame() is image
    detector = looking(colour_config, "as_is")
    assert detector.scan(image).evidence.view_seed is None
    assert "views" not in detector.meters[0].binding


class OneEyed(FakeEncoder):
    """Knows red only when it is at the left of a crop."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        half = pixels.clone()
        middle = pixels.shape[3] // 2
        half[..., middle:] = half[..., :middle]
        return super().encode_images(half)


def test_an_image_is_unsafe_when_any_view_is(colour_config: DetectionConfig) -> None:
    image = scene(200, 160, {(188, 40, 200, 100): RED})  # at the right of every crop that shows it
    blind = looking(colour_config, "as_is", encoder=OneEyed()).scan(image)
    assert blind.decision == "allow"
    seen = looking(colour_config, "as_is", "mirrored", encoder=OneEyed()).scan(image)
    assert seen.decision == "mask"
    assert seen.regions[0].box[2] > 188


class FailsAtThe(FakeEncoder):
    def __init__(self, call: int) -> None:
        super().__init__()
        self._left = call

    def encode_images(self, pixels: Tensor) -> Tensor:
        rows = super().encode_images(pixels)
        self._left -= 1
        return rows if self._left else rows * float("nan")


def test_a_fault_in_one_view_is_a_fault(
    colour_config: DetectionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guardalign_middleware.detection.meter._PATCHES_IN_FLIGHT", 1)
    image = scene(64, 64, {})
    assert looking(colour_config, "as_is", encoder=FailsAtThe(2)).scan(image).decision == "allow"
    with pytest.raises(DetectionError):
        looking(colour_config, "as_is", "mirrored", encoder=FailsAtThe(2)).scan(image)


def test_company_does_not_change_what_views_show(colour_config: DetectionConfig) -> None:
    detector = looking(colour_config, "shifted", "mirrored")
    images = [scene(64 + k, 90, {(0, 0, 30, 20 + k): RED}) for k in range(5)]
    together = detector.scan_many(images)
    assert together == [detector.scan(image) for image in images]
    measured = [detector.distances(image)[0] for image in images]
    assert [one.distance for one in measured] == [verdict.distance for verdict in together]


def test_a_profile_belongs_to_its_views(colour_config: DetectionConfig) -> None:
    def bare(*views: ViewName) -> Detector:
        changes = {"defence": DefenceConfig(views=views)}
        return Detector.from_parts(
            FakeEncoder(), COLOUR_BANK, colour_config.model_copy(update=changes)
        )

    plain, two, turned = bare("as_is"), bare("as_is", "mirrored"), bare("mirrored", "as_is")
    for fitted, used in ((plain, two), (two, plain), (two, bare("as_is", "shifted"))):
        with pytest.raises(ConfigError, match="different views"):
            Detector(used.meters, used.config, profile_for(fitted))
    Detector(turned.meters, turned.config, profile_for(two))


def test_the_config_names_views() -> None:
    assert DefenceConfig().views == ("as_is",)
    assert DefenceConfig(views=("shifted", "shifted")).views == ("shifted", "shifted")
    for views in ((), ("mirrored", "as_is", "mirrored"), ("upside_down",)):
        with pytest.raises(ValueError, match="views"):
            DefenceConfig.model_validate({"views": views})


def test_paths_of_a_second_encoder_are_relative_to_the_preset(tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text(
        "name: mine\n"
        "detection:\n"
        "  encoder: {model: 'local-dir:first'}\n"
        "  anchors: words.yaml\n"
        "  defence:\n"
        "    views: [as_is, shifted]\n"
        "    second: {encoder: {model: 'local-dir:other'}, anchors: others.yaml}\n"
    )
    second = GuardAlignConfig.load(preset).detection.defence.second
    assert second is not None
    assert second.encoder.model == f"local-dir:{(tmp_path / 'other').resolve()}"
    assert second.anchors == (tmp_path / "others.yaml").resolve()
