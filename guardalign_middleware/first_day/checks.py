"""What a check of `guardalign doctor` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Result = Literal["ok", "warning", "failed", "unknown"]
"""`unknown`: it cannot be checked here, or only after another check passes."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: what was looked at.
        result: how it is.
        found: what was found, in a sentence.
        remedy: what to do; empty where there is nothing to do.
        details: figures, plain JSON values.
    """

    name: str
    result: Result
    found: str
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "check": self.name,
            "result": self.result,
            "found": self.found,
            "remedy": self.remedy,
            "details": dict(self.details),
        }
