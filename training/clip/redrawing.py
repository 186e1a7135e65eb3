"""Random changes of a drawing that keep its shape: other colours, fills, lines and proportions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps
from scipy import ndimage

Pixels = NDArray[np.float32]
SIDE = 72
"""Of a drawing, in pixels."""
_FREE = 4
_PARTS = 3


def colored_in(rng: np.random.Generator, cell: Image.Image, colors: Pixels) -> Image.Image:
    """A line drawing with its enclosed areas filled, each in one of the colours `[4, 3]`."""
    ink = np.asarray(cell.getchannel("A"), dtype=np.float32) / np.float32(255)
    areas, count = ndimage.label(np.pad(ink < 0.4, 1, constant_values=True))
    areas = areas[1:-1, 1:-1]
    fills = rng.integers(0, 2 if rng.random() < 0.4 else 4, count + 1)
    inside = areas > 1  # the first area surrounds the drawing
    # A fill reaches under the ink's soft edge, which would otherwise be light.
    spread = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    nearest = areas[tuple(spread)] if inside.any() else areas
    paint = colors[fills[nearest]]
    pen = rng.uniform(0, 0.3, 3) if rng.random() < 0.5 else colors[0] * rng.uniform(0.3, 1.0)
    filled = ndimage.binary_dilation(inside) & ((ink > 0.02) | inside)
    rgb = paint + ink[..., None] * (np.asarray(pen, dtype=np.float32) - paint)
    alpha = np.maximum(ink, filled.astype(np.float32))
    picture = _joined(rgb, cell)
    picture.putalpha(Image.fromarray(np.round(alpha * 255).astype(np.uint8)))
    return _outlined(rng, picture) if rng.random() < 0.15 else picture


def warped(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """Rotated by up to 16 degrees; half of the time also stretched, sheared and shifted."""
    angle = np.deg2rad(rng.uniform(-16, 16))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.zeros(2)
    if rng.random() < 0.5:
        slant = rng.uniform(-0.15, 0.15, 2)
        stretch = rng.uniform(0.95, 1.3, 2)
        if rng.random() < 0.4:  # as in a picture that was squashed or stretched
            stretch[int(rng.integers(2))] *= rng.uniform(1.1, 1.7)
        turn = turn @ np.array([[stretch[0], slant[0]], [slant[1], stretch[1]]])
        shift = rng.uniform(-0.04, 0.04, 2) * SIDE
    middle = np.full(2, SIDE / 2)
    (a, b), (d, e) = turn
    c, f = middle - turn @ middle + shift
    return cell.transform(
        cell.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC
    )


def bent(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """Bent by a random mesh: parts get slightly longer, thicker or shifted."""
    lattice: list[float] = np.linspace(0, SIDE, _PARTS + 1).tolist()
    x, y = np.meshgrid(lattice, lattice)
    moved = rng.normal(0, rng.uniform(0.02, 0.06) * SIDE, (2, _PARTS + 1, _PARTS + 1))
    x, y = x + moved[0], y + moved[1]
    mesh = []
    for row, column in np.ndindex(_PARTS, _PARTS):
        box = tuple(round(lattice[at]) for at in (column, row, column + 1, row + 1))
        corners = ((row, column), (row + 1, column), (row + 1, column + 1), (row, column + 1))
        mesh.append((box, tuple(float(v[at]) for at in corners for v in (x, y))))
    return cell.transform(cell.size, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)


def weighted(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """Blurred or sharpened, as by another pen."""
    if rng.random() < 0.5:
        return cell.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.6, 1.8))))
    sharp = cell.filter(ImageFilter.UnsharpMask(2, int(rng.integers(80, 250)), 0))
    sharp.putalpha(cell.getchannel("A"))
    return sharp


def _mixed(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """Channels mixed or exchanged, contrast changed."""
    pixels = np.asarray(cell, dtype=np.float32) / 255
    mix = np.eye(3) * 0.5 + rng.dirichlet(np.ones(3), 3) * 0.5
    if rng.random() < 0.5:
        mix = mix[rng.permutation(3)]
    rgb = np.clip(pixels[..., :3] @ mix, 0, 1) ** rng.uniform(0.6, 1.6)
    return _joined(rgb, cell)


def _hue(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """Hue and saturation changed."""
    hue, saturation, value = cell.convert("RGB").convert("HSV").split()
    shift = int(rng.integers(256))
    share = rng.uniform(0.0, 1.4)
    turned = Image.merge(
        "HSV",
        (
            hue.point(lambda level: (level + shift) % 256),
            saturation.point(lambda level: min(round(level * share), 255)),
            value,
        ),
    ).convert("RGB")
    turned.putalpha(cell.getchannel("A"))
    return turned


def _fills(rng: np.random.Generator, cell: Image.Image) -> tuple[Image.Image, Pixels]:
    """The cell reduced to a few flat fills: a palette picture, and its colours in [0, 1]."""
    opaque = Image.new("RGB", cell.size, (128, 128, 128))
    opaque.paste(cell, mask=cell.getchannel("A"))
    smooth = opaque.filter(ImageFilter.MedianFilter(3 if rng.random() < 0.5 else 5))
    flat = smooth.quantize(int(rng.integers(2, 8)), Image.Quantize.MEDIANCUT)
    levels = flat.getpalette() or []
    colors = np.array(levels, dtype=np.float32).reshape(-1, 3) / np.float32(255)
    return flat, colors


def _flat(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """A few flat fills, in their own colours or in new ones."""
    flat, colors = _fills(rng, cell)
    kind = rng.random()
    if kind < 0.3:  # a random colour for every fill
        colors = rng.uniform(0, 1, colors.shape).astype(np.float32)
    elif kind < 0.6:  # new colours of similar lightness
        light = colors.mean(axis=1, keepdims=True)
        colors = 0.6 * light + 0.4 * rng.uniform(0, 1, colors.shape).astype(np.float32)
    return _joined(colors[np.asarray(flat)], cell)


def _lines(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """Outlines and borders between the fills, on paper or transparent."""
    flat, colors = _fills(rng, cell)
    alpha = cell.getchannel("A")
    labels = np.asarray(flat)
    border = np.zeros(labels.shape, dtype=bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    inside = Image.fromarray((255 * border).astype(np.uint8))
    around = ImageChops.difference(alpha, alpha.filter(ImageFilter.MinFilter(3)))
    lines = ImageChops.lighter(ImageChops.multiply(inside, alpha), around)
    if rng.random() < 0.5:
        lines = lines.filter(ImageFilter.MaxFilter(3))
    lines = lines.filter(ImageFilter.GaussianBlur(0.5))
    ink = tuple(int(v) for v in rng.integers(0, 120, 3))
    if rng.random() < 0.3:  # line art
        drawn = Image.new("RGBA", cell.size, (*ink, 0))
        drawn.putalpha(lines)
        return drawn
    kind = rng.random()
    if kind < 0.4:  # filled with one colour
        paper = Image.new("RGB", cell.size, tuple(int(v) for v in rng.integers(120, 256, 3)))
    elif kind < 0.7:  # a comic: flat fills under the lines
        paper = _joined(colors[labels], cell).convert("RGB")
    else:
        paper = cell.convert("RGB")
    paper.paste(Image.new("RGB", cell.size, ink), mask=lines)
    paper.putalpha(alpha)
    return paper


def _outlined(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """With a dark or light rim, like a sticker."""
    small = cell.resize((SIDE - 2 * _FREE, SIDE - 2 * _FREE), Image.Resampling.BICUBIC)
    placed = Image.new("RGBA", cell.size)
    placed.paste(small, (_FREE, _FREE))
    alpha = placed.getchannel("A")
    rim = alpha.filter(ImageFilter.MaxFilter(3 if rng.random() < 0.5 else 7))
    level = rng.integers(0, 70, 3) if rng.random() < 0.6 else rng.integers(200, 256, 3)
    backed = Image.new("RGBA", cell.size, (*(int(v) for v in level), 0))
    backed.putalpha(rim.filter(ImageFilter.GaussianBlur(0.6)))
    return Image.alpha_composite(backed, placed)


def _grey(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """Grey or in one tint, sometimes inverted."""
    grey = ImageOps.autocontrast(cell.convert("L"), cutoff=2)
    if rng.random() < 0.15:
        grey = ImageOps.invert(grey)
    if rng.random() < 0.5:
        light = np.asarray(grey, dtype=np.float32)[..., None] / 255
        dark, bright = rng.uniform(0, 0.5, 3), rng.uniform(0.5, 1, 3)
        return _joined(dark + light * (bright - dark), cell)
    tinted = Image.merge("RGB", (grey, grey, grey))
    tinted.putalpha(cell.getchannel("A"))
    return tinted


def _joined(rgb: NDArray[np.floating], cell: Image.Image) -> Image.Image:
    """Colours in [0, 1] under the cell's alpha."""
    picture = Image.fromarray(np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8))
    picture.putalpha(cell.getchannel("A"))
    return picture


_WAYS: tuple[Callable[[np.random.Generator, Image.Image], Image.Image], ...] = (
    _mixed,
    _mixed,
    _hue,
    _hue,
    _flat,
    _flat,
    _flat,
    _lines,
    _lines,
    _outlined,
    _grey,
)


def redrawn(rng: np.random.Generator, cell: Image.Image) -> Image.Image:
    """The same shape in other colours, fills or lines."""
    return _WAYS[int(rng.integers(len(_WAYS)))](rng, cell)
