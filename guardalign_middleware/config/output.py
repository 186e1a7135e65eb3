"""How pictures leave the guard."""

from __future__ import annotations

from pydantic import Field

from guardalign_middleware.config.base import MAX_COUNT, FrozenModel


class OutputConfig(FrozenModel):
    """How pictures leave the guard: encoded from the scanned pixels, in their source's format.

    The defaults fit what providers accept: Anthropic takes no picture of more than 5 MB or of
    more than 8000 pixels on a side, and others take more. A picture of more than `max_side` is
    scaled down before it is scanned, and its verdict says so. One of more than `max_bytes` becomes
    a JPEG of lower quality. Only if none that fits shows what was scanned is it scaled down as
    well.

    With `original=True`, the bytes of an allowed picture go on as they came, whatever their size.
    Metadata go with them, such as the place where a photo was taken, and another decoder may see
    other pixels in them than were scanned. Masked pictures are encoded as always.
    """

    max_bytes: int = Field(4_500_000, ge=10_000, le=MAX_COUNT, description="of one encoded picture")
    max_side: int | None = Field(
        8000,
        ge=64,
        le=MAX_COUNT,
        description="longer side in pixels; None = 65,500, the limit of JPEG",
    )
    original: bool = Field(False, description="forward the bytes of allowed pictures untouched")
