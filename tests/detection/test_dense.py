"""Tokens as patches: where they lie, what they are, and who has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from guardalign_middleware.config import (
    DetectionConfig,
    EncoderConfig,
    GuardAlignConfig,
    PatchConfig,
)
from guardalign_middleware.detection import Detector, OpenClipEncoder
from guardalign_middleware.detection.dense import cell_boxes, grid_side, window_tokens
from guardalign_middleware.detection.encoder_protocol import WindowEncoder
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks.gradient import evade
from guardalign_middleware.evaluation.attacks.target import Target
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import CanonicalImage
from tests.support.colours import COLOUR_BANK, scene

RED = (255, 0, 0)

DENSE = PatchConfig(layout="dense")


class FakeWindows(FakeEncoder):
    """Embeds each cell of a picture by the colours in it."""

    cells = 4

    def encode_windows(self, pixels: Tensor) -> Tensor:
        """As the protocol says."""
        side = self.image_size // self.cells
        parts = pixels.unfold(2, side, side).unfold(3, side, side)  # [M, 3, g, g, s, s]
        flat = parts.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        return self.encode_images(flat).unflatten(0, (-1, self.cells, self.cells))


def mini_encoder() -> OpenClipEncoder:
    """The miniature's encoder."""
    return OpenClipEncoder.load(GuardAlignConfig.load("mini").detection.encoder)


@given(side=st.integers(1, 90), cells=st.integers(1, 9), left=st.integers(-9, 9))
def test_cells_are_of_one_size_and_cover_their_window(side: int, cells: int, left: int) -> None:
    boxes = cell_boxes(np.array([[left, 5, left + side, 5 + side]]), cells)
    assert len(boxes) == cells**2
    assert len(np.unique(boxes[:, 2:] - boxes[:, :2])) == 1
    shown = np.zeros((side, side), dtype=bool)
    for x0, y0, x1, y1 in (boxes - [left, 5, left, 5]).tolist():
        assert 0 <= x0 < x1 <= side
        assert 0 <= y0 < y1 <= side
        shown[y0:y1, x0:x1] = True
    assert shown.all()


def test_one_cell_is_the_window_itself() -> None:
    windows = np.array([[0, 0, 9, 9], [-4, 3, 12, 19]])
    assert (cell_boxes(windows, 1) == windows).all()


def test_tokens_are_open_clips_own() -> None:
    encoder = mini_encoder()
    tower = encoder.visual
    assert isinstance(tower, open_clip.transformer.VisionTransformer)
    pixels = torch.rand(3, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    tower.output_tokens = True
    with torch.inference_mode():
        _, tokens = tower(encoder.normalised(pixels))
        expected = functional.normalize(tokens @ tower.proj, dim=-1)
    tower.output_tokens = False
    found = encoder.encode_windows(pixels)
    assert found.shape == (3, 7, 7, 128)
    torch.testing.assert_close(found.flatten(1, 2), expected, atol=1e-6, rtol=0)
    one = encoder.encode_windows(pixels[1:2])
    torch.testing.assert_close(found[1:2], one, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "tower",
    [
        nn.Identity(),
        open_clip.transformer.VisionTransformer(32, 8, 16, 1, 2, 4.0, pool_type="avg"),
        open_clip.transformer.VisionTransformer(32, 8, 16, 1, 2, 4.0, attentional_pool=True),
        open_clip.transformer.VisionTransformer(32, 8, 16, 1, 2, 4.0, final_ln_after_pool=True),
        open_clip.transformer.VisionTransformer((32, 16), 8, 16, 1, 2, 4.0),
    ],
    ids=["no ViT", "mean", "attention", "norm after pooling", "not square"],
)
def test_a_tower_without_projected_tokens_is_refused(tower: nn.Module) -> None:
    with pytest.raises(ConfigError, match="class token"):
        grid_side(tower)


def test_a_tower_with_a_class_token_has_as_many_tokens_as_patches() -> None:
    tower = open_clip.transformer.VisionTransformer(32, 8, 16, 1, 2, 4.0, output_dim=12)
    assert grid_side(tower) == 4
    assert window_tokens(tower, torch.rand(2, 3, 32, 32)).shape == (2, 4, 4, 12)


def config(**patches: object) -> DetectionConfig:
    return DetectionConfig(
        encoder=EncoderConfig(model="fake"),
        anchors=Path("unused.yaml"),
        patches=PatchConfig.model_validate({"layout": "dense", **patches}),
    )


def test_dense_patches_find_a_thing_and_where_it_is() -> None:
    detector = Detector.from_parts(FakeWindows(), COLOUR_BANK, config())
    image = scene(96, 64, {(40, 24, 56, 40): RED})
    (found,) = detector.distances(image)
    evidence = found.evidence
    forms = np.array(evidence.patch_forms)
    nearest = evidence.patch_boxes[forms == "native"][
        evidence.patch_distances[forms == "native"].argmin()
    ]
    assert (nearest >= [40, 24, 40, 24]).all()
    assert (nearest <= [56, 40, 56, 40]).all()
    finest = min(evidence.levels, key=lambda level: level.side)
    assert finest.side == 2 * 16 // 4  # a quarter of a window of 2 E
    assert sum(level.crops for level in evidence.levels) == len(evidence.patch_boxes)


def test_every_patch_shows_something_of_the_picture() -> None:
    detector = Detector.from_parts(FakeWindows(), COLOUR_BANK, config())
    for width, height in ((200, 11), (7, 90), (16, 16), (1, 1)):
        (found,) = detector.distances(scene(width, height, {}))
        boxes = found.evidence.patch_boxes
        assert (boxes[:, 2:] > boxes[:, :2]).all(), (width, height)
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()


def test_dense_takes_fewer_crops_and_has_a_binding_of_its_own() -> None:
    dense, crops = (
        Detector.from_parts(FakeWindows(), COLOUR_BANK, config(layout=layout, max_crops=10**5))
        for layout in ("dense", "crops")
    )
    image = CanonicalImage(np.zeros((64, 96, 3), dtype=np.uint8))
    assert 3 * dense.meters[0].crop_count(image) <= crops.meters[0].crop_count(image)
    assert dense.meters[0].binding["patches"] != crops.meters[0].binding["patches"]


def test_an_encoder_without_tokens_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="FakeEncoder") as raised:
        Detector.from_parts(FakeEncoder(), COLOUR_BANK, config())
    assert "patches.layout to crops" in str(raised.value)


def test_the_gradient_attack_refuses_dense_patches() -> None:
    mini = GuardAlignConfig.load("mini").detection
    detector = Detector.from_config(mini.model_copy(update={"patches": DENSE, "profile": None}))
    target = Target(scene(60, 60, {}), ((0, 0, 9, 9),))

    def threshold(_: object) -> float:
        return 0.1

    with pytest.raises(ConfigError, match="dense"):
        evade(detector, target, [threshold], levels=8, rng=np.random.default_rng(0))


def test_a_profile_of_crops_does_not_fit_dense_patches() -> None:
    detection = GuardAlignConfig.load("mini").detection
    with pytest.raises(ConfigError, match="patches"):
        Detector.from_config(detection.model_copy(update={"patches": DENSE}))


def test_the_protocol_is_what_the_mini_encoder_has() -> None:
    encoders: Sequence[object] = (mini_encoder(), FakeWindows())
    assert all(isinstance(each, WindowEncoder) for each in encoders)
    assert not isinstance(FakeEncoder(), WindowEncoder)
    assert mini_encoder().cells == 7
