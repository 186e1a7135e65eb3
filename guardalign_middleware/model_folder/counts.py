"""How many parts a model's options may ask for: a library builds them one by one."""

from __future__ import annotations

import re
from typing import Any

from guardalign_middleware.model_folder.foreign_names import fields_of

MAX_PARTS = 10_000
"""Layers, heads, experts or blocks; the largest models have some hundreds of each."""

_PARTS = re.compile(r".*(layers|depths?|heads|experts|blocks|stages)")


def too_many(options: dict[str, Any]) -> str | None:
    """Which option asks for more parts than any model has; None if none does.

    Otherwise a number in a file would keep the process busy until it has no memory left.
    """
    for place, name, value in fields_of(options):
        if not _PARTS.fullmatch(name):
            continue
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not -MAX_PARTS <= number <= MAX_PARTS:
                return f"{place} should be at most {MAX_PARTS:,}"
    return None
