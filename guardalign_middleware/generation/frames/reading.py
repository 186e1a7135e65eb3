"""The frames that a processor makes of a picture, in colours from 0 to 255."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import ProcessorMixin

from guardalign_middleware.generation.frames.placing import Frame, Misfit, gradient, place
from guardalign_middleware.generation.frames.unpatchify import (
    PatchOrder,
    RawFrame,
    UnknownLayout,
    raw_frames,
)
from guardalign_middleware.generation.prompt.encoder import PromptEncoder
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

_QUESTION = TextPart("What is in the picture?")
# Large enough for grids of patches, small enough to cost nothing.
_SIDE = 224
_SHAPE = (336, 252)
_COLOURS = ((0, 0, 0), (255, 255, 255), (64, 128, 192))
# Largest error of a decoded colour, in levels: bfloat16 has one of half a level.
_EXACT = 1.0


class FrameReader:
    """Runs the whole processor, as the runner does, and takes the frames out of what it gives.

    How colours are normalised is measured with a black and a white picture, because a processor can
    override what its image processor says. So is the order of patches, with a gradient.

    Threads may share one. No other thread may use the processor's tokenizer at the same time.

    Raises:
        UnknownLayout: the outputs cannot be read; the message says why.
        GuardAlignError: the processor refuses even a small picture.
    """

    def __init__(self, processor: ProcessorMixin) -> None:
        self._images: Any = processor.image_processor
        self._prompts = PromptEncoder(processor, prefix="-", placement="before_instruction")
        self._order: PatchOrder = "rows"
        black, white, tone = (self._raw(_flat(colour), 1) for colour in _COLOURS)
        self._levels = _levels(black, white, tone)
        self._order = self._find_order()

    def frames(self, image: CanonicalImage, copies: int) -> list[Frame]:
        """The frames of a prompt with one picture several times, in the processor's order.

        Raises:
            UnknownLayout: the outputs cannot be read.
            GuardAlignError: the processor refuses the picture.
        """
        frames = []
        for frame in self._raw(image, copies):
            black, white = (level[:, None, None] for level in self._levels[frame.key])
            values = torch.sub(frame.values, black).mul_(255.0 / (white - black))
            frames.append(values.clamp_(0.0, 255.0).round_().byte().numpy())
        return frames

    def _raw(self, image: CanonicalImage, copies: int) -> list[RawFrame]:
        message = Message("user", (*[ImagePart(image)] * copies, _QUESTION))
        encoded = self._prompts.encode([[message]], prefix=[False], spans=False)
        return raw_frames(encoded.inputs, self._images, self._order)

    def _find_order(self) -> PatchOrder:
        width, height = _SHAPE
        picture = CanonicalImage(gradient(width, height))
        orders: tuple[PatchOrder, ...] = ("merged", "rows")
        for self._order in orders:
            try:
                for frame in self.frames(picture, 1):
                    place(frame, width, height)
            except (UnknownLayout, Misfit) as error:
                fault = error
            else:
                return self._order
        raise UnknownLayout(f"a gradient comes out in disorder: {fault}")


def _flat(colour: tuple[int, int, int]) -> CanonicalImage:
    return CanonicalImage(np.full((_SIDE, _SIDE, 3), colour, dtype=np.uint8))


def _levels(
    black: list[RawFrame], white: list[RawFrame], tone: list[RawFrame]
) -> Mapping[str, tuple[Tensor, Tensor]]:
    """The values `[3]` of black and white in each output.

    Raises:
        UnknownLayout: colours in between do not lie on a line between them.
    """
    shapes = [[(frame.key, frame.values.shape) for frame in each] for each in (black, white, tone)]
    if shapes[0] != shapes[1] or shapes[0] != shapes[2]:
        raise UnknownLayout("pictures of one size do not come out in one shape")
    found: dict[str, tuple[Tensor, Tensor]] = {}
    wanted = torch.tensor(_COLOURS[2]) / 255.0
    for dark, bright, middle in zip(black, white, tone, strict=True):
        gap = bright.values - dark.values
        # Padding is the same in both.
        shown = (gap > 0.9 * gap.amax(dim=(1, 2), keepdim=True)).all(dim=0) & (gap > 0.0).all(dim=0)
        if not bool(shown.any()):
            continue
        low, high, between = (
            frame.values[:, shown].median(dim=1).values for frame in (dark, bright, middle)
        )
        found.setdefault(dark.key, (low, high))
        if bool(((between - low) / (high - low) - wanted).abs().max() * 255.0 > _EXACT):
            raise UnknownLayout("colours are not normalised by a line for each channel")
    if {frame.key for frame in black} != set(found):
        raise UnknownLayout("an output shows nothing of the picture")
    return found
