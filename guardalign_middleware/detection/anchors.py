"""What to look for, in words: unsafe categories and the neutral bank, from an editable YAML."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from guardalign_middleware.errors import ConfigError

Bank = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class AnchorBank:
    """Unsafe categories and neutral concepts, each with its textual variants (paper eq. 5).

    Attributes:
        categories: unsafe category → variants, in the file's order.
        neutral: neutral concept → variants; empty when the file has none.
    """

    categories: Bank
    neutral: Bank

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AnchorBank:
        """Read `categories:` and `neutral:`, each a mapping of names to lists of texts.

        Raises:
            ConfigError: unreadable, or an entry is empty, no text, or there twice; names file and
                key.
        """
        file = Path(path)
        try:
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(
                f"Cannot read the anchors {file}: {error}.",
                remedy="Check detection.anchors.",
            ) from error
        if not isinstance(data, dict) or set(data) - {"categories", "neutral"}:
            raise ConfigError(f"{file} should be a mapping with the keys categories and neutral.")
        seen: dict[str, str] = {}
        categories = _bank(data.get("categories"), file, "categories", seen)
        neutral = _bank(data["neutral"], file, "neutral", seen) if "neutral" in data else {}
        if clash := sorted(set(categories) & set(neutral)):
            raise ConfigError(f"{file}: {clash[0]!r} is both a category and a neutral concept.")
        return cls(MappingProxyType(categories), MappingProxyType(neutral))

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any name or variant, or their order."""
        facts = [
            [[k, list(v)] for k, v in bank.items()] for bank in (self.categories, self.neutral)
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _bank(data: Any, file: Path, key: str, seen: dict[str, str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(data, dict) or not data:
        raise ConfigError(f"{file}: {key} should be a mapping with at least one entry.")
    bank: dict[str, tuple[str, ...]] = {}
    for name, variants in data.items():
        place = f"{key}.{name}"
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{file}: the name {name!r} in {key} should be a text.")
        if not isinstance(variants, list) or not variants:
            raise ConfigError(f"{file}: {place} should be a list with at least one text.")
        for variant in variants:
            if not isinstance(variant, str) or not variant.strip():
                raise ConfigError(
                    f"{file}: {place} holds {variant!r}, which is no text.",
                    remedy="Put words such as yes, no, on and numbers in quotes.",
                )
            folded = " ".join(variant.lower().split())
            if folded in seen:
                raise ConfigError(f"{file}: {variant!r} is in {seen[folded]} and in {place}.")
            seen[folded] = place
        bank[name] = tuple(variant.strip() for variant in variants)
    return bank
