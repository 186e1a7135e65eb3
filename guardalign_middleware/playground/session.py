"""What one visitor looks at: one picture, one position of the sliders, and what follows."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from guardalign_middleware.errors import ConfigError, Overloaded
from guardalign_middleware.playground.inspection import Inspection, Inspector
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import Box, CanonicalImage, Verdict

MAX_SESSIONS = 32
"""Visitors at once: each holds a decoded picture in memory, and nothing on a disk."""


class Session:
    """The state of one page; one call at a time.

    Args:
        inspector: measures and decides.
        own: the sliders as the preset has them.

    Attributes:
        token: names this session to the route that takes pictures; nothing else knows it.
    """

    def __init__(self, inspector: Inspector, own: Settings) -> None:
        self.token = secrets.token_urlsafe(24)
        self.own = own
        self.settings = own
        self.inspection: Inspection | None = None
        self.cleaned: SanitizedImage | None = None
        self._verdict: Verdict | None = None
        self._inspector = inspector

    @property
    def verdict(self) -> Verdict:
        """Of the cleaned picture where it is clean already, otherwise the detector's.

        Raises:
            ConfigError: there is no picture yet.
        """
        if self.cleaned is not None:
            return self.cleaned.verdict
        if self._verdict is None:
            raise ConfigError("There is no picture yet.", remedy="Choose one.")
        return self._verdict

    @property
    def masks(self) -> tuple[Box, ...]:
        """What is hidden, or before the second scan: what is about to be."""
        if self.cleaned is not None:
            return self.cleaned.boxes
        return self._inspector.masks(self.verdict, self.settings)

    def show(self, source: bytes | CanonicalImage) -> None:
        """Take another picture and measure it; the old one is forgotten first.

        Raises:
            ImageRejected: it is not a picture that the preset accepts.
            BudgetExceeded: it is too large.
            GuardError: it cannot be measured.
        """
        self.forget()
        image = source if isinstance(source, CanonicalImage) else self._inspector.load(source)
        inspection = self._inspector.measure(image)
        self._verdict = self._inspector.verdict(inspection, self.settings)
        self.inspection = inspection

    def move(self, settings: Settings) -> None:
        """Decide again under other settings; nothing is encoded."""
        inspection = self.inspection
        verdict = None if inspection is None else self._inspector.verdict(inspection, settings)
        # All at once: cleaning in another thread takes settings and verdict together.
        self.settings, self._verdict, self.cleaned = settings, verdict, None

    def clean(self) -> SanitizedImage:
        """Clean the picture under the present settings, once.

        Raises:
            ConfigError: there is no picture yet.
            GuardError: it cannot be cleaned.
        """
        if self.cleaned is not None:
            return self.cleaned
        inspection, settings, verdict = self.inspection, self.settings, self._verdict
        if inspection is None or verdict is None:
            raise ConfigError("There is no picture yet.", remedy="Choose one.")
        cleaned = self._inspector.clean(inspection, verdict, settings)
        # While it was cleaned, a slider may have moved or another picture come.
        if self.inspection is inspection and self.settings == settings:
            self.cleaned = cleaned
        return cleaned

    def record(self) -> dict[str, Any]:
        """The verdict as `guardalign scan --json` prints it, with what the sliders say."""
        record = {
            **self.verdict.to_json(),
            "settings": {
                "threshold_factor": self.settings.factor,
                "margin": self.settings.margin,
                "gamma": self.settings.gamma,
            },
        }
        if self.cleaned is not None:
            record["cleaning"] = {
                "rounds": self.cleaned.rounds,
                "masked_fraction": self.cleaned.masked_fraction,
                "residual_distance": self.cleaned.residual_distance,
                "boxes": [list(box) for box in self.cleaned.boxes],
            }
        return record

    def forget(self) -> None:
        """Drop the picture and everything that was made of it."""
        self.inspection = self.cleaned = self._verdict = None


class Sessions:
    """The sessions of one server, each reachable by its own token only.

    Args:
        most: how many there may be at once.
    """

    def __init__(self, most: int = MAX_SESSIONS) -> None:
        self._most = most
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)

    def open(self, session: Session) -> None:
        """Take a session in.

        Raises:
            Overloaded: there are as many as there may be.
        """
        with self._lock:
            if len(self._open) >= self._most:
                raise Overloaded(
                    f"{self._most} people use this playground, which is the limit.",
                    stage="process",
                    remedy="Close another tab, or come back later.",
                )
            self._open[session.token] = session

    def close(self, session: Session) -> None:
        """Forget a session and its picture."""
        with self._lock:
            self._open.pop(session.token, None)
        session.forget()
