"""The keywords of a generation: defaults, limits, and the same ones in every runner."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation import CalibratedRunner, Runner
from guardalign_middleware.generation.attention import forward
from guardalign_middleware.generation.awaiting import start_batch
from guardalign_middleware.generation.options import (
    GenerationOptions,
    ResolvedOptions,
    resolve_options,
)
from guardalign_middleware.generation.output import OutputRunner
from guardalign_middleware.generation.prompt import control_tokens
from guardalign_middleware.testing import BarrierRunner, EagerRunner, EchoRunner
from tests.support.messages import user

CONFIG = RunnerConfig(model="m", max_new_tokens=7, temperature=0.5, seed=3)
WAYS: list[Callable[..., Any]] = [
    lambda runner, **more: runner.generate([user("hi")], **more),
    lambda runner, **more: runner.generate_batch([[user("hi")]], **more),
    lambda runner, **more: list(runner.stream([user("hi")], **more)),
    lambda runner, **more: start_batch(runner, [[user("hi")]], **more)[0].future.result(30),
]


def test_absent_and_none_values_come_from_the_config() -> None:
    defaults = ResolvedOptions(7, 0.5, 3, (), ())
    assert resolve_options(CONFIG, {}) == defaults
    nothing: GenerationOptions = {
        "max_new_tokens": None,
        "temperature": None,
        "seed": None,
        "stop": None,
    }
    assert resolve_options(CONFIG, nothing) == defaults


def test_given_values_win_also_where_they_are_zero() -> None:
    options: GenerationOptions = {
        "max_new_tokens": 1,
        "temperature": 0.0,
        "seed": 0,
        "stop": ["a"],
        "tools": [{"type": "function"}],
    }
    expected = ResolvedOptions(1, 0.0, 0, ("a",), ({"type": "function"},))
    assert resolve_options(CONFIG, options) == expected


@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("kind", ["local", "hooked", "echo", "eager"])
def test_an_unknown_keyword_is_a_type_error_in_every_runner(
    runner: CalibratedRunner, way: int, kind: str
) -> None:
    runners: dict[str, Runner] = {
        "local": runner,
        "hooked": OutputRunner(runner, lambda _, answer: answer),
        "echo": EchoRunner(),
        "eager": EagerRunner(),
    }
    with pytest.raises(TypeError, match="'max_tokens'"):
        WAYS[way](runners[kind], max_tokens=3)
    with pytest.raises(ConfigError, match="max_new_tokens should be >= 1. Received 0"):
        WAYS[way](runners[kind], max_new_tokens=0)


@pytest.mark.parametrize("kind", [CalibratedRunner, OutputRunner, EchoRunner, BarrierRunner])
def test_the_list_of_keywords_is_written_once(kind: type) -> None:
    """A runner that names an option of its own would drift from the others."""
    for method in ("generate", "generate_batch", "stream"):
        named = inspect.signature(getattr(kind, method)).parameters
        assert not named.keys() & GenerationOptions.__annotations__.keys()


def test_the_options_need_no_torch() -> None:
    code = (
        "import sys, guardalign_middleware.generation.options;"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", [forward, control_tokens])
def test_the_examples_in_docstrings_run(module: Any) -> None:
    found = doctest.testmod(module, raise_on_error=False)
    assert found.attempted > 0
    assert found.failed == 0
