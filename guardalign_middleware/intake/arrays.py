"""Arrays and tensors as pictures: which ones are, and how a cleaned picture is put back.

An array of numbers is a picture if its two sides have at least 16 entries, it has a channel axis of
1 to 4 entries before or behind them, and its values fit the range of one: whole numbers up to 255
or 65535, or any floats. Without a channel axis, its values have to fit a grey picture: 0 to 1, or 0
to 255. Axes in front are a batch. Vectors, small matrices, and matrices with negative entries are
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LEAST_SIDE = 16
_CHANNELS = {1, 2, 3, 4}


def as_array(value: Any) -> NDArray[Any] | None:
    """An array, a tensor of any library, or a table, as a NumPy array; None for anything else."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic | type):
        return None
    if not any(hasattr(type(value), name) for name in ("__array__", "__array_interface__")):
        return None
    try:
        if _is_tensor(value):
            value = value.detach().cpu()
            if value.is_floating_point():
                value = value.float()
            return np.asarray(value.numpy())
        return np.asarray(value)
    except MemoryError:
        raise  # It may hold a picture all the same.
    except Exception:  # noqa: BLE001
        # What cannot be converted, such as a sparse tensor, is a value of an unknown kind.
        return None


def like(value: Any, array: NDArray[Any]) -> Any:
    """An array in the type of the value that it came from, where that type can be made of it."""
    if isinstance(value, np.ndarray):
        return array
    try:
        return value.new_tensor(array) if _is_tensor(value) else type(value)(array)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001
        return array


def as_numbers(data: Any, array: NDArray[Any]) -> NDArray[Any]:
    """Bytes as an array of the same type, with a number for each byte."""
    if array.dtype.itemsize == 1:
        return np.frombuffer(bytes(data), dtype=array.dtype).copy()
    return np.frombuffer(bytes(data), dtype=np.uint8).astype(array.dtype)


def could_be_picture(array: NDArray[Any]) -> bool:
    """Whether an array has two sides of a picture, whatever its numbers are."""
    return array.dtype.kind in "biufcV" and sum(side >= _LEAST_SIDE for side in array.shape) >= 2


@dataclass(frozen=True, eq=False)
class ArrayPictures:
    """The pictures in an array.

    Attributes:
        array: the whole array.
        sure: whether its type and shape are those of a picture, rather than of any numbers.
    """

    array: NDArray[Any]
    sure: bool
    _channels: str
    _low: float
    _high: float

    def __len__(self) -> int:
        return len(self._batch(self.array))

    def pictures(self) -> Iterator[Image.Image]:
        """Each picture, with 8 bits a channel."""
        return (self._picture(pixels) for pixels in self._batch(self.array))

    def put(self, cleaned: Sequence[Image.Image | None]) -> NDArray[Any]:
        """The array with what differs in the cleaned pictures; None blanks a picture.

        Returns:
            The same array if they show the same pixels.
        """
        new = self.array.copy()
        changed = False
        for pixels, picture in zip(self._batch(new), cleaned, strict=True):
            changed = self._put(pixels, picture) or changed
        return new if changed else self.array

    def _put(self, pixels: NDArray[Any], picture: Image.Image | None) -> bool:
        count = pixels.shape[2]
        if picture is None:
            pixels[...] = self._levels(np.zeros(pixels.shape))
            return True
        height, width = pixels.shape[:2]
        if picture.size != (width, height):
            picture = picture.resize((width, height))
        old = np.asarray(self._picture(pixels).convert("RGB"))
        new = np.asarray(picture.convert("RGB"))
        where = (old != new).any(axis=2)
        if not where.any():
            return False
        colours = new if count >= 3 else np.asarray(picture.convert("L"))[..., None]
        shown = 3 if count >= 3 else 1
        pixels[where, :shown] = self._levels(colours[where])
        if count > shown:
            pixels[where, shown:] = self._levels(np.full((int(where.sum()), 1), 255))
        return True

    def _picture(self, pixels: NDArray[Any]) -> Image.Image:
        if pixels.dtype == np.uint8:
            eight = pixels
        else:
            scaled = (np.nan_to_num(pixels.astype(float)) - self._low) / (self._high - self._low)
            eight = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
        count = eight.shape[2]
        if count == 4 and (eight[..., 3] == 255).all():
            eight, count = eight[..., :3], 3
        if count <= 2:
            return Image.fromarray(np.ascontiguousarray(eight[..., 0]))
        return Image.fromarray(np.ascontiguousarray(eight))

    def _levels(self, eight: NDArray[Any]) -> NDArray[Any]:
        values = self._low + eight / 255 * (self._high - self._low)
        exact = self.array.dtype.kind in "iub"
        return (np.rint(values) if exact else values).astype(self.array.dtype)

    def _batch(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Views of the pictures, each `[height, width, channels]`."""
        if self._channels == "first":
            array = np.moveaxis(array, -3, -1)
        elif self._channels == "none":
            array = array[..., None]
        return [array[index] for index in np.ndindex(*array.shape[:-3])]


def pictures_in(array: NDArray[Any]) -> ArrayPictures | None:
    """The pictures in an array; None if it is no picture by the rule of this module."""
    if array.ndim < 2 or array.dtype.kind not in "biuf" or array.size == 0:
        return None
    channels = _channel_axis(array)
    if channels is None:
        return None
    levels = _level_range(array, plain=channels == "none")
    if levels is None:
        return None
    sure = array.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)} and channels != "none"
    return ArrayPictures(array, sure, channels, *levels)


def _channel_axis(array: NDArray[Any]) -> str | None:
    shape = array.shape
    if array.ndim >= 3 and shape[-1] in _CHANNELS and min(shape[-3:-1]) >= _LEAST_SIDE:
        return "last"
    if array.ndim >= 3 and shape[-3] in _CHANNELS and min(shape[-2:]) >= _LEAST_SIDE:
        return "first"
    bytes_only = array.dtype.kind == "b" or array.dtype == np.uint8
    if min(shape[-2:]) >= _LEAST_SIDE and (array.ndim == 2 or bytes_only):
        return "none"
    return None


def _level_range(array: NDArray[Any], *, plain: bool) -> tuple[float, float] | None:
    """What is black and what is white; None if the values are no picture's."""
    if array.dtype.kind == "b":
        return 0, 1
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if finite.size == 0:
        return None
    low, high = float(finite.min()), float(finite.max())
    if array.dtype.kind in "iu":
        white = 255 if high <= 255 else 65535
        return (0, white) if 0 <= low and high <= white else None
    if low >= 0 and high <= 255:
        return (0, 1) if high <= 1 else (0, 255)
    # Normalised for a model.
    return None if plain or low == high else (low, high)


def _is_tensor(value: Any) -> bool:
    return hasattr(type(value), "new_tensor") and hasattr(type(value), "detach")
