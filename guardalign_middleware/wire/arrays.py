"""Arrays of numbers in JSON: their bytes in base64, with type and shape beside them."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.wire.base import WireModel

NumberType = Literal["<f8", "<i8"]
"""As numpy spells them: 64 bits, little-endian, real or whole."""


class WireArray(WireModel):
    """An array; what is read back has the same bits and is read-only."""

    dtype: NumberType
    shape: tuple[int, ...]
    data: str

    @classmethod
    def of(cls, array: NDArray[Any], dtype: NumberType) -> Self:
        """The JSON form of an array."""
        raw = np.ascontiguousarray(array, dtype=dtype).tobytes()
        return cls(dtype=dtype, shape=array.shape, data=base64.b64encode(raw).decode("ascii"))

    def read(self, dtype: NumberType, shape: tuple[int, ...]) -> NDArray[Any]:
        """The array.

        Args:
            dtype: that it should have.
            shape: that it should have; -1 stands for any length.

        Raises:
            ValueError: it has another type or shape, or its bytes do not fill it.
        """
        fits = len(self.shape) == len(shape) and all(
            found >= 0 and wanted in (found, -1)
            for found, wanted in zip(self.shape, shape, strict=True)
        )
        if self.dtype != dtype or not fits:
            raise ValueError(
                f"array should be {dtype} with shape {shape}. Got {self.dtype} {self.shape}."
            )
        try:
            raw = base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise ValueError("array should be base64.") from error
        if len(raw) != 8 * math.prod(self.shape):
            raise ValueError(f"array of shape {self.shape} has {len(raw)} bytes.")
        return np.frombuffer(raw, dtype=dtype).reshape(self.shape)
