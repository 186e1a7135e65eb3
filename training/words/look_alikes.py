"""Harmless texts that look like orders to a model, for thresholds only: nothing learns from them.

They were written for this project by kinds of places where people read them, without a look at the
corpus or at any set that is reported.
"""

from __future__ import annotations

from pathlib import Path

LOOK_ALIKES = Path(__file__).parent / "look_alikes"


def look_alikes(folder: Path = LOOK_ALIKES) -> list[str]:
    """All of them, sorted by place.

    Raises:
        FileNotFoundError: there are none.
    """
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{folder} has no texts.")
    return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
