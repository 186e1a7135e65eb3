"""Copies of earlier scans, which go where this scan lets nothing through."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from guardalign_middleware.bulk.copies import PARTS, remove, remove_parts
from guardalign_middleware.bulk.entries import Inputs, is_shard
from guardalign_middleware.bulk.entry import has_name
from guardalign_middleware.bulk.job import Outcome
from guardalign_middleware.bulk.places import possible

_FRAME = re.compile(r"[0-9]+\.(jpg|png|webp)")


class OldCopies:
    """Removes copies that an earlier scan, by another guard, left at the places of this one.

    No input of this scan is removed, even where the folder of copies is that of the originals.

    Args:
        folder: of all copies.
        inputs: of this scan, with places of their own; see `places.distinct`.
        stems: names, without ending, for copies whose format changes; keyed by place.
    """

    def __init__(self, folder: Path, inputs: Inputs, stems: Mapping[str, str]) -> None:
        self._folder, self._inputs, self._stems = folder, inputs, stems
        self._shards = {place for path, place in inputs.files if is_shard(path)}

    def remove_parts(self, kept: Container[str]) -> None:
        """Remove the cleaned pictures of tables and archives that this scan does not go on with.

        Args:
            kept: places of those of which pictures were cleaned before; see `places.claim_of`.

        Raises:
            ConfigError: one cannot be removed.
        """
        for place in self._shards:
            if place not in kept:
                remove_parts(self._folder / place)

    def remove_at(self, place: str) -> None:
        """Remove what is at a place of this scan, unless it is an input.

        Raises:
            ConfigError: it cannot be removed.
        """
        path = self._folder / place
        if (path.is_file() or path.is_symlink()) and _identity(path) not in self._originals:
            remove(path)

    def remove_for(self, outcome: Outcome) -> None:
        """Remove the older copies of an input, whatever their format and number of frames.

        Raises:
            ConfigError: one cannot be removed.
        """
        made = {record.get("copy") for record in outcome.records}
        for place in self._places(outcome.source, outcome.place):
            if place not in made:
                self.remove_at(place)

    def _places(self, source: str, place: str) -> Iterator[str]:
        shard, parts, _ = place.rpartition(PARTS)
        if parts and shard in self._shards:
            if place != shard + PARTS:
                yield place
            return
        beside = os.path.dirname(source) if has_name(source) else None
        for one in possible(place, self._stems.get(place, place)):
            # By its name it may be the copy of another file, which is no input of this scan.
            if (
                one == place
                or beside is None
                or not os.path.lexists(os.path.join(beside, os.path.basename(one)))
            ):
                yield one
        with suppress(OSError):
            for name in os.listdir(self._folder / place):
                if _FRAME.fullmatch(name):
                    yield f"{place}/{name}"

    @cached_property
    def _originals(self) -> set[tuple[int, int] | None]:
        return {_identity(path) for path, _ in self._inputs.files if has_name(path)} - {None}


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What a file is, whatever its name; None if it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
