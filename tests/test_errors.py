"""Errors cross process borders with everything they say."""

from __future__ import annotations

import inspect
import pickle

import pytest

from guardalign_middleware import errors
from guardalign_middleware.errors import GuardAlignError

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, GuardAlignError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_pickled_error_says_the_same(kind: type[GuardAlignError]) -> None:
    keywords = {
        name: 3 if name in {"tokens", "limit"} else name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    error = kind("It failed.", **keywords)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), vars(again)) == (str(error), vars(error))
