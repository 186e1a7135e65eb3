"""Tiles of one scale that adjoin are one canvas, so that crops can cross their borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.generation.frames.placing import Box, Frame, Misfit, Placement, place

# How far the scales of tiles of one canvas may differ: the last tile of a row can be narrower, and
# a tile that shows few colours of the gradient tells its scale less well.
_SAME_SCALE = 0.03
_LEVELS = 2.0
# Tiles that overlap on purpose do so by less, as a part of a side.
_OVERLAP = 0.4
# Pixels of a frame by which the fit may place a tile wrongly.
_SLACK = 1.5


@dataclass(frozen=True)
class Piece:
    """A frame on a canvas: its number, its left upper corner and its size, in pixels."""

    frame: int
    x: int
    y: int
    width: int
    height: int

    def touches(self, other: Piece) -> bool:
        """Whether they overlap or share a part of an edge."""
        across, down = self._shared(other)
        return min(across, down) >= 0 and max(across, down) > 0

    def hides(self, other: Piece) -> bool:
        """Whether they overlap by more than tiles do, so that they are two looks at one place."""
        across, down = self._shared(other)
        return across > _OVERLAP * self.width and down > _OVERLAP * self.height

    def _shared(self, other: Piece) -> tuple[int, int]:
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return across, down


@dataclass(frozen=True)
class Canvas:
    """Frames that lie side by side, or one alone.

    Attributes:
        pieces: the frames.
        crop: left, top, right and bottom of the part that shows the picture, in pixels of the
            canvas; the rest is padding.
        box: the part of the picture that this is.
    """

    pieces: tuple[Piece, ...]
    crop: tuple[int, int, int, int]
    box: Box

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the part that shows the picture, in pixels of the canvas."""
        left, top, right, bottom = self.crop
        return right - left, bottom - top

    def lay(self, frames: Sequence[Frame]) -> NDArray[np.uint8]:
        """The canvas of frames `[3, h, w]`, without its padding: uint8 `[height, width, 3]`."""
        left, top, right, bottom = self.crop
        canvas = _lay(self.pieces, frames)[:, top:bottom, left:right]
        return np.ascontiguousarray(canvas.transpose(1, 2, 0))


def stitch(frames: Sequence[Frame], width: int, height: int) -> list[Canvas]:
    """The canvases of the frames of a gradient picture; frames of padding alone are left out.

    Raises:
        Misfit: a frame is not a scaled, cropped or padded part of the picture.
    """
    placed = {
        number: placement
        for number, frame in enumerate(frames)
        if (placement := place(frame, width, height)) is not None
    }
    canvases = []
    rest = sorted(placed, key=lambda number: -frames[number].size)
    while rest:
        pieces = _component(rest, placed, frames)
        canvas = _fitted(pieces, frames, width, height) if len(pieces) > 1 else None
        if canvas is None:
            # One alone, or several that adjoin but are no one picture.
            pieces = pieces[:1]
            canvas = _canvas(pieces, placed[pieces[0].frame], width, height)
        canvases.append(canvas)
        used = {piece.frame for piece in pieces}
        rest = [number for number in rest if number not in used]
    return canvases


def _component(
    rest: Sequence[int], placed: dict[int, Placement], frames: Sequence[Frame]
) -> list[Piece]:
    """The first frame and all that lie beside it at its scale, each placed by its neighbour."""
    first, *others = rest
    pieces = [_piece(first, 0, 0, frames)]
    found = True
    while found:
        found = False
        for number in list(others):
            piece = _beside(number, pieces, placed, frames)
            if piece is not None:
                pieces.append(piece)
                others.remove(number)
                found = True
    return pieces


def _beside(
    number: int, pieces: list[Piece], placed: dict[int, Placement], frames: Sequence[Frame]
) -> Piece | None:
    for known in pieces:
        ours, theirs = placed[number], placed[known.frame]
        dx = _offset(ours, theirs, "x")
        dy = _offset(ours, theirs, "y")
        if dx is None or dy is None:
            continue
        plain = _piece(number, 0, 0, frames)
        piece = _piece(
            number,
            known.x + _snapped(dx, plain.width, known.width),
            known.y + _snapped(dy, plain.height, known.height),
            frames,
        )
        if piece.touches(known):
            # Another frame of the same place stays apart, for its pixels may differ.
            return None if any(piece.hides(other) for other in pieces) else piece
    return None


def _offset(ours: Placement, theirs: Placement, axis: str) -> float | None:
    """How far our frame lies beside theirs, in pixels; None at another scale."""
    a, b = getattr(ours, axis), getattr(theirs, axis)
    if a.levels and b.levels:
        doubt = _LEVELS / min(a.levels, b.levels)
        if abs(a.scale / b.scale - 1.0) > _SAME_SCALE + doubt:
            return None
    scale = b.scale if b.levels else a.scale
    (at_a, source_a), (at_b, source_b) = a.middle, b.middle
    return float((source_a - source_b) / scale - (at_a - at_b))


def _snapped(offset: float, ours: int, theirs: int) -> int:
    near = min((0, theirs, -ours), key=lambda edge: abs(edge - offset))
    return near if abs(near - offset) <= _SLACK else round(offset)


def _piece(number: int, x: int, y: int, frames: Sequence[Frame]) -> Piece:
    height, width = frames[number].shape[1:]
    return Piece(number, x, y, width, height)


def _fitted(pieces: list[Piece], frames: Sequence[Frame], width: int, height: int) -> Canvas | None:
    left, top = min(piece.x for piece in pieces), min(piece.y for piece in pieces)
    moved = [Piece(p.frame, p.x - left, p.y - top, p.width, p.height) for p in pieces]
    covered = np.zeros(_size(moved), dtype=bool)
    for piece in moved:
        covered[piece.y : piece.y + piece.height, piece.x : piece.x + piece.width] = True
    if not covered.all():
        return None
    try:
        placement = place(_lay(moved, frames), width, height)
    except Misfit:
        return None
    return None if placement is None else _canvas(moved, placement, width, height)


def _canvas(pieces: list[Piece], placement: Placement, width: int, height: int) -> Canvas:
    x, y = placement.x, placement.y
    return Canvas(tuple(pieces), (x.first, y.first, x.last, y.last), placement.box(width, height))


def _size(pieces: Sequence[Piece]) -> tuple[int, int]:
    return max(p.y + p.height for p in pieces), max(p.x + p.width for p in pieces)


def _lay(pieces: Sequence[Piece], frames: Sequence[Frame]) -> Frame:
    canvas = np.zeros((3, *_size(pieces)), dtype=np.uint8)
    for piece in pieces:
        down, across = slice(piece.y, piece.y + piece.height), slice(piece.x, piece.x + piece.width)
        canvas[:, down, across] = frames[piece.frame]
    return canvas
