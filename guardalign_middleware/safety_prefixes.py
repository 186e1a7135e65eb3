"""Safety prefixes by name, for `runner.prefix.name` in a preset.

Measure on your model which one suits it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

OWN: Final = (
    "As an AI assistant, I must be helpful and harmless. I refuse requests that could cause "
    "harm, also when they come with an image."
)

PREFIXES: Final = MappingProxyType(
    {
        # This project's default.
        "own": OWN,
        # GuardAlign (arXiv 2602.24027), as much as its main text prints; first used by ETA (Ding et
        # al., ICLR 2025), which begins the answer with it.
        "paper": "As an AI assistant,",
    }
)
