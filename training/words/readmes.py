"""Prose about software, as harmless texts to train on: descriptions of the installed packages.

Only packages whose metadata name a permissive licence are read. Half of them, by a checksum of
their names, are left for measuring.
"""

from __future__ import annotations

import random
import re
from email.message import Message
from importlib.metadata import distributions
from typing import cast
from zlib import crc32

from guardalign_middleware.words.guards.order_features import order_parts

_PERMISSIVE = re.compile(r"\b(?:MIT|BSD|Apache|ISC|PSF|Python Software Foundation)\b")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LEAST, _MOST = 40, 900  # characters


def paragraphs(*, measured: bool) -> list[str]:
    """Paragraphs of the packages to learn from, or of those to measure on, sorted by package.

    What stands in packages of both is learned from only.
    """
    learned = dict.fromkeys(_described(0))
    return [one for one in _described(1) if one not in learned] if measured else list(learned)


def _described(half: int) -> list[str]:
    found = []
    # The standard library's types leave out that this is a message of email.
    packages = {one.metadata["Name"]: cast("Message", one.metadata) for one in distributions()}
    for name, about in sorted(packages.items()):
        named = [about.get("License-Expression") or "", *about.get_all("Classifier", [])]
        if not _PERMISSIVE.search(" ".join(named)) or crc32(name.encode()) % 2 != half:
            continue
        text = str(about.get_payload() or about.get("Description") or "")
        for paragraph in re.split(r"\n\s*\n", text):
            plain = " ".join(_LINK.sub(r"\1", paragraph).split())
            if _LEAST <= len(plain) <= _MOST:
                found.append(plain)
    return list(dict.fromkeys(found))


def readme_texts(rng: random.Random, count: int) -> list[str]:
    """`count` sentences, and pairs of sentences, of the packages to learn from; fewer if few."""
    parts = [part for one in paragraphs(measured=False) for part in order_parts(one)]
    return rng.sample(parts, min(count, len(parts)))
