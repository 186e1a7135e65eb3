"""The one form of a picture inside the guard, and how its file was encoded."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.errors import GuardError
from guardalign_middleware.pixel_memory import MEMORY

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class SourceEncoding:
    """How the file of a picture was encoded, so that it can leave about as large as it came.

    Attributes:
        image_format: a key of `PIL.Image.OPEN`, such as "JPEG".
        image_bytes: bytes of the encoded picture; metadata are left out where that is known.
        lossless: whether the file held its pixels exactly.
        grey: whether it had one channel.
        progressive: of a JPEG.
        quantization: tables of a JPEG, 64 entries each, row by row of the upright picture: of the
            brightness, then of the colours; the last one holds for the components after it.
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
        again: makes the same pixels again. With it, the picture gives them up while many others
            are in use, and makes them at the next access; see `pixel_memory`. `packed` keeps them
            in a compressed form meanwhile, and None as they are.
    """

    pixels: Pixels
    source: str = "<array>"
    encoding: SourceEncoding | None = None
    file: bytes | None = field(default=None, repr=False)
    scaled_from: tuple[int, int] | None = None
    again: Callable[[], Pixels] | None = field(default=None, repr=False)
    _size: tuple[int, int] = field(init=False, repr=False)

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
        object.__setattr__(self, "_size", (int(pixels.shape[1]), int(pixels.shape[0])))
        if self.again is not None:
            MEMORY.hold(self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make pixels that were given up; only called for attributes that are not there."""
            if name != "pixels" or self.__dict__.get("again") is None:
                raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}.")
            return self._made_again()

    def _made_again(self) -> Pixels:
        assert self.again is not None
        pixels = self.again()
        if _digest(pixels) != self.sha256:
            raise GuardError(
                f"Decoding {self.source} again gave other pixels than were scanned.",
                stage="intake",
                remedy="Check the memory of the machine; nothing was forwarded.",
            )
        pixels.flags.writeable = False
        object.__setattr__(self, "pixels", pixels)
        MEMORY.hold(self)
        return pixels

    def release(self) -> None:
        """Give up the pixels until the next access; only a picture with `again` can."""
        if self.again is None:
            return
        _ = self.sha256  # by which they are recognized when they come back
        if self.again is packed:
            object.__setattr__(self, "again", _unpacker(self.pixels))
        self.__dict__.pop("pixels", None)

    def __getstate__(self) -> dict[str, Any]:
        # What makes the pixels again may hold anything, and a copy needs the pixels.
        return {**self.__dict__, "pixels": self.pixels, "again": None}

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self._size[0]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self._size[1]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of size and pixels: equal digests mean equal pictures."""
        return _digest(self.pixels)

    @cached_property
    def file_sha256(self) -> str | None:
        """Hex digest of the file; None without one."""
        return None if self.file is None else hashlib.sha256(self.file).hexdigest()

    def with_pixels(
        self,
        pixels: Pixels,
        scaled_from: tuple[int, int] | None = None,
        again: Callable[[], Pixels] | None = None,
    ) -> CanonicalImage:
        """A changed copy of this picture: it remembers the encoding and has no file.

        Args:
            pixels: of the copy.
            scaled_from: as in the class; None = that of this picture.
            again: as in the class.
        """
        return CanonicalImage(
            pixels, self.source, self.encoding, None, scaled_from or self.scaled_from, again
        )

    def named(self, source: str) -> CanonicalImage:
        """The same picture from another source; the pixels are shared, or made again for each."""
        if source == self.source:
            return self
        named = object.__new__(CanonicalImage)
        named.__dict__.update({**self.__dict__, "source": source})
        if self.again is not None:
            # Its own pixels only as long as this picture has them, which is decoded once for all.
            object.__setattr__(named, "again", lambda: self.pixels)
            if "pixels" in named.__dict__:
                MEMORY.hold(named)
        return named

    def to_pil(self) -> Image.Image:
        """A new PIL picture with the same pixels."""
        return Image.fromarray(self.pixels)


def packed() -> Pixels:
    """Stands for pixels that are compressed when they are given up, for want of a file.

    Raises:
        RuntimeError: always; the picture replaces it before it is called.
    """
    raise RuntimeError("The pixels were not compressed.")


def _unpacker(pixels: Pixels) -> Callable[[], Pixels]:
    data, shape = zlib.compress(np.ascontiguousarray(pixels).data, 1), pixels.shape
    return lambda: np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)


def _digest(pixels: Pixels) -> str:
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
