"""A short run of every target, the same each time; `make fuzz` is the long one that explores."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import NAMES, target
from tests.fuzz.worker import case_of


@settings(max_examples=10, deadline=None, derandomize=True)
@given(number=st.integers(0, 2**40))
def test_any_template_has_a_typed_outcome(number: int) -> None:
    # Fewer, because each starts a process.
    chosen = target("templates")
    assert chosen.check(case_of("templates", chosen, number))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "templates"])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(number=st.integers(0, 2**40))
def test_any_input_has_a_typed_outcome(name: str, number: int) -> None:
    chosen = target(name)
    assert chosen.check(case_of(name, chosen, number))
