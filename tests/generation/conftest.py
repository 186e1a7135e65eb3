"""Tiny models, saved once per run, and messages to ask them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guardalign_middleware.generation import CalibratedRunner
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
