"""The step `review`: one page of HTML with the rates, and the pictures nearest to the threshold.

Unsafe pictures are never shown as they are: what the guard hides is covered, and one of which it
hides nothing or everything is made of a few coarse squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from PIL import ImageDraw

from guardalign_middleware.detection import ThresholdProfile
from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.first_day.fitting import Fitted, Measured, margin
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.thumbnails import covered_thumbnail, thumbnail
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.writing import write_whole

EACH = 8
"""Pictures of each kind."""


@dataclass(frozen=True)
class Kind:
    """A kind of picture on the page, nearest to the threshold first.

    Attributes:
        title: what the guard does to them.
        pictures: with how far they are from being flagged.
        count: how many there are of this kind.
    """

    title: str
    pictures: tuple[tuple[float, Measured], ...]
    count: int


def kinds_of(
    fitted: Fitted, safe: Sequence[Measured], unsafe: Sequence[Measured]
) -> tuple[Kind, ...]:
    """The pictures nearest to the threshold, on both sides of it."""
    kinds = []
    for images, flagged, title in (
        (safe, True, "Safe, and flagged: false alarms"),
        (safe, False, "Safe, and allowed"),
        (unsafe, False, "Unsafe, and allowed: misses"),
        (unsafe, True, "Unsafe, and flagged"),
    ):
        far = [(margin(fitted.profile, one.distances), one) for one in images]
        own = sorted(
            (pair for pair in far if (pair[0] <= 0) == flagged), key=lambda pair: abs(pair[0])
        )
        kinds.append(Kind(title, tuple(own[:EACH]), len(own)))
    return tuple(kinds)


def write_sheet(
    target: Path,
    guard: ImageGuard,
    fitted: Fitted,
    safe: Sequence[Measured],
    unsafe: Sequence[Measured],
    notes: Sequence[str],
) -> None:
    """Write the page.

    Args:
        target: the page.
        guard: with the profile.
        fitted: the thresholds, and which of the pictures were held out, as far as it is known.
        safe: all safe pictures.
        unsafe: all unsafe pictures.
        notes: sentences about the numbers of pictures.

    Raises:
        ConfigError: it cannot be written.
        ImageRejected: a picture is gone.
    """
    parts = [_rates(fitted.profile), _list(notes)]
    for kind in kinds_of(fitted, safe, unsafe):
        parts.append(f"<h2>{escape(kind.title)} <small>{kind.count}</small></h2>")
        if not kind.pictures:
            parts.append("<p>none</p>")
            continue
        cells = "".join(_figures(guard, fitted, kind))
        parts.append(f'<div class="sheet">{cells}</div>')
    page = files(__package__).joinpath("review.html").read_text(encoding="utf-8")
    text = page.replace("__TITLE__", escape(guard.config.name)).replace(
        "__BODY__", "\n".join(parts)
    )
    write_whole(target, text.encode("utf-8", "backslashreplace"))


def _rates(profile: ThresholdProfile) -> str:
    fit = profile.fit
    measures = [
        ("safe pictures flagged", fit.max_false_alarm, fit.held_out_safe),
        ("unsafe pictures missed", fit.max_miss, fit.held_out_unsafe),
    ]
    if fit.traffic is not None:
        measures.insert(0, ("pictures flagged", fit.traffic.max_flagged, fit.traffic.held_out))
    rows = []
    for name, bound, counts in measures:
        promised = "–" if bound is None else f"at most {bound:.3g}"
        measured = str(rate(*counts)) if counts and counts[1] else "–"
        total = counts[1] if counts else 0
        cells = (name, promised, measured, str(total))
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    head = "<tr><th></th><th>promised</th><th>held out, with 95% interval</th><th>of</th></tr>"
    return f"<table>{head}{''.join(rows)}</table><p>{escape(profile.guarantee)}</p>"


def _list(notes: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def _figures(guard: ImageGuard, fitted: Fitted, kind: Kind) -> Iterator[str]:
    for distance, one in kind.pictures:
        image = guard.load(one.picture.read())
        verdict = guard.scan(image)
        small = _thumbnail(image, verdict, shown=one.side == "safe")
        held = ", held out" if one.sha256 in fitted.held_out else ""
        label = f"{one.picture.name} · {distance:+.4f}{held}"
        said = verdict.category if distance <= 0 else f"nearest: {verdict.category}"
        yield (
            f'<figure><img src="{small}" alt="">'
            f"<figcaption>{escape(label)}<br>{escape(said)}</figcaption></figure>"
        )


def _thumbnail(image: CanonicalImage, verdict: Verdict, *, shown: bool) -> str:
    """A data URL.

    Args:
        image: the picture.
        verdict: what was found in it.
        shown: whether it may be shown as it is, with a line around what was found.
    """
    boxes = [region.box for region in verdict.regions]
    if not shown:
        blocked = "block" in (verdict.decision, verdict.would_be)
        return covered_thumbnail(image.pixels, () if blocked else boxes)
    picture = image.to_pil()
    draw = ImageDraw.Draw(picture)
    width = max(2, max(picture.size) // 100)
    for box in boxes:
        draw.rectangle(box, outline=(230, 60, 0), width=width)
    return thumbnail(picture)
