"""The memory of a message does not grow with its pictures; `make memory` measures the caps."""

from __future__ import annotations

import sys

import pytest

from tests.promises.request_memory import MEGABYTES, measure


@pytest.mark.evidence
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_pictures_are_never_in_memory_together() -> None:
    # Two are enough: together, or copied by the model's processor, they would not fit.
    facts = measure("chain", 2, 6320, 6320, 2)
    assert facts["verdicts"] == 2
    assert facts["peak"] < MEGABYTES, facts
