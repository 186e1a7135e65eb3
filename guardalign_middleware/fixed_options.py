"""Adapters that are pydantic models: an option that is assigned takes effect or is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.handling import check_option


class FixedOptions:
    """A mixin, in front of the model's other bases.

    Attributes:
        FIXED: options that are read once, when the adapter is made.
        ACCEPTED: the values of options that may be assigned later.
    """

    FIXED: ClassVar[frozenset[str]] = frozenset({"preset"})
    ACCEPTED: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a field.

        Raises:
            ConfigError: the option is fixed, or does not have this value.
        """
        self._check_changes({name: value})
        super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's.

        Raises:
            ConfigError: an option in `update` is fixed, or does not have this value.
        """
        self._check_changes(update or {})
        copy: Self = super().model_copy(update=update, deep=deep)  # type: ignore[misc]
        return copy

    def copy(self, **options: Any) -> Self:
        """As pydantic's older method.

        Raises:
            ConfigError: as for `model_copy`.
        """
        self._check_changes(options.get("update") or {})
        copy: Self = super().copy(**options)  # type: ignore[misc]
        return copy

    def _check_changes(self, changes: Mapping[str, Any]) -> None:
        for name, value in changes.items():
            if name in self.FIXED:
                raise ConfigError(
                    f"{name} of {type(self).__name__} is read only when it is made.",
                    remedy=f"Make another {type(self).__name__} with this {name}.",
                )
            if name in self.ACCEPTED:
                check_option(name, value, self.ACCEPTED[name])
