"""What a scan does with each input, and what came of one; light, since it crosses processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.names import label
from guardalign_middleware.bulk.records import status_of
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.types import Verdict


class DeviceLost(GuardError):
    """The accelerator failed: no input is to blame, and all later scans of this process fail, too.

    Args:
        entry: that was being scanned.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__(
            f"The accelerator failed while {label(entry.source)} was scanned.",
            stage="detection",
            remedy="Check the device and its driver; with --resume, the same command then goes on. "
            "If it always ends at this input, leave that out.",
        )


@dataclass(frozen=True)
class Job:
    """What is done with each input; other processes get it as it is.

    Attributes:
        config: of the guard.
        overlays: folder for pictures of the verdicts; None = none.
        copies: folder for cleaned copies; None = pictures are scanned and not cleaned.
        describe: a line for people about each verdict; None = no such line.
        stems: names, without ending, for copies whose format changes; keyed by place; from
            `places.distinct`.
    """

    config: GuardAlignConfig
    overlays: Path | None = None
    copies: Path | None = None
    describe: Callable[[Verdict], str] | None = None
    stems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of an input.

    Attributes:
        source: its name.
        records: a line of JSON for each picture in it, or one with the error.
        lines: about each picture, for people.
        error: why it could not be scanned; None = it was.
        place: where its cleaned copy belongs; None = in that of a table or an archive.
        shard: path of the table or archive that it lies in; None = it is a file of its own.
    """

    source: str
    records: tuple[dict[str, Any], ...]
    lines: tuple[str, ...] = ()
    error: str | None = None
    place: str | None = None
    shard: str | None = None

    @property
    def status(self) -> int:
        """The exit status for this input."""
        return max(map(status_of, self.records))

    @classmethod
    def of_error(cls, entry: Entry, message: str) -> Outcome:
        """An input that could not be scanned."""
        record = {"source": label(entry.source), **entry.lies_in, "error": message}
        place, shard = entry.own_place, entry.shard
        return cls(entry.source, (record,), error=message, place=place, shard=shard)
