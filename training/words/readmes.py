"""Prose about software, as harmless texts to train on: descriptions of the installed packages.

Only packages whose metadata name a permissive licence are read. A checksum of their names sorts
them: half are learned from, a quarter is for thresholds, and a quarter is left for measuring.
"""

from __future__ import annotations

import random
import re
from email.message import Message
from importlib.metadata import distributions
from typing import Literal, cast, get_args
from zlib import crc32

from guardalign_middleware.words.guards.order_features import order_parts
from training.words.near_copies import NearCopies

_PERMISSIVE = re.compile(r"\b(?:MIT|BSD|Apache|ISC|PSF|Python Software Foundation)\b")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LEAST, _MOST = 40, 900  # characters


Use = Literal["learn", "fit", "measure"]
_USES: tuple[Use, ...] = ("learn", "fit", "learn", "measure")


def paragraphs(use: Use) -> list[str]:
    """Paragraphs of the packages for a use, sorted by package.

    What stands in packages of several uses, or nearly, is for the first of them only.
    """
    described = _described()
    uses = get_args(Use)
    earlier = NearCopies(text for one in uses[: uses.index(use)] for text in described[one])
    return [text for text in described[use] if not earlier.has(text)]


def _described() -> dict[Use, list[str]]:
    found: dict[Use, dict[str, None]] = {use: {} for use in get_args(Use)}
    # The standard library's types leave out that this is a message of email.
    packages = {one.metadata["Name"]: cast("Message", one.metadata) for one in distributions()}
    for name, about in sorted(packages.items()):
        named = [about.get("License-Expression") or "", *about.get_all("Classifier", [])]
        if not _PERMISSIVE.search(" ".join(named)):
            continue
        kept = found[_USES[crc32(name.encode()) % len(_USES)]]
        text = str(about.get_payload() or about.get("Description") or "")
        for paragraph in re.split(r"\n\s*\n", text):
            plain = " ".join(_LINK.sub(r"\1", paragraph).split())
            if _LEAST <= len(plain) <= _MOST:
                kept[plain] = None
    return {use: list(texts) for use, texts in found.items()}


def readme_texts(rng: random.Random, count: int) -> list[str]:
    """`count` sentences, and pairs of sentences, of the packages to learn from; fewer if few."""
    parts = [part for one in paragraphs("learn") for part in order_parts(one)]
    return rng.sample(parts, min(count, len(parts)))
