"""One image in every dialect, and the images of any value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.testing import png
from guardalign_middleware.testing.dialects import blocks_of
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign.message_walk import find_images

Forms = Callable[[CanonicalImage], dict[str, Any]]


@pytest.fixture(scope="session")
def forms() -> Forms:
    """The blocks by the name of their dialect."""
    return lambda image: blocks_of(png(image), "image/png")


@pytest.fixture(scope="session")
def pictures() -> Callable[[object], list[CanonicalImage]]:
    """Every image in a value, decoded, in reading order."""

    def decode(value: object) -> list[CanonicalImage]:
        policy = IntakePolicy()
        return [load_picture(found.part, found.place, policy) for found in find_images(value)]

    return decode
