"""What the page draws itself, as HTML and SVG; every word in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.playground.attention import Attention
from guardalign_middleware.playground.inspection import Probe
from guardalign_middleware.playground.layers import Place, Tag
from guardalign_middleware.playground.settings import EXPONENTS
from guardalign_middleware.types import Verdict

_MOST_TAGS = 12
_WORDS = {"allow": "Allowed", "mask": "Masked", "block": "Blocked"}


def decision_word(verdict: Verdict) -> str:
    """The decision in one word."""
    return _WORDS[verdict.decision]


def explanation(verdict: Verdict) -> str:
    """The decision in one sentence."""
    numbers = f"distance {number(verdict.distance)}, threshold {number(verdict.threshold)}"
    if verdict.decision == "allow":
        return f"Nothing is near enough to “{verdict.category}”, the nearest concept: {numbers}."
    count = sum(region.action != "flag" for region in verdict.regions)
    where = f" in {count} region{'' if count == 1 else 's'}" if count else ""
    end = " No model gets to see this picture." if verdict.decision == "block" else ""
    return f"“{verdict.category}”{where}: {numbers}.{end}"


def number(value: float) -> str:
    """A distance as a person reads it."""
    return f"{value:.2g}" if 0.0 < abs(value) < 0.01 else f"{value:.3f}"


def regions_overlay(
    tags: Sequence[Tag], masks: Sequence[Place], *, final: bool, probed: Place | None = None
) -> str:
    """Boxes over the picture: what will be hidden, what was found, and what was asked about."""
    parts = [
        f'<div class="ga-mask{" ga-final" if final else ""}" style="{place.style}"></div>'
        for place in masks
    ]
    if probed is not None:
        parts.append(f'<div class="ga-probed" style="{probed.style}"></div>')
    above: list[Place] = []
    for index, tag in enumerate(tags):
        label = ""
        if index < _MOST_TAGS:
            crowded = any(_touch(tag.place, other) for other in above)
            low = " ga-low" if tag.place.top < 10.0 or crowded else ""
            if not low:
                above.append(tag.place)
            label = (
                f'<span class="ga-tag{low}">{escape(tag.category)} '
                f"<b>{number(tag.distance)}</b></span>"
            )
        kind = " ga-reported" if tag.action == "flag" else ""
        parts.append(f'<div class="ga-region{kind}" style="{tag.place.style}">{label}</div>')
    return "".join(parts)


def _touch(one: Place, other: Place) -> bool:
    """Whether labels above these places would lie on one another."""
    return abs(one.left - other.left) < 32.0 and abs(one.top - other.top) < 8.0


def region_rows(verdict: Verdict) -> str:
    """The rows of the table of regions."""
    if not verdict.regions:
        return '<tr><td colspan="3" class="ga-none">No region is near enough.</td></tr>'
    rows = []
    for region in verdict.regions[:_MOST_TAGS]:
        x0, y0, x1, y1 = region.box
        name = escape(region.category) + (" (words)" if region.kind == "words" else "")
        action = "only reported" if region.action == "flag" else region.action
        rows.append(
            f"<tr><td>{name}<small>{action}</small></td><td>{number(region.distance)}</td>"
            f"<td>{x0}, {y0} – {x1}, {y1}</td></tr>"
        )
    left = len(verdict.regions) - _MOST_TAGS
    if left > 0:
        rows.append(f'<tr><td colspan="3" class="ga-none">and {left} more</td></tr>')
    return "".join(rows)


def probe_words(probe: Probe | None) -> str:
    """What lies under a point, in one sentence."""
    if probe is None:
        return "No crop covers this point."
    sign = "at most" if probe.distance <= probe.threshold else "above"
    return (
        f"Here: {number(probe.distance)} to “{probe.category}”, {sign} its threshold of "
        f"{number(probe.threshold)}."
    )


def histogram_svg(counts: NDArray[np.int64], exponent: float) -> str:
    """The distances of all patches as bars on the scale of the threshold slider.

    Args:
        counts: from `layers.histogram`.
        exponent: where the slider stands.
    """
    low, high = EXPONENTS
    step = (high - low) / len(counts)
    # Some bins hold one patch and some a hundred; both should be seen.
    heights = np.sqrt(counts / max(int(counts.max(initial=0)), 1))
    width = 100.0 / len(counts)
    bars = []
    for index, share in enumerate(heights.tolist()):
        if share == 0.0:
            continue
        unsafe = low + (index + 0.5) * step <= exponent
        height = max(36.0 * share, 3.0)
        bars.append(
            f'<rect class="{"ga-hot" if unsafe else "ga-cold"}" x="{index * width + 0.2:.2f}" '
            f'y="{40 - height:.2f}" width="{width - 0.4:.2f}" height="{height:.2f}"/>'
        )
    at = 100.0 * (exponent - low) / (high - low)
    return (
        '<svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">'
        f'{"".join(bars)}<line class="ga-limit" x1="{at:.2f}" x2="{at:.2f}" y1="0" y2="40"/></svg>'
    )


def attention_svg(attention: Attention) -> str:
    """Attention to the prefix over the layers, without and with calibration."""
    width, height, left, bottom, top = 720.0, 260.0, 52.0, 36.0, 16.0
    count = len(attention.layers)
    highest = max([*attention.plain, *attention.calibrated, 0.01])
    ceiling = next(step for step in (0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if step >= highest - 1e-9)

    def x(index: float) -> float:
        return left + (width - left - 16.0) * (index + 0.5) / count

    def y(share: float) -> float:
        return height - bottom - (height - bottom - top) * share / ceiling

    parts = [
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_label(attention)}">'
    ]
    for index, layer in enumerate(attention.layers):
        if layer in attention.active:
            parts.append(
                f'<rect class="ga-band" x="{x(index - 0.5):.1f}" y="{top:g}" '
                f'width="{x(1) - x(0):.1f}" height="{height - bottom - top:.1f}"/>'
            )
    for share in (0.0, ceiling / 2, ceiling):
        parts.append(
            f'<line class="ga-grid" x1="{left:g}" x2="{width - 16:g}" y1="{y(share):.1f}" '
            f'y2="{y(share):.1f}"/><text x="{left - 8:g}" y="{y(share) + 4:.1f}" '
            f'text-anchor="end">{share:.0%}</text>'
        )
    for index, layer in enumerate(attention.layers):
        if count <= 16 or index % (count // 12 + 1) == 0:
            parts.append(
                f'<text x="{x(index):.1f}" y="{height - 12:g}" text-anchor="middle">{layer}</text>'
            )
    for name, shares in (("plain", attention.plain), ("calibrated", attention.calibrated)):
        points = [(x(index), y(share)) for index, share in enumerate(shares)]
        line = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        dots = "".join(f'<circle cx="{a:.1f}" cy="{d:.1f}" r="4.5"/>' for a, d in points)
        parts.append(f'<g class="ga-{name}"><polyline points="{line}"/>{dots}</g>')
    return "".join([*parts, "</svg>"])


def attention_rows(attention: Attention) -> str:
    """The same numbers as rows of a table."""
    rows = zip(attention.layers, attention.plain, attention.calibrated, strict=True)
    return "".join(
        f"<tr><th scope=row>{layer}{' (calibrated)' if layer in attention.active else ''}</th>"
        f"<td>{plain:.1%}</td><td>{calibrated:.1%}</td></tr>"
        for layer, plain, calibrated in rows
    )


def _label(attention: Attention) -> str:
    return escape(f"Attention to the safety prefix by layer. {attention.summary}", quote=True)
