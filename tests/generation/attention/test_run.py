"""Bands, rows and the proof that all of them were calibrated."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import DynamicCache

from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation.attention.run import AttentionLayers, CalibrationRun


def stack(depth: int) -> AttentionLayers:
    return AttentionLayers(tuple(nn.Identity() for _ in range(depth)), tuple(range(depth)))


@pytest.mark.parametrize(
    ("depth", "band", "expected"),
    [
        (32, (0.3, 0.7), range(9, 23)),
        (10, (0.3, 0.7), range(3, 7)),
        (4, (0.3, 0.7), range(1, 3)),
        (1, (0.3, 0.7), range(1)),
        (6, (0.0, 1.0), range(6)),
    ],
)
def test_band_takes_the_layers_it_overlaps(
    depth: int, band: tuple[float, float], expected: range
) -> None:
    assert stack(depth).band(*band).indices == tuple(expected)


@given(
    depth=st.integers(1, 80),
    cuts=st.tuples(st.integers(0, 100), st.integers(0, 100)).filter(lambda c: c[0] != c[1]),
)
def test_band_is_never_empty_and_bands_join(depth: int, cuts: tuple[int, int]) -> None:
    low, high = sorted(cut / 100 for cut in cuts)
    layers = stack(depth)
    inside = set(layers.band(low, high).indices)
    below = set(layers.band(0.0, low).indices) if low > 0 else set()
    above = set(layers.band(high, 1.0).indices) if high < 1 else set()
    assert inside
    assert below | inside | above == set(range(depth))


def make_run(rows: str = "instruction") -> tuple[CalibrationRun, AttentionLayers]:
    prefix = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0]], dtype=torch.bool)
    instruction = torch.tensor([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]], dtype=torch.bool)
    layers = stack(2)
    config = CalibrationConfig.model_validate({"rows": rows})
    return CalibrationRun(prefix, instruction, config, layers), layers


def positions(run: CalibrationRun, layers: AttentionLayers) -> list[tuple[int, int]]:
    active = run.step_for(layers.modules[0])
    if active is None:
        return []
    pairs: list[tuple[int, int]] = []
    for block in active[0].blocks(1, torch.device("cpu")):
        pairs += zip(block.at_batch.tolist(), block.at_query.tolist(), strict=True)
    return sorted(pairs)


def test_prefill_calibrates_the_instruction_of_every_row() -> None:
    run, layers = make_run()
    run.begin_forward(2, 6, None)
    assert positions(run, layers) == [(0, 3), (1, 4), (1, 5)]


def test_modules_outside_the_band_are_left_alone() -> None:
    run, _ = make_run()
    run.begin_forward(2, 6, None)
    assert run.step_for(nn.Identity()) is None


def filled_cache(length: int) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(2):
        cache.update(torch.zeros(2, 1, length, 4), torch.zeros(2, 1, length, 4), layer)
    return cache


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 3, []), (3, 2, [(0, 0), (1, 1)]), (5, 1, [(1, 0)]), (6, 1, []), (9, 1, [])],
)
def test_chunks_and_decode_steps(offset: int, length: int, expected: list[tuple[int, int]]) -> None:
    run, layers = make_run()
    run.begin_forward(2, length, filled_cache(offset) if offset else DynamicCache())
    assert positions(run, layers) == expected


def test_generated_rows_are_calibrated_on_request() -> None:
    run, layers = make_run("instruction_and_generated")
    run.begin_forward(2, 1, filled_cache(7))
    assert positions(run, layers) == [(0, 0), (1, 0)]


def test_generated_rows_do_not_count_as_instruction() -> None:
    run, layers = make_run("instruction_and_generated")
    run.begin_forward(2, 1, filled_cache(7))
    active = run.step_for(layers.modules[0])
    assert active is not None
    assert active[0].instructions == 0


def test_prefix_columns_follow_a_cache_that_has_forgotten_its_beginning() -> None:
    run, _ = make_run()
    columns = run.prefix_columns(2, 6, torch.device("cpu"))
    assert columns.tolist() == [[True] + [False] * 5, [True] + [False] * 5]


def test_a_layer_that_missed_a_row_fails_the_run() -> None:
    run, _ = make_run()
    run.record(0, 3)
    run.record(1, 2)
    with pytest.raises(CalibrationError, match=r"Layers \[1\] did not calibrate all 3"):
        run.observed_layers()
    run.record(1, 1)
    assert run.observed_layers() == (0, 1)


def test_a_row_without_prefix_is_not_calibrated() -> None:
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    some = torch.tensor([[0, 0, 1, 1]], dtype=torch.bool)
    layers = stack(1)
    run = CalibrationRun(nothing, some, CalibrationConfig(), layers)
    run.begin_forward(1, 4, None)
    assert positions(run, layers) == []
    with pytest.raises(CalibrationError):
        run.observed_layers()


def test_beams_are_refused() -> None:
    run, _ = make_run()
    with pytest.raises(CalibrationError, match="should see 2 rows. Got 6"):
        run.begin_forward(6, 6, None)


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(CalibrationError, match=r"\(batch, prompt_length\)"):
        CalibrationRun(
            torch.zeros(1, 4, dtype=torch.bool),
            torch.zeros(1, 5, dtype=torch.bool),
            CalibrationConfig(),
            stack(1),
        )


def test_without_a_cache_it_stays_active_and_reads_whole_prompts_only() -> None:
    run, layers = make_run()
    run.begin_forward(2, 6, None)
    assert not run.cached
    assert run.step_for(layers.modules[0]) is not None
    # The answer so far is read again with the prompt.
    run.begin_forward(2, 7, None)
    assert run.step_for(layers.modules[0]) is not None
    with pytest.raises(CalibrationError, match="positions are unknown"):
        run.begin_forward(2, 1, None)
    run.begin_forward(2, 6, DynamicCache())
    assert run.cached


def test_a_layer_counts_for_the_rows_that_see_the_prefix_there() -> None:
    run, layers = make_run()
    first, second = layers.indices
    at = torch.tensor([0, 1, 1])
    run.record_reach(first, at, torch.tensor([False, False, True]))
    run.record_reach(second, at, torch.tensor([True, False, False]))
    run.record_reach(99, at, torch.tensor([True, True, True]))
    assert run.reached_layers() == [(second,), (first,)]
