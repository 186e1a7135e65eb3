"""Errors that have been through JSON are those that were raised."""

import inspect
from typing import Any

import pytest

from guardalign_middleware import errors
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.wire import Failure

FIELDS = {
    "reason": "corrupt",
    "source": "a.png",
    "stage": "encode",
    "tokens": 9,
    "limit": 3,
    "suite": "xstest",
}
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GuardAlignError)
]


def made(kind: type[GuardAlignError]) -> GuardAlignError:
    names = {
        name
        for base in kind.__mro__
        if issubclass(base, GuardAlignError) and "__init__" in vars(base)
        for name in inspect.signature(base).parameters
    }
    return kind("Broken.", remedy="Mend it.", **{k: v for k, v in FIELDS.items() if k in names})


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_the_package_comes_back(kind: type[GuardAlignError]) -> None:
    error = made(kind)
    again = Failure.model_validate_json(Failure.of(error).model_dump_json()).read()
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert str(again).endswith("Broken. Mend it.")


def test_an_error_of_ones_own_comes_back_as_its_base() -> None:
    class Own(errors.ImageRejected):
        pass

    again = Failure.of(Own("Broken.", reason="own")).read()
    assert type(again) is errors.ImageRejected
    assert again.reason == "own"


@pytest.mark.parametrize("given", [{"kind": "SystemExit"}, {"kind": "GuardError"}])
def test_what_is_no_error_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no error|lacks"):
        Failure(message="Broken.", **given).read()
