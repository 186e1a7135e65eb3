"""What to look for, in words: unsafe categories and the neutral bank, from a YAML file."""

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
        neutral: neutral concept → variants; empty when the file has none. Categories with the
            action `allow` belong here.
        actions: unsafe category → action on its regions; `mask` where not named.
    """

    categories: Bank
    neutral: Bank
    actions: Mapping[str, Action] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AnchorBank:
        """Read an anchor file; its format is in `detection.anchor_file`.

        Raises:
            ConfigError: the file is unreadable or wrong, or allows every category; the message
                names file, line and key.
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
        """The action on a region of an unsafe category."""
        return self.actions.get(category, "mask")

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all names and variants, in order.

        Actions are not part of it: they change no distance, so a threshold stays valid.
        """
        record = [
            [[k, list(v)] for k, v in bank.items()] for bank in (self.categories, self.neutral)
        ]
        return hashlib.sha256(json.dumps(record).encode()).hexdigest()
