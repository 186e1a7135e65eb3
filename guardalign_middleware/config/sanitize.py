"""How unsafe regions are hidden."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from guardalign_middleware.config.base import MAX_COUNT, ColourLevel, FrozenModel


class SanitizeConfig(FrozenModel):
    """How unsafe regions are hidden."""

    method: Literal["mask", "blur", "block"] = "mask"
    fill: tuple[ColourLevel, ColourLevel, ColourLevel] = (127, 127, 127)
    margin: float = Field(
        0.15,
        ge=0.0,
        le=1.0,
        description="hide this much around a region on every side, as a share of its longer side",
    )
    max_rounds: int = Field(
        3,
        ge=1,
        le=MAX_COUNT,
        description="scans after masking that find no new place, before a block",
    )
    max_masked_fraction: float = Field(0.6, gt=0.0, le=1.0, description="block above this share")
