"""The readings on a made-up encoder, and the miniature tower's tokens against its own output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.detection.layouts import (
    COMPARED,
    CROP_LAYOUTS,
    WHOLE,
    encode_layouts,
    token_boxes,
    tower_output,
)
from benchmarks.detection.readings import LayoutDistances, SceneDistances, summarised
from benchmarks.detection.scores import (
    COSINE,
    OT_SOFTMAX,
    READINGS,
    SOFTMAX_MAX,
    embed_bank,
    patch_distances,
    swept,
)
from guardalign_middleware.config import FormConfig, GuardAlignConfig, PatchConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage


@pytest.fixture(scope="module")
def detector() -> Detector:
    """The shipped one, on the crops on which readings are compared."""
    crops = PatchConfig(sizes=(56, 112, 192), unit="pixels", max_crops=4096)
    changes = {"sees": (FormConfig(kind="native"),), "patches": crops, "profile": None}
    return Detector.from_config(GuardAlignConfig.load("mini").detection.model_copy(update=changes))


def test_the_shipped_reading_is_what_the_detector_says(detector: Detector) -> None:
    rng = np.random.default_rng(5)
    scene = draw_cluttered_scene(rng, unsafe=True, backgrounds=HELD_OUT_BACKGROUNDS)
    image = CanonicalImage(scene.pixels)
    encoder: Any = detector.meters[0].encoder
    layouts = encode_layouts(encoder, image)
    assert {WHOLE, *CROP_LAYOUTS} < set(layouts)
    bank = embed_bank(encoder, detector.meters[0].anchors)
    patches = layouts[COMPARED]
    read, iterations = patch_distances(patches.embeddings, bank, detector.config.transport)
    assert iterations >= 10
    assert set(read) == set(READINGS)
    assert all(bool(torch.isfinite(row).all()) for row in read.values())
    (measured,) = detector.distances(image)
    np.testing.assert_array_equal(patches.boxes, measured.evidence.patch_boxes)
    np.testing.assert_allclose(read[OT_SOFTMAX], measured.evidence.patch_distances, atol=1e-5)
    sweep = swept(patches.embeddings, bank, detector.config.transport)
    assert sweep["OT, ε=0.03, T=0.05"] == pytest.approx(measured.distance, abs=1e-5)
    assert sweep[f"{SOFTMAX_MAX}, T=0.05"] == pytest.approx(float(read[SOFTMAX_MAX].min()))
    dense = layouts[f"dense value, {WHOLE}"]
    assert dense.forwards == 1
    assert dense.boxes[:, 2:].max(axis=0).tolist() <= [image.width, image.height]


def test_pooled_tokens_are_the_encoders_own_and_values_are_local(detector: Detector) -> None:
    encoder: Any = detector.meters[0].encoder
    side = encoder.image_size
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    output = tower_output(encoder, pixels)
    torch.testing.assert_close(output.pooled, encoder.encode_images(pixels), atol=1e-5, rtol=0)
    assert output.plain.shape == output.value.shape == (2, 49, output.pooled.shape[1])
    assert not torch.allclose(output.plain, output.value)


def test_token_boxes_tile_the_box() -> None:
    boxes = token_boxes(np.array([[0, 0, 112, 112], [10, 20, 122, 132]]), 49)
    assert boxes.shape == (98, 4)
    assert boxes[1].tolist() == [16, 0, 32, 16]
    assert boxes[-1].tolist() == [106, 116, 122, 132]
    with pytest.raises(ValueError, match="square"):
        token_boxes(np.array([[0, 0, 9, 9]]), 8)


def made_up(kind: int, index: int) -> SceneDistances:
    """A scene with one good reading (the shipped one); the others are random."""
    rng = np.random.default_rng((kind, index))
    boxes = np.array([[x, y, x + 40, y + 40] for y in (0, 40, 80) for x in (0, 40, 80)])
    target = (40, 40, 80, 80) if kind else None
    layouts = {}
    for name in (WHOLE, *CROP_LAYOUTS):
        rows = {reading: rng.uniform(0.5, 1.0, 9) for reading in READINGS}
        if kind:
            rows[OT_SOFTMAX][4] = 0.1
        layouts[name] = LayoutDistances(boxes, rows, 9, 10)
    return SceneDistances(target, 4 + index % 6, layouts, {"x": float(index)})


def test_the_good_reading_stands_out_in_the_summary() -> None:
    figures = summarised([made_up(kind, index) for index in range(24) for kind in (0, 1)], 20)
    assert (figures["safe"], figures["unsafe"]) == (24, 24)
    good = figures["readings"][COMPARED][OT_SOFTMAX]
    assert good["AUROC"]["value"] == good["pointing game"]["value"] == 1.0
    # A region is fitted to all crops, of which a made-up scene has few.
    assert good["region IoU"]["value"] > 0.3
    assert figures["readings"][COMPARED][COSINE]["AUROC"]["value"] < 0.8
    assert figures["against transport"][COSINE]["AUROC"]["low"] > 0.0
    assert OT_SOFTMAX not in figures["against transport"]
    assert "pointing game" not in figures["readings"][WHOLE][OT_SOFTMAX]
    assert figures["stability"][COSINE][COMPARED]["value"] <= 0.05
    assert all(row["detected"]["n"] > 0 for row in figures["strata"])
    with pytest.raises(ValueError, match="At least one"):
        summarised([made_up(0, 0)])
