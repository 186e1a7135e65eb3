from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.words.guards.function import FunctionGuard
from guardalign_middleware.words.guards.guard import Assessment, TextGuard


def test_a_function_is_a_guard() -> None:
    guard: TextGuard = FunctionGuard(
        lambda texts: [("long", 1.0 / len(text)) for text in texts], name="length 1"
    )
    assert guard.assess(["a", "abcd"]) == (Assessment("long", 1.0), Assessment("long", 0.25))
    assert guard.fingerprint != FunctionGuard(lambda texts: [], name="length 2").fingerprint


def test_a_function_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="name"):
        FunctionGuard(lambda texts: [], name=" ")


def _raise(texts: Sequence[str]) -> Any:
    raise OSError("disk")


@pytest.mark.parametrize(
    "broken",
    [
        _raise,
        lambda texts: None,
        lambda texts: [("bad", float("nan"))],
        lambda texts: [("bad", "near")],
        lambda texts: ["bad"],
        lambda texts: [0.5],
    ],
)
def test_whatever_fails_is_a_fault_and_not_safe(broken: Any) -> None:
    with pytest.raises(GuardError, match="'f' that guards texts failed"):
        FunctionGuard(broken, name="f").assess(["a"])
