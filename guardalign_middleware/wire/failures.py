"""Errors as JSON: what is raised here is raised there, with its remedy."""

from __future__ import annotations

from typing import Any, Self

from guardalign_middleware import errors
from guardalign_middleware.errors import (
    ContextOverflow,
    GuardAlignError,
    GuardError,
    HubError,
    ImageRejected,
    SuiteError,
)
from guardalign_middleware.wire.base import WIRE_VERSION, WireModel

_FIELDS: dict[type[GuardAlignError], tuple[str, ...]] = {
    ImageRejected: ("reason", "source"),
    ContextOverflow: ("tokens", "limit"),
    GuardError: ("stage",),
    HubError: ("reason",),
    SuiteError: ("suite",),
}
_KINDS: dict[str, type[GuardAlignError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, GuardAlignError)
}


class Failure(WireModel):
    """An error of the guard.

    Attributes:
        version: of the wire format.
        kind: name of its class.
        message: what is wrong.
        remedy: what the caller can do about it.
        reason: of an `ImageRejected` or a `HubError`.
        source: of an `ImageRejected`.
        tokens, limit: of a `ContextOverflow`.
        stage: of a `GuardError`.
        suite: of a `SuiteError`.
    """

    version: int = WIRE_VERSION
    kind: str
    message: str
    remedy: str = ""
    reason: str | None = None
    source: str | None = None
    tokens: int | None = None
    limit: int | None = None
    stage: str | None = None
    suite: str | None = None

    @classmethod
    def of(cls, error: GuardAlignError) -> Self:
        """The JSON form of an error; of a class of one's own, that of its nearest known base."""
        known = next(base for base in type(error).__mro__ if base.__name__ in _KINDS)
        return cls(
            kind=known.__name__,
            message=error.message,
            remedy=error.remedy,
            **{name: getattr(error, name) for name in _fields(known)},
        )

    def read(self) -> GuardAlignError:
        """The error, to be raised.

        Raises:
            ValueError: no error is called so, or a field is missing.
        """
        kind = _KINDS.get(self.kind)
        if kind is None:
            raise ValueError("There is no error of this name.")
        fields: dict[str, Any] = {name: getattr(self, name) for name in _fields(kind)}
        if None in fields.values():
            raise ValueError(f"The {self.kind} lacks a field.")
        return kind(self.message, remedy=self.remedy, **fields)


def _fields(kind: type[GuardAlignError]) -> tuple[str, ...]:
    return next((names for base, names in _FIELDS.items() if issubclass(kind, base)), ())
