"""A picture and what was found on it, in the forms that a page can show."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.heat_picture import heat_layer
from guardalign_middleware.playground.settings import EXPONENTS
from guardalign_middleware.types import Action, Box, CanonicalImage, RegionKind, Verdict

_LONGEST = 1280
_SMALL = 512
_BINS = 50


@dataclass(frozen=True)
class Place:
    """A box in percent of the picture, so that it fits at every size."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of(cls, box: Box, width: int, height: int) -> Place:
        """A box of a picture of this size."""
        x0, y0, x1, y1 = box
        return cls(
            100.0 * x0 / width,
            100.0 * y0 / height,
            100.0 * (x1 - x0) / width,
            100.0 * (y1 - y0) / height,
        )

    @property
    def style(self) -> str:
        """As CSS."""
        return (
            f"left:{self.left:.3f}%;top:{self.top:.3f}%;"
            f"width:{self.width:.3f}%;height:{self.height:.3f}%"
        )


@dataclass(frozen=True)
class Tag:
    """A region with its label."""

    place: Place
    category: str
    distance: float
    action: Action
    kind: RegionKind


def tags_of(verdict: Verdict) -> tuple[Tag, ...]:
    """The regions of a verdict, nearest first."""
    return tuple(
        Tag(
            Place.of(region.box, verdict.width, verdict.height),
            region.category,
            region.distance,
            region.action,
            region.kind,
        )
        for region in verdict.regions
    )


def picture_url(image: CanonicalImage, longest: int = _LONGEST) -> str:
    """A picture as a data URL, scaled down to fit a page."""
    picture = image.to_pil()
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    # Small pictures are often drawings, which JPEG blurs.
    if max(picture.size) <= _SMALL:
        return _url(picture, "PNG", "image/png")
    return _url(picture, "JPEG", "image/jpeg")


def heat_url(verdict: Verdict) -> str:
    """The heat as a data URL, to lay on the picture at its size."""
    return _url(heat_layer(verdict), "PNG", "image/png")


def _url(picture: Image.Image, kind: str, mime_type: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return f"data:{mime_type};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def histogram(verdict: Verdict, factor: float) -> NDArray[np.int64]:
    """How many patches lie how far from the preset's own thresholds.

    Bins share the scale of the threshold slider: powers of ten of the preset's threshold, from the
    first to the last of `EXPONENTS`. So a patch is unsafe when it lies left of the slider's thumb.

    Args:
        verdict: with its evidence.
        factor: by which its thresholds differ from the preset's.

    Returns:
        int64 `[50]`; patches beyond either end are counted in the last bin there.
    """
    own = np.maximum(verdict.patch_thresholds / factor, 1e-12)
    shares = np.maximum(verdict.evidence.patch_distances / own, 1e-12)
    places = np.clip(np.log10(shares), EXPONENTS[0], np.nextafter(EXPONENTS[1], 0.0))
    counts, _ = np.histogram(places, bins=_BINS, range=EXPONENTS)
    return counts.astype(np.int64)
