"""The keywords of a generation: defaults, limits, and the same ones in every runner."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

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


ODD: list[dict[str, Any]] = [
    {"max_new_tokens": 1e9},
    {"max_new_tokens": 10**9},
    {"max_new_tokens": 10**5000},
    {"max_new_tokens": -1},
    {"max_new_tokens": True},
    {"max_new_tokens": "8"},
    {"temperature": -0.1},
    {"temperature": float("nan")},
    {"temperature": float("inf")},
    {"temperature": 1e308},
    {"temperature": 10**5000},
    {"temperature": "0.5"},
    {"temperature": True},
    {"temperature": 1j},
    {"seed": 2**64},
    {"seed": -(2**63) - 1},
    {"seed": 1.5},
    {"seed": "one"},
    {"seed": False},
    {"stop": "END"},
    {"stop": ["a", ""]},
    {"stop": [1]},
    {"stop": 3},
    {"stop": b"END"},
    {"tools": "search"},
    {"tools": ["search"]},
    {"tools": [{"name": object()}]},
    {"tools": [{"name": float("nan")}]},
    {"tools": [{(1, 2): "x"}]},
    {"tools": {"type": "function"}},
]


@pytest.mark.parametrize("options", ODD, ids=lambda odd: str(list(odd)[0]))
def test_an_impossible_value_is_a_config_error_before_anything_runs(options: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        resolve_options(CONFIG, options)


def test_a_circular_or_deep_tool_is_a_config_error() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"in": deep}
    for tool in (circle, deep):
        with pytest.raises(ConfigError, match="tools"):
            resolve_options(CONFIG, {"tools": [tool]})


@pytest.mark.parametrize("field", ["max_new_tokens", "temperature", "seed"])
def test_a_config_has_the_limits_of_a_call(field: str) -> None:
    for odd in ODD:
        value = odd.get(field)
        # Numbers only: pydantic reads "8" and True as numbers.
        if type(value) in (int, float):
            with pytest.raises(ValidationError, match=field):
                RunnerConfig.model_validate({"model": "m", field: value})


ANY = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.lists(st.integers() | st.text())
    | st.dictionaries(st.text(), st.integers())
)


@given(st.dictionaries(st.sampled_from(list(GenerationOptions.__annotations__)), ANY))
def test_whatever_is_given_is_resolved_within_the_limits_or_refused(options: Any) -> None:
    try:
        resolved = resolve_options(CONFIG, options)
    except ConfigError:
        return
    assert 1 <= resolved.max_new_tokens <= 1_000_000
    assert resolved.temperature == 0.0 or 1e-5 <= resolved.temperature <= 1000.0
    torch.Generator().manual_seed(resolved.seed)
    assert all(isinstance(item, str) and item for item in resolved.stop)


@pytest.mark.parametrize("temperature", [0, 1e-320, 1e-46, 1e-8, np.float32(0.0)])
def test_a_temperature_without_room_for_chance_is_greedy(temperature: Any) -> None:
    assert resolve_options(CONFIG, {"temperature": temperature}).temperature == 0.0


def test_numbers_of_numpy_are_numbers() -> None:
    options: Any = {"max_new_tokens": np.int64(3), "seed": np.uint64(2**64 - 1)}
    resolved = resolve_options(CONFIG, {**options, "temperature": np.float32(0.5)})
    assert (resolved.max_new_tokens, resolved.seed) == (3, 2**64 - 1)
    assert resolved.temperature == 0.5


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
    with pytest.raises(
        ConfigError, match="max_new_tokens should be an integer from 1 to 1000000. Received 0"
    ):
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
