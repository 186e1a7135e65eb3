"""Where a frame lies on its picture.

A picture whose red grows from left to right and whose green grows downwards tells for each pixel
of a frame from where it comes. One line for each axis fits them: scaled, squashed, cropped and
padded frames all come out of it. Blue is the same everywhere, so padding stands out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""Colours `[3, h, w]` of a frame."""
Box = tuple[float, float, float, float]

# Away from 0 and 255, where kernels with negative lobes would be cut off.
_LOW, _RANGE = 16.0, 224.0
# Grey, black, white and the usual mean colours pad frames; none of them is as blue.
_BLUE, _NEAR = 200, 8
# Dithering, rounding to bytes and bfloat16 move a colour by this much.
_NOISE = 2.75
# Half of the widest kernel (Lanczos): nearer to the border of the picture it is cut off.
_REACH = 3.0
# A picture that is thinner in its frame can be mixed with padding all through.
_THIN = 8
# Pixels that tell less than this many colours do not tell a scale.
_FEW = 4
# Pixels at each end of a frame's part of the picture that can be mixed with padding.
_MIXED = 3
# Rows read for a line; more would not make it better.
_ROWS = 128
# How far a bent picture may be off the line, as a part of its side.
_BENT = 0.25


class Misfit(Exception):
    """A frame is no scaled, cropped or padded part of the picture."""


@dataclass(frozen=True)
class Axis:
    """One axis of a frame: its place `p` shows the picture at `scale * p + offset`.

    Attributes:
        scale: pixels of the picture for one of the frame.
        offset: where the frame's edge lies on the picture, in its pixels.
        first: first pixel that shows something of the picture.
        last: one after the last such pixel.
        levels: how many levels of the gradient it shows; 0 if it does not tell its scale.
        slack: by how much the line can be off, in pixels of the picture.
    """

    scale: float
    offset: float
    first: int
    last: int
    levels: float = 0.0
    slack: float = 0.0

    @property
    def middle(self) -> tuple[float, float]:
        """A place in pixels of the frame, and the same in pixels of the picture."""
        at = (self.first + self.last) / 2
        return at, self.scale * at + self.offset

    def ends(self, size: int) -> tuple[float, float]:
        """Where the part that shows the picture begins and ends, in pixels of the picture."""
        low, high = (self.scale * at + self.offset for at in (self.first, self.last))
        # The edges of the picture itself, as far as the fit can tell.
        near = 0.75 * self.scale + 2.0 * self.slack
        low = 0.0 if abs(low) < near else low
        high = float(size) if abs(high - size) < near else high
        return low, high


@dataclass(frozen=True)
class Placement:
    """Where a frame lies on its picture."""

    x: Axis
    y: Axis

    def box(self, width: int, height: int) -> Box:
        """The part of a picture of that size that the frame shows, without its padding."""
        (x0, x1), (y0, y1) = self.x.ends(width), self.y.ends(height)
        return x0, y0, x1, y1


def gradient(width: int, height: int) -> NDArray[np.uint8]:
    """The picture that tells where frames lie; uint8 `[height, width, 3]`, read-only."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for channel, (along, across) in enumerate(((width, height), (height, width))):
        ramp = _LOW + _RANGE * (np.arange(along, dtype=np.float32) + 0.5) / along
        # Dithered, or long sides would have steps of many pixels.
        dither = (3 * np.arange(across) % 8 + 0.5).astype(np.float32) / 8
        plane = np.floor(dither[:, None] + ramp[None, :]).astype(np.uint8)
        pixels[:, :, channel] = plane if channel == 0 else plane.T
    pixels[:, :, 2] = _BLUE
    pixels.flags.writeable = False
    return pixels


def place(frame: Frame, width: int, height: int) -> Placement | None:
    """Where a frame of the gradient lies on it; None if it shows nothing of it.

    Args:
        frame: uint8 `[3, h, w]`.
        width: of the gradient.
        height: of the gradient.

    Raises:
        Misfit: the frame is not a scaled, cropped or padded part of it.
    """
    blue = frame[2]
    shown = (blue > _BLUE - _NEAR) & (blue < _BLUE + _NEAR)
    columns, rows = _span(shown.any(axis=0)), _span(shown.any(axis=1))
    if columns is None or rows is None:
        return _strip(frame, width, height)
    try:
        return _line_fit(frame, shown, columns, rows, width, height)
    except Misfit:
        thin = min(columns.stop - columns.start, rows.stop - rows.start) < _THIN
        strip = _strip(frame, width, height) if thin else None
        if strip is None:
            raise
        return strip


def _line_fit(
    frame: Frame, shown: NDArray[np.bool_], columns: slice, rows: slice, width: int, height: int
) -> Placement:
    if not shown[rows, columns].all():
        raise Misfit("the part that shows the picture is no rectangle")
    red, green, _ = frame
    x = _axis(_sample(red, rows)[:, columns], columns.start, width)
    y = _axis(_sample(green.T, columns)[:, rows], rows.start, height)
    # A single row or column does not tell its scale.
    x, y = _square(x, y), _square(y, x)
    return Placement(_with_blends(x, green), _with_blends(y, red.T))


def _strip(frame: Frame, width: int, height: int) -> Placement | None:
    """A long picture in a box, so thin that all of it is mixed with padding; None if it is not."""
    columns, rows = (_span((np.ptp(frame, axis=axis) > _NOISE).any(axis=0)) for axis in (1, 2))
    if columns is None or rows is None:
        return None
    across, down = columns.stop - columns.start, rows.stop - rows.start
    scale = max(width, height) / max(across, down)
    # Its frame has its shape, and there is padding on both sides.
    thickness, room, expected = (
        (down, frame.shape[1], height) if width > height else (across, frame.shape[2], width)
    )
    if thickness >= room or abs(thickness - expected / scale) > _THIN / 2 or thickness > 2 * _THIN:
        return None
    x = Axis(scale, -scale * columns.start, columns.start, columns.stop)
    y = Axis(scale, -scale * rows.start, rows.start, rows.stop)
    spare = scale * thickness - expected
    if width > height:
        y = replace(y, offset=y.offset - spare / 2)
    else:
        x = replace(x, offset=x.offset - spare / 2)
    return Placement(x, y)


def _span(shown: NDArray[np.bool_]) -> slice | None:
    at = np.flatnonzero(shown)
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else None


def _sample(plane: NDArray[np.uint8], part: slice) -> NDArray[np.float32]:
    """Some of the rows of a part, without the outermost, which can be mixed with padding."""
    rows = plane[part]
    # Where a padded picture was enlarged, the mixture is wide.
    padded = len(rows) < len(plane)
    margin = max(_MIXED, len(rows) // 4) if padded else _MIXED
    rows = rows[margin:-margin] if len(rows) > 4 * _MIXED else rows
    # Odd, to meet every row of the dither.
    return rows[:: (len(rows) // _ROWS) | 1].astype(np.float32)


def _axis(values: NDArray[np.float32], first: int, size: int) -> Axis:
    """Fit a line to values `[across, along]` of pixels from the first on."""
    count = values.shape[1]
    last = first + count
    if size < _FEW:
        # Too few colours to tell a crop from the whole.
        scale = size / count
        return Axis(scale, -first * scale, first, last)
    means = values.mean(axis=0)
    places = (means - _LOW) * (size / _RANGE)
    centres = np.arange(first, last) + 0.5
    if count == 1:
        return Axis(0.0, float(places[0]), first, last)
    if np.ptp(means) < _NOISE and size > 2 * _FEW and count > _FEW:
        # One pixel on the way holds all of it.
        if np.abs(values - means).max() > 2.0 * _NOISE:
            raise Misfit("it is turned, or its parts are in disorder")
        scale = size / count
        return Axis(scale, -first * scale, first, last, slack=float(size))
    rough = abs(float(places[-1] - places[0])) / (count - 1)
    # The outermost can be mixed with padding, by so little that their blue does not show it.
    # Where a padded picture was enlarged, it is two pixels of the picture.
    wide = max(_MIXED, math.ceil(2.0 / max(rough, 1e-3)))
    ends = min(wide, count // 4) if count > 4 * _MIXED else 0
    apart = (np.arange(count) >= ends) & (np.arange(count) < count - ends)
    inner = apart
    for margin in (1.0 + _REACH * rough, 1.0):
        whole = apart & (places >= margin) & (places <= size - margin)
        if whole.sum() >= 2:
            inner = whole
            break
    scale, offset = (float(number) for number in np.polyfit(centres[inner], places[inner], 1))
    level = _RANGE / size
    allowed = _NOISE + (max(scale, 0.0) + 0.25) * level
    # Where parts are in disorder, the pixels of a column come from different places.
    if scale <= 0.0 or np.abs(values - means)[:, inner].max() > allowed:
        raise Misfit("it is mirrored, or its parts are in disorder")
    levels = scale * count * level if count >= 2 * _FEW else 0.0
    away = np.abs(places - (scale * centres + offset))[apart]
    if away.max() <= allowed / level:
        return Axis(scale, offset, first, last, levels)
    # A picture that is made small on the way, and then large again, is bent towards its edges.
    if np.diff(places[apart]).min() < -allowed / level or away.max() > _BENT * size:
        raise Misfit("it is bent, or its parts are in disorder")
    return Axis(scale, offset, first, last, levels, float(away.max()))


def _square(axis: Axis, other: Axis) -> Axis:
    if axis.scale:
        return axis
    if not other.scale:
        raise Misfit("it is a single pixel")
    centre = axis.first + 0.5
    return replace(axis, scale=other.scale, offset=axis.offset - other.scale * centre)


def _with_blends(axis: Axis, other: NDArray[np.uint8]) -> Axis:
    """Add the pixels at both ends that mix the picture with its padding.

    Args:
        axis: along the second dimension.
        other: the colour `[across, along]` that changes across it; padding alone has no change.
    """
    first, last = axis.first, axis.last
    while first > 0 and np.ptp(other[:, first - 1]) > _NOISE:
        first -= 1
    while last < other.shape[1] and np.ptp(other[:, last]) > _NOISE:
        last += 1
    return replace(axis, first=first, last=last)
