"""One input after another: load, scan or clean, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import DeviceLost, Job, Outcome
from guardalign_middleware.bulk.names import STDIN, copy_too_long, label
from guardalign_middleware.bulk.places import with_ending
from guardalign_middleware.bulk.records import to_record
from guardalign_middleware.errors import ConfigError, GuardAlignError, GuardError, ImageRejected
from guardalign_middleware.faults import is_lost_device
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.overlay import draw_overlay
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.writing import NameTooLong, write_whole

_LONGEST_STEM = 60
_BYTES = "<bytes>"


class Scanner:
    """Scans inputs in this process.

    Args:
        job: what to do.

    Raises:
        ConfigError, ModelLoadError, AuditError: as for `ImageGuard.from_config`.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._guard = ImageGuard.from_config(job.config)

    def outcomes(self, entries: Iterable[Entry]) -> Iterator[Outcome]:
        """What came of each input, in order."""
        return map(self.scan, entries)

    def scan(self, entry: Entry) -> Outcome:
        """Scan one input; what is wrong with it is part of the outcome.

        Raises:
            ConfigError: an overlay or a cleaned copy cannot be written.
            AuditError: a verdict cannot be recorded.
            DeviceLost: the accelerator failed.
        """
        if entry.error is not None:
            return Outcome.of_error(entry, f"{_name(entry)}: {entry.error}")
        began = time.perf_counter()
        try:
            frames = self._frames(entry)
            cleaned = self._guard.sanitize_many(frames) if self._job.copies else []
            verdicts = [item.verdict for item in cleaned] or self._guard.scan_many(frames)
            if self._guard.device_lost:
                raise DeviceLost(entry)  # with `on_fault: allow`, all others would pass unscanned
            copies = self._copies(entry, cleaned) if cleaned else [{}] * len(verdicts)
        except DeviceLost:
            raise
        except (ImageRejected, GuardError, NameTooLong) as error:
            if is_lost_device(error):
                raise DeviceLost(entry) from error
            named = copy_too_long(error) if isinstance(error, NameTooLong) else error
            return Outcome.of_error(entry, _located(entry, named))
        told = entry.lies_in | {"seconds": round(time.perf_counter() - began, 4)}
        records = tuple(
            to_record(verdict, label(entry.source), number, len(frames), _unit(frame)) | told | copy
            for number, (frame, verdict, copy) in enumerate(
                zip(frames, verdicts, copies, strict=True), start=1
            )
        )
        self._draw(entry, frames, verdicts)
        describe = self._job.describe
        lines = () if describe is None else tuple(map(describe, verdicts))
        return Outcome(entry.source, records, lines, place=entry.own_place, shard=entry.shard)

    def _frames(self, entry: Entry) -> tuple[CanonicalImage, ...]:
        """All frames of an input; those of bytes have its name."""
        if entry.data is None:
            return self._guard.load_frames(entry.source)
        return tuple(
            replace(frame, source=frame.source.replace(_BYTES, entry.source, 1))
            for frame in self._guard.load_frames(entry.data)
        )

    def _copies(
        self, entry: Entry, cleaned: Sequence[SanitizedImage]
    ) -> list[dict[str, str | None]]:
        """Write the cleaned copies, and return what the records say of them."""
        assert self._job.copies is not None
        made: list[dict[str, str | None]] = []
        for number, item in enumerate(cleaned, start=1):
            if item.image is None or (entry.shard is not None and len(cleaned) > 1):
                made.append({"copy": None})
                continue
            file = item.encode()
            place = f"{entry.place}/{number}" if len(cleaned) > 1 else entry.place
            if entry.shard is None:
                place = with_ending(place, self._job.stems.get(place, place), file.mime_type)
            write_whole(self._job.copies / place, file.data)
            made.append({"copy": place})
        return made

    def _draw(
        self, entry: Entry, frames: Sequence[CanonicalImage], verdicts: Sequence[Verdict]
    ) -> None:
        if self._job.overlays is None:
            return
        for number, (image, verdict) in enumerate(zip(frames, verdicts, strict=True), start=1):
            name = f"{entry.number:04d}-{_stem(entry.source)}"
            name += f"-{number}.png" if len(frames) > 1 else ".png"
            _save_overlay(image, verdict, self._job.overlays / name)


def _unit(frame: CanonicalImage) -> Literal["frame", "page"]:
    encoding = frame.encoding
    return "page" if encoding is not None and encoding.image_format == "PDF" else "frame"


def _name(entry: Entry) -> str:
    return "Standard input" if entry.source == STDIN else entry.source


def _located(entry: Entry, error: GuardAlignError) -> str:
    message = str(error)
    if entry.data is not None:
        message = message.replace(_BYTES, _name(entry))
    named = _name(entry) in message or is_data_url(entry.source)
    return message if named else f"{entry.source}: {message}"


def _stem(source: str) -> str:
    # A number precedes it, so a long name may be cut to what file systems accept.
    return "image" if is_data_url(source) else Path(source).stem[:_LONGEST_STEM]


def _save_overlay(image: CanonicalImage, verdict: Verdict, path: Path) -> None:
    try:
        draw_overlay(image, verdict).save(path)
    except OSError as error:
        # Half a picture would look like a result.
        with suppress(OSError):
            path.unlink()
        raise ConfigError(
            f"Cannot write the overlay {path}: {error.strerror}.", remedy="Name another folder."
        ) from error
