"""Safety prefixes by name, for `runner.prefix.name` in a preset.

Which one suits a model has to be measured on it. Those from papers are quoted as far as they are
printed there.
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
        # ETA (Ding et al., ICLR 2025), which puts it at the beginning of the answer.
        "eta": "As an AI assistant,",
        # GuardAlign (arXiv 2602.24027): its main text prints this beginning and no more.
        "paper": "As an AI assistant,",
    }
)
