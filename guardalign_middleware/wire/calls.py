"""Requests and answers of `/v1/guard/scan` and `/v1/guard/sanitize`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from guardalign_middleware.config.base import Sha256
from guardalign_middleware.turns import Turn
from guardalign_middleware.wire.base import WIRE_VERSION, WireModel
from guardalign_middleware.wire.results import WireCleaning
from guardalign_middleware.wire.verdicts import WireVerdict

Version = Literal[1]
MAX_LABEL = 256


class SentImage(WireModel):
    """A picture, by itself.

    Attributes:
        image: the file in base64, or as a `data:` URL.
        pixels: whether the file is a PNG that only transports pixels, so that its size in bytes is
            of no concern.
        source: a label for the verdict, such as "photo.jpg".
    """

    image: str = Field(description="the file in base64, or as a data: URL")
    pixels: bool = Field(
        False, description="whether it is a PNG that only carries pixels, whatever its bytes"
    )
    source: str | None = Field(
        None, max_length=MAX_LABEL, description="a label for the verdict, such as photo.jpg"
    )


Images = Annotated[tuple[SentImage, ...], Field(min_length=1)]


class SentTurn(WireModel):
    """As `turns.Turn`: what is said in a turn, and how many of the pictures it has."""

    text: str
    images: int = Field(ge=0)

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """The JSON form of a turn."""
        return cls(text=turn.text, images=turn.images)

    def read(self) -> Turn:
        """The turn."""
        return Turn(self.text, self.images)


class ScanRequest(WireModel):
    """Pictures to scan; nothing is changed."""

    version: Version = WIRE_VERSION
    images: Images
    view_seed: str | None = Field(
        None, pattern=r"^[0-9a-f]{32}$", description="of an earlier verdict, to repeat its views"
    )
    evidence: bool = Field(False, description="whether to send the numbers of every patch")
    turns: tuple[SentTurn, ...] = Field(
        (), description="the turns that they belong to, in order; none = each by itself"
    )


class SanitizeRequest(ScanRequest):
    """Pictures to clean."""

    picture: bool = Field(True, description="whether to send the cleaned pictures")
    overlay: bool = Field(False, description="whether to send the pictures with what was found")


class ScanResponse(WireModel):
    """A verdict for each picture, in order."""

    version: Version = WIRE_VERSION
    guard: Sha256 = Field(description="fingerprint of the guard")
    verdicts: tuple[WireVerdict, ...]


class SanitizeResponse(WireModel):
    """A result for each picture, in order."""

    version: Version = WIRE_VERSION
    guard: Sha256 = Field(description="fingerprint of the guard")
    results: tuple[WireCleaning, ...]
