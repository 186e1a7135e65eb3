"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.serving.admission import Admission
from guardalign_middleware.serving.options import ServeOptions


@dataclass(frozen=True, eq=False)
class Service:
    """A guard, perhaps a model behind it, and what the server allows.

    Attributes:
        guard: scans and cleans.
        chain: answers; None where nothing local does.
        options: limits and keys.
        admission: how many requests are at work, and whether the server is closing.
    """

    guard: ImageGuard
    chain: GuardAlign | None
    options: ServeOptions
    admission: Admission

    @classmethod
    def of(cls, served: GuardAlign | ImageGuard, options: ServeOptions) -> Service:
        """A service of a chain, or of a guard alone."""
        admission = Admission(options.config)
        if isinstance(served, GuardAlign):
            return cls(served.guard, served, options, admission)
        return cls(served, None, options, admission)

    @property
    def config(self) -> ServeConfig:
        """The limits."""
        return self.options.config

    @property
    def model(self) -> str:
        """The model's name for clients."""
        return self.config.model_name or self.guard.config.name
