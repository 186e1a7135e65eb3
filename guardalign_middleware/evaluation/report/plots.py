"""Small drawings in SVG: histograms, curves and points with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("var(--one)", "var(--two)", "var(--three)", "var(--four)")
_WIDE, _TALL = 640, 300
_LEFT, _RIGHT, _TOP, _FOOT = 52, 16, 34, 44


@dataclass(frozen=True)
class Axis:
    """A direction of a plot.

    Attributes:
        label: what it measures.
        low, high: its ends.
        log: whether equal steps are equal ratios.
        ticks: where it has numbers; () = five even steps.
    """

    label: str
    low: float
    high: float
    log: bool = False
    ticks: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """The place of a value, 0 to 1; a value beyond an end is at it."""
        low, high, at = (
            (math.log(self.low), math.log(self.high), math.log(max(value, self.low)))
            if self.log
            else (self.low, self.high, value)
        )
        return min(1.0, max(0.0, (at - low) / ((high - low) or 1.0)))

    def marks(self) -> tuple[float, ...]:
        """Where numbers stand."""
        if self.ticks:
            return self.ticks
        steps = range(5)
        if self.log:
            ratio = self.high / self.low
            return tuple(self.low * ratio ** (step / 4) for step in steps)
        return tuple(self.low + (self.high - self.low) * step / 4 for step in steps)


@dataclass(frozen=True)
class Line:
    """A named row of points; `low` and `high` are their intervals, if they have some."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def curves(label: str, across: Axis, up: Axis, lines: Sequence[Line], *, dots: bool = False) -> str:
    """Lines through points, with a dot at each if there are few."""
    parts = []
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        points = [
            (_x(across.place(x)), _y(up.place(y))) for x, y in zip(line.x, line.y, strict=True)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += _whiskers(line, across, up, colour)
        if dots:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points
            ]
    return _drawn(label, across, up, parts, [line.name for line in lines])


def points(label: str, across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """A named dot for each line, with its interval."""
    parts = []
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        x, y = _x(across.place(line.x[0])), _y(up.place(line.y[0]))
        parts += _whiskers(line, across, up, colour)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
        right = x > _WIDE * 0.75
        parts.append(
            f'<text x="{x - 8 if right else x + 8:.1f}" y="{y - 7:.1f}" '
            f'text-anchor="{"end" if right else "start"}">{escape(line.name)}</text>'
        )
    return _drawn(label, across, up, parts, [])


def histogram(label: str, across: Axis, groups: Sequence[tuple[str, Sequence[float]]]) -> str:
    """How often values come, in bins of equal width; groups lie over one another."""
    bins = 32
    counts = [_counts(across, values, bins) for _, values in groups]
    most = max(1, *(max(found) for found in counts)) if counts else 1
    up = Axis("pictures", 0, most, ticks=_whole(most))
    width = (_WIDE - _LEFT - _RIGHT) / bins
    parts = []
    for index, found in enumerate(counts):
        for place, count in enumerate(found):
            if count:
                top = _y(up.place(count))
                parts.append(
                    f'<rect x="{_LEFT + place * width + 0.5:.1f}" y="{top:.1f}" '
                    f'width="{width - 1:.1f}" height="{_TALL - _FOOT - top:.1f}" '
                    f'fill="{COLOURS[index % len(COLOURS)]}" fill-opacity="0.65"/>'
                )
    return _drawn(label, across, up, parts, [name for name, _ in groups])


def with_mark(svg: str, across: Axis, value: float, words: str) -> str:
    """The drawing with a named upright line at a value."""
    x = _x(across.place(value))
    line = (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TALL - _FOOT}" stroke="var(--ink)" '
        f'stroke-dasharray="5 4"/><text x="{x + 5:.1f}" y="{_TOP + 12}">{escape(words)}</text>'
    )
    return svg.replace("</svg>", f"{line}</svg>")


def _counts(across: Axis, values: Sequence[float], bins: int) -> list[int]:
    found = [0] * bins
    for value in values:
        found[min(bins - 1, int(across.place(value) * bins))] += 1
    return found


def _whole(most: float) -> tuple[float, ...]:
    step = max(1, math.ceil(most / 4))
    return tuple(float(one) for one in range(0, int(most) + 1, step))


def _whiskers(line: Line, across: Axis, up: Axis, colour: str) -> list[str]:
    return [
        f'<line x1="{_x(across.place(x)):.1f}" x2="{_x(across.place(x)):.1f}" '
        f'y1="{_y(up.place(low)):.1f}" y2="{_y(up.place(high)):.1f}" stroke="{colour}"/>'
        for x, low, high in zip(line.x, line.low, line.high, strict=False)
    ]


def _drawn(label: str, across: Axis, up: Axis, parts: Sequence[str], names: Sequence[str]) -> str:
    grid = []
    for value in up.marks():
        y = _y(up.place(value))
        grid.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        grid.append(
            f'<text class="soft" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_number(value)}</text>"
        )
    for value in across.marks():
        grid.append(
            f'<text class="soft" x="{_x(across.place(value)):.1f}" y="{_TALL - _FOOT + 16}" '
            f'text-anchor="middle">{_number(value)}</text>'
        )
    middle = (_LEFT + _WIDE - _RIGHT) / 2
    grid.append(
        f'<text x="{middle:.0f}" y="{_TALL - 8}" text-anchor="middle">{escape(across.label)}</text>'
    )
    grid.append(f'<text x="{_LEFT - 40}" y="{_TOP - 20}">{escape(up.label)}</text>')
    keys = _legend(names)
    return (
        f'<svg viewBox="0 0 {_WIDE} {_TALL}" role="img" aria-label="{escape(label)}">'
        f"{''.join(grid)}{''.join(parts)}{keys}</svg>"
    )


def _legend(names: Sequence[str]) -> str:
    """Names with their colours, at the right end above the drawing."""
    parts, x = [], float(_WIDE - _RIGHT)
    for index, name in reversed(list(enumerate(names))):
        x -= 7 * len(name) + 20
        parts.append(
            f'<rect x="{x:.0f}" y="{_TOP - 26}" width="10" height="10" '
            f'fill="{COLOURS[index % len(COLOURS)]}"/>'
            f'<text x="{x + 14:.0f}" y="{_TOP - 17}">{escape(name)}</text>'
        )
    return "".join(parts)


def _x(place: float) -> float:
    return _LEFT + place * (_WIDE - _LEFT - _RIGHT)


def _y(place: float) -> float:
    return _TALL - _FOOT - place * (_TALL - _FOOT - _TOP)


def _number(value: float) -> str:
    return f"{value:.3g}"
