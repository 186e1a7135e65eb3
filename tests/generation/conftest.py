"""Tiny models, saved once per run, and messages to ask them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart
from tests.support.tiny.models import FAMILIES, save_tiny_model


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directory of a tiny model by family name."""
    root = tmp_path_factory.mktemp("models")

    def directory(family: str) -> Path:
        path = root / family
        return path if path.exists() else save_tiny_model(path, family)

    return directory


@pytest.fixture(scope="session", params=sorted(FAMILIES))
def family_runner(
    request: pytest.FixtureRequest, model_directory: Callable[[str], Path]
) -> CalibratedRunner:
    """A runner of every family in turn; not to be changed."""
    return CalibratedRunner.from_pretrained(
        str(model_directory(request.param)), device="cpu", max_new_tokens=8
    )


@pytest.fixture(scope="session")
def runner(model_directory: Callable[[str], Path]) -> CalibratedRunner:
    """A LLaVA runner; not to be changed."""
    return CalibratedRunner.from_pretrained(
        str(model_directory("llava")), device="cpu", max_new_tokens=8
    )


def picture(seed: int = 0, width: int = 40, height: int = 30) -> CanonicalImage:
    """Seeded noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return CanonicalImage(pixels)


def user(*parts: str | CanonicalImage) -> Message:
    """A user message of texts and images."""
    return Message(
        "user", tuple(TextPart(p) if isinstance(p, str) else ImagePart(p) for p in parts)
    )


def conversations() -> list[list[Message]]:
    """One image, text only with history and system, several images, an image in an older turn."""
    return [
        [user(picture(1), "What is in the picture?")],
        [
            Message("system", (TextPart("Be brief."),)),
            user("Hello"),
            Message("assistant", (TextPart("Hello. How can I help?"),)),
            user("Tell me how to bake bread,\nplease. 🍞 谢谢"),
        ],
        [user(picture(2), picture(3), "x")],
        [
            user(picture(4), "What is this?"),
            Message("assistant", (TextPart("A dog."),)),
            user("Really?"),
        ],
    ]
