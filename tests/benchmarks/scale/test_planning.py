"""The figures for planning are those of the shipped presets."""

from __future__ import annotations

import pytest

from benchmarks.detection.cost import FILE
from benchmarks.results import read_json
from benchmarks.scale.planning import (
    CORE_HOUR,
    GPU_HOUR,
    PHOTO,
    RESULT,
    SMALL,
    concepts_table,
    hours,
    million_table,
    size_table,
)

MEASURED = read_json(FILE)["measured"]


def test_what_is_stored_is_what_the_presets_cost_now() -> None:
    stored = read_json(RESULT)
    crop = MEASURED["ViT-B-32-quickgelu"]["bf16"]
    assert stored["tables"]["scale_million"] == million_table(MEASURED)
    assert stored["tables"]["scale_size"] == size_table()
    assert stored["tables"]["scale_concepts"] == concepts_table(stored["transport"], crop)


def test_a_million_pictures_cost_their_seconds() -> None:
    small, photo = (hours("clip-vit-b-32", size, MEASURED) for size in (SMALL, PHOTO))
    assert small.gpu < photo.gpu
    assert small.decoding < photo.decoding
    assert photo.decoding == pytest.approx(1e6 * 0.08 / 3600)
    assert photo.with_gpu == pytest.approx(photo.gpu * GPU_HOUR + photo.decoding * CORE_HOUR)
    assert photo.without_gpu == pytest.approx(photo.cores * CORE_HOUR)
