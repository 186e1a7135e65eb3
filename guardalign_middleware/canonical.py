"""The one form of a picture inside the guard, and how its file was encoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class SourceEncoding:
    """How the file of a picture was encoded, so that it can leave about as large as it came.

    Attributes:
        image_format: a key of `PIL.Image.OPEN`, such as "JPEG".
        image_bytes: bytes of the encoded picture; metadata are left out where that is known.
        lossless: whether the file held its pixels exactly.
        grey: whether it had one channel.
        progressive: of a JPEG.
        quantization: tables of a JPEG, 64 entries each, row by row of the upright picture.
        subsampling: of a JPEG, as Pillow numbers it: 0 = 4:4:4, 1 = 4:2:2, 2 = 4:2:0.
    """

    image_format: str
    image_bytes: int
    lossless: bool = True
    grey: bool = False
    progressive: bool = False
    quantization: tuple[tuple[int, ...], ...] = ()
    subsampling: int = 2


@dataclass(frozen=True, eq=False)
class CanonicalImage:
    """One decoded, upright, opaque RGB picture; detector and model both receive these pixels.

    Attributes:
        pixels: uint8 `[H, W, 3]`, read-only.
        source: its origin, for messages and logs ("photo.jpg", "<bytes>"); never a data URL.
        encoding: how its file was encoded; None for a picture that comes from no file.
        file: the bytes of the file that decodes to these pixels; None for a picture of several
            frames, from no file, or changed since.
        scaled_from: width and height before the guard scaled it down; None if it did not.
    """

    pixels: NDArray[np.uint8]
    source: str = "<array>"
    encoding: SourceEncoding | None = None
    file: bytes | None = field(default=None, repr=False)
    scaled_from: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(
                "pixels must be uint8 with shape (height, width, 3). "
                f"Got {pixels.dtype} {tuple(pixels.shape)}."
            )
        if pixels.flags.writeable:
            pixels = pixels.copy()
            pixels.flags.writeable = False
            object.__setattr__(self, "pixels", pixels)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    @cached_property
    def sha256(self) -> str:
        """Hex digest of size and pixels: equal digests mean equal pictures."""
        digest = hashlib.sha256(f"{self.width}x{self.height}:".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    @cached_property
    def file_sha256(self) -> str | None:
        """Hex digest of the file; None without one."""
        return None if self.file is None else hashlib.sha256(self.file).hexdigest()

    def with_pixels(
        self, pixels: NDArray[np.uint8], scaled_from: tuple[int, int] | None = None
    ) -> CanonicalImage:
        """A changed copy of this picture: it remembers the encoding and has no file.

        Args:
            pixels: of the copy.
            scaled_from: as in the class; None = that of this picture.
        """
        return CanonicalImage(
            pixels, self.source, self.encoding, None, scaled_from or self.scaled_from
        )

    def to_pil(self) -> Image.Image:
        """A new PIL picture with the same pixels."""
        return Image.fromarray(self.pixels)
