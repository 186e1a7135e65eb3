"""One calibrated run: which rows, columns and layers it calibrates, and the proof that it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import torch
from torch import Tensor, nn

from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.errors import CalibrationError


@dataclass(frozen=True, eq=False)
class AttentionLayers:
    """Self-attention modules of a decoder in the order in which they run, with their indices."""

    modules: tuple[nn.Module, ...]
    indices: tuple[int, ...]

    def band(self, low: float, high: float) -> AttentionLayers:
        """The layers that overlap the fraction `[low, high)` of the depth; never empty."""
        depth = len(self.modules)
        # Rounding keeps 0.7 * 10 = 7.000000000000001 from reaching into an eighth layer.
        part = slice(floor(round(low * depth, 9)), ceil(round(high * depth, 9)))
        return AttentionLayers(self.modules[part], self.indices[part])


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the calibrated rows, on the device of the attention.

    `index` is int64 `[B, R]`: query positions, padded with 0. Only the entries
    `(at_batch[n], at_row[n])` are used; their query position is `at_query[n]`.
    """

    index: Tensor
    at_batch: Tensor
    at_row: Tensor
    at_query: Tensor


class Step:
    """The calibrated rows of one decoder forward.

    Args:
        rows: bool `[B, Lq]` on the CPU, at least one of them set.
        instructions: how many of them are instruction rows.
        offset: absolute position of the first query.
        keys: layer index -> (number of keys, absolute position of the first).
    """

    def __init__(
        self, rows: Tensor, instructions: int, offset: int, keys: dict[int, tuple[int, int]]
    ) -> None:
        counts = rows.sum(dim=1)
        self.instructions = instructions
        self.offset = offset
        self.keys = keys
        self._used = torch.arange(int(counts.max()))[None, :] < counts[:, None]
        self._index = torch.zeros(self._used.shape, dtype=torch.int64)
        self._index[self._used] = rows.nonzero()[:, 1]
        self._blocks: dict[tuple[int, torch.device], list[Block]] = {}

    def blocks(self, size: int, device: torch.device) -> list[Block]:
        """The rows in blocks of at most `size`, moved to the device once for all layers."""
        if (size, device) not in self._blocks:
            self._blocks[size, device] = [
                self._block(start, size, device) for start in range(0, self._used.shape[1], size)
            ]
        return self._blocks[size, device]

    def _block(self, start: int, size: int, device: torch.device) -> Block:
        index = self._index[:, start : start + size]
        at_batch, at_row = self._used[:, start : start + size].nonzero(as_tuple=True)
        parts = (index, at_batch, at_row, index[at_batch, at_row])
        return Block(*(part.to(device) for part in parts))


class CalibrationRun:
    """What one `generate` call calibrates, and the evidence that it did.

    Args:
        prefix_mask: bool `[B, L]`, tokens of the safety prefix in the (padded) prompt.
        instruction_mask: bool `[B, L]`, tokens of the instruction.
        config: mode and rows; its band is not used.
        layers: the layers to calibrate.
        gammas: strength of each row, by default `config.gamma`; 0 leaves the row unchanged.
        observed: layers in which the attention of the instruction to the prefix is recorded.

    Attributes:
        mode: how scores are amplified.
        generated: whether the tokens of the answer are calibrated as well.
        cached: whether the prompt's keys are kept, so that no later forward reads it again.
        some_are_plain: whether some row has strength 0.
    """

    def __init__(
        self,
        prefix_mask: Tensor,
        instruction_mask: Tensor,
        config: CalibrationConfig,
        layers: AttentionLayers,
        *,
        gammas: Sequence[float] | None = None,
        observed: AttentionLayers | None = None,
    ) -> None:
        if prefix_mask.shape != instruction_mask.shape or prefix_mask.ndim != 2:
            raise CalibrationError(
                "prefix_mask and instruction_mask must have shape (batch, prompt_length). "
                f"Got {tuple(prefix_mask.shape)} and {tuple(instruction_mask.shape)}.",
                stage="calibration",
            )
        rows = prefix_mask.any(dim=1) & instruction_mask.any(dim=1)
        self.mode = config.mode
        self.generated = config.rows == "instruction_and_generated"
        self.cached = False
        self._rows = rows.cpu()
        self._prefix = prefix_mask.cpu()
        self._instruction = instruction_mask.cpu() & self._rows[:, None]
        self._gamma = torch.tensor(
            [config.gamma] * len(rows) if gammas is None else list(gammas), dtype=torch.float64
        )
        self.some_are_plain = bool((self._gamma == 0.0).any())
        self._calibrated = frozenset(layers.indices) if bool(self._gamma.any()) else frozenset()
        self._strengths: dict[tuple[torch.device, torch.dtype], Tensor] = {}
        self._index_of: dict[int, int] = {}
        for found in (layers, observed):
            if found is not None:
                self._index_of.update(
                    (id(m), i) for m, i in zip(found.modules, found.indices, strict=True)
                )
        self._covered = dict.fromkeys(layers.indices, 0)
        # On the device of the attention: reading them at once would stall it at every layer.
        self._near: dict[int, list[tuple[Tensor, Tensor]]] = {i: [] for i in layers.indices}
        self._attention: dict[int, Tensor] = (
            {} if observed is None else {i: torch.zeros(len(rows)) for i in observed.indices}
        )
        self._step: Step | None = None
        self._columns: dict[tuple[int, int], Tensor] = {}

    def begin_forward(self, batch: int, query_length: int, cache: Any) -> None:
        """Determine the calibrated rows of the decoder forward that is about to run."""
        self._step = None
        prompt_length = self._prefix.shape[1]
        offset = 0 if cache is None else int(cache.get_seq_length())
        self.cached = cache is not None
        if not self.generated and offset >= prompt_length:
            return
        if cache is None and query_length < prompt_length:
            raise CalibrationError(
                f"The decoder was called with {query_length} of {prompt_length} tokens and without "
                "a cache, so their positions are unknown.",
                stage="calibration",
                remedy="Use calibrate=False or gamma 0 with this model.",
            )
        if batch != self._prefix.shape[0]:
            raise CalibrationError(
                f"The decoder should see {self._prefix.shape[0]} rows. Got {batch}.",
                stage="calibration",
                remedy="Beam search and several return sequences are not supported.",
            )
        rows = torch.zeros(batch, query_length, dtype=torch.bool)
        part = self._instruction[:, offset : offset + query_length]
        rows[:, : part.shape[1]] = part
        if self.generated:
            rows[:, max(0, prompt_length - offset) :] = self._rows[:, None]
        if rows.any():
            keys = {i: _key_window(cache, query_length, i) for i in self._index_of.values()}
            self._step = Step(rows, int(part.sum()), offset, keys)

    def step_for(self, module: nn.Module) -> tuple[Step, int] | None:
        """The rows to calibrate in this attention module now, and its layer index."""
        layer = self._index_of.get(id(module))
        if layer is None or self._step is None:
            return None
        return self._step, layer

    def prefix_columns(self, first: int, length: int, device: torch.device) -> Tensor:
        """Which of the keys at positions `first ...` are safety prefix, bool `[B, length]`."""
        key = (first, length)
        if key not in self._columns:
            columns = torch.zeros(self._prefix.shape[0], length, dtype=torch.bool)
            part = self._prefix[:, first : first + length]
            columns[:, : part.shape[1]] = part
            # One entry per kind of layer and step; older steps are not needed again.
            self._columns = {
                k: v for k, v in self._columns.items() if k[0] + k[1] == first + length
            }
            self._columns[key] = columns.to(device)
        return self._columns[key]

    def calibrates(self, layer: int) -> bool:
        """Whether any row is calibrated in this layer."""
        return layer in self._calibrated

    def strength(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Strength of each row `[B]`, moved to the device once for all layers."""
        if (device, dtype) not in self._strengths:
            self._strengths[device, dtype] = self._gamma.to(device, dtype)
        return self._strengths[device, dtype]

    def observes(self, layer: int) -> bool:
        """Whether the attention to the prefix is recorded in this layer."""
        return layer in self._attention

    def record_attention(self, layer: int, at_batch: Tensor, at: Tensor, share: Tensor) -> None:
        """Add the attention of query rows to the prefix; only instruction rows count.

        Args:
            layer: index of the layer.
            at_batch: int64 `[N]`, the batch row of each query row.
            at: int64 `[N]`, its position in the sequence.
            share: `[N]`, attention weight on the prefix, mean over heads.
        """
        at_batch, at, share = at_batch.cpu(), at.cpu(), share.float().cpu()
        inside = at < self._instruction.shape[1]
        inside[inside.clone()] = self._instruction[at_batch[inside], at[inside]]
        self._attention[layer].index_add_(0, at_batch[inside], share[inside])

    def prefix_attention(self, row: int) -> tuple[tuple[int, float], ...]:
        """For each observed layer, the share of the instruction's attention on the prefix."""
        count = max(int(self._instruction[row].sum()), 1)
        return tuple((i, float(total[row]) / count) for i, total in self._attention.items())

    def record(self, layer: int, rows: int) -> None:
        """Note that `rows` instruction rows of a layer were calibrated."""
        if layer in self._covered:
            self._covered[layer] += rows

    def record_reach(self, layer: int, at_batch: Tensor, near: Tensor) -> None:
        """Note which calibrated rows of a layer can attend to some token of the prefix.

        Args:
            layer: index of the layer.
            at_batch: int64 `[N]`, the batch row of each query row.
            near: bool `[N]`.
        """
        if layer in self._near:
            self._near[layer].append((at_batch, near))

    def reached_layers(self) -> list[tuple[int, ...]]:
        """For each batch row, the layers in which some calibrated row could attend to the prefix.

        A sliding window or a chunk can hide the prefix from every row of a layer. Calibration
        changes nothing there.
        """
        reached: list[list[int]] = [[] for _ in range(self._prefix.shape[0])]
        for layer, parts in sorted(self._near.items()):
            rows = {int(row) for at_batch, near in parts for row in at_batch[near].tolist()}
            for row in rows:
                reached[row].append(layer)
        return [tuple(layers) for layers in reached]

    def observed_layers(self) -> tuple[int, ...]:
        """The layers that were calibrated.

        Raises:
            CalibrationError: a layer of the band did not calibrate every instruction row.
        """
        wanted = int(self._instruction.sum())
        missing = [layer for layer, rows in self._covered.items() if rows < wanted]
        if missing or wanted == 0:
            raise CalibrationError(
                f"Layers {missing} did not calibrate all {wanted} instruction rows.",
                stage="calibration",
                remedy="This model does not run its attention through the attention interface; "
                "use calibrate=False or gamma 0.",
            )
        return tuple(sorted(self._covered))


def _key_window(cache: Any, query_length: int, layer: int) -> tuple[int, int]:
    if cache is None:
        return query_length, 0
    length, first = cache.get_mask_sizes(query_length, layer)
    return int(length), int(first)
