"""Pictures read once: a file of readings, which a command that was stopped goes on with."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.reader import WordReader


@dataclass(frozen=True)
class Reading:
    """What was read in a picture.

    Attributes:
        lines: those with words, in reading order.
        cpu_seconds: processor time that it took, of all threads; 0 if no longer known.
    """

    lines: tuple[WordLine, ...]
    cpu_seconds: float


class Readings:
    """Reads pictures with a reader, and keeps what it read in a file of JSON lines.

    Args:
        reader: its fingerprint is part of each key.
        file: is appended to; None = nothing is kept.
    """

    def __init__(self, reader: WordReader, file: Path | None) -> None:
        self._reader, self._file = reader, file
        self._known: dict[tuple[str, str], Reading] = {}
        if file is not None and file.is_file():
            for row in file.read_text(encoding="utf-8").splitlines():
                record = json.loads(row)
                lines = tuple(_line(one) for one in record["lines"])
                self._known[record["reader"], record["picture"]] = Reading(lines, record["cpu"])

    def read(self, image: CanonicalImage) -> Reading:
        """The words of a picture."""
        key = (self._reader.fingerprint, image.sha256)
        if key not in self._known:
            start = time.process_time()
            lines = tuple(line for line in self._reader.read(image) if line.text)
            found = Reading(lines, time.process_time() - start)
            self._known[key] = found
            self._keep(key, found)
        return self._known[key]

    def _keep(self, key: tuple[str, str], found: Reading) -> None:
        if self._file is None:
            return
        record = {
            "reader": key[0],
            "picture": key[1],
            "cpu": found.cpu_seconds,
            "lines": [vars(line) for line in found.lines],
        }
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(record)}\n")


def _line(record: dict[str, object]) -> WordLine:
    """A line as JSON has it; its pairs are lists there."""
    box, corners = record.pop("box"), record.pop("corners")
    return WordLine(
        box=tuple(box),  # type: ignore[arg-type]
        corners=tuple(tuple(corner) for corner in corners),  # type: ignore[arg-type, attr-defined]
        **record,  # type: ignore[arg-type]
    )
