"""Tiny models, made and loaded once per run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.generation import CalibratedRunner, LoadedModel, load_model
from tests.support.tiny.families import MATRIX
from tests.support.tiny.models import FAMILIES, save_built


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directory of a tiny model by family name; not to be changed."""
    root = tmp_path_factory.mktemp("models")
    return cache(lambda family: save_built(root / family, MATRIX[family]))


@pytest.fixture(scope="session", params=sorted(FAMILIES))
def family_runner(
    request: pytest.FixtureRequest, model_directory: Callable[[str], Path]
) -> CalibratedRunner:
    """A runner of every family in turn; not to be changed."""
    return CalibratedRunner.from_pretrained(
        str(model_directory(request.param)), device="cpu", max_new_tokens=8
    )


@pytest.fixture(scope="session")
def llava(model_directory: Callable[[str], Path]) -> LoadedModel:
    """A LLaVA that runners may share; a test that changes the model changes it back."""
    return load_model(RunnerConfig(model=str(model_directory("llava")), device="cpu"))


@pytest.fixture(scope="session")
def make_runner(llava: LoadedModel) -> Callable[..., CalibratedRunner]:
    """Makes a LLaVA runner; keywords are fields of its config."""

    def make(**fields: Any) -> CalibratedRunner:
        fields = {"model": llava.name, "device": "cpu", "max_new_tokens": 8, **fields}
        return CalibratedRunner(llava, RunnerConfig.model_validate(fields))

    return make


@pytest.fixture(scope="session")
def runner(make_runner: Callable[..., CalibratedRunner]) -> CalibratedRunner:
    """A LLaVA runner; not to be changed."""
    return make_runner()
