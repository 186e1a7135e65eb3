"""What to look for, in words: unsafe categories and the neutral bank, from an editable YAML."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from guardalign_middleware.detection.anchor_file import read_entries
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import Action

Bank = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class AnchorBank:
    """Unsafe categories and neutral concepts, each with its textual variants (paper eq. 5).

    Attributes:
        categories: unsafe category → variants, in the file's order.
        neutral: neutral concept → variants; empty when the file has none. A category with the
            action `allow` is one of them.
        actions: unsafe category → what happens to its regions; `mask` for those not named.
    """

    categories: Bank
    neutral: Bank
    actions: Mapping[str, Action] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AnchorBank:
        """Read an anchor file; `detection.anchor_file` says what it looks like.

        Raises:
            ConfigError: unreadable or wrong, or every category is allowed; names file, line and
                key.
        """
        entries = read_entries(path)
        unsafe = [entry for entry in entries if entry.action != "allow"]
        neutral = [entry for entry in entries if entry.action == "allow"]
        if not unsafe:
            raise ConfigError(f"{path}: every category is allowed, so nothing is looked for.")
        return cls(
            MappingProxyType({entry.name: entry.variants for entry in unsafe}),
            MappingProxyType({entry.name: entry.variants for entry in neutral}),
            MappingProxyType(
                {entry.name: entry.action for entry in entries if entry.action != "allow"}
            ),
        )

    def action(self, category: str) -> Action:
        """What happens to a region of an unsafe category."""
        return self.actions.get(category, "mask")

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any name or variant, or their order.

        Actions are no part of it: they change no distance, so a threshold stays calibrated.
        """
        facts = [
            [[k, list(v)] for k, v in bank.items()] for bank in (self.categories, self.neutral)
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
