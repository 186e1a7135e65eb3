"""The examples in the numeric docstrings run and print what they say."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from guardalign_middleware.detection import conformal, order_statistics, patches, transport

MODULES = (conformal, order_statistics, patches, transport)


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.__name__)
def test_examples_run(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted >= 2
    assert found.failed == 0
