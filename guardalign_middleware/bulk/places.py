"""Places of cleaned copies: no two inputs share one, in this scan or in the one that it goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import count
from pathlib import PurePath
from typing import Any

from guardalign_middleware.bulk.copies import PARTS
from guardalign_middleware.bulk.entries import Inputs, is_shard
from guardalign_middleware.bulk.names import has_name
from guardalign_middleware.errors import ConfigError

_ENDINGS = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png", ".apng"),
    "image/webp": (".webp",),
}


def with_ending(place: str, stem: str, mime_type: str) -> str:
    """The place of a copy in a format: `place` if its ending says so, else `stem` with one."""
    endings = _ENDINGS[mime_type]
    return place if place.lower().endswith(endings) else stem + endings[0]


def possible(place: str, stem: str) -> set[str]:
    """The places of a copy in every format."""
    return {with_ending(place, stem, mime_type) for mime_type in _ENDINGS}


def distinct(inputs: Inputs, copied: Mapping[str, str]) -> tuple[Inputs, dict[str, str]]:
    """Give every input places of its own, whatever format or number of frames its copy has.

    Files keep theirs. Pictures without a name are numbered, and so is what gets another ending
    where the file of that name is another input: "photo.tiff" beside "photo.tiff.jpg".

    Args:
        inputs: of the scan.
        copied: files by the places of their copies, from an earlier scan; see `claim_of`.

    Returns:
        The inputs, and the stems for copies that get another ending, by their places; a place
        that is not there is its own stem.

    Raises:
        ConfigError: two files would have one place, or one a place below the other's.
    """
    claims = _Claims(copied)
    named = [(path, place) for path, place in inputs.files if has_name(path)]
    for path, place in named:
        claims.add(path, place)
    claims.check_below()
    stems = {
        place: claims.stem(path, place)
        for path, place in named
        if not is_shard(path) and claims.clash(path, place)
    }
    numbers = count(1)
    files = tuple(
        (path, place if has_name(path) else claims.unnamed(place, numbers))
        for path, place in inputs.files
    )
    return replace(inputs, files=files), stems


def claim_of(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a line of results takes of the folder of copies, and for which file; None = nothing.

    The frames of a file lie in a folder that is theirs; of a table or an archive it is the whole.
    """
    copy, shard = record.get("copy"), record.get("shard")
    if copy is None:
        return None
    if shard is not None:
        return os.path.dirname(copy).removesuffix(PARTS), shard
    several = max(record.get("frames", 1), record.get("pages", 1)) > 1
    return os.path.dirname(copy) if several else copy, record["source"]


class Copies:
    """What the lines of results take of the folder of copies.

    Attributes:
        files: by the places of their copies; see `claim_of`.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self._parts: dict[str, set[int]] = {}

    def note(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Note what the lines about an input say."""
        for record in records:
            if (claim := claim_of(record)) is not None:
                place, path = claim
                self.files[place] = path
                if "shard" in record:
                    # The name of a cleaned picture in one is its number.
                    number = int(os.path.basename(record["copy"]))
                    self._parts.setdefault(place, set()).add(number)

    def parts(self, place: str) -> Set[int]:
        """Numbers of the pictures that were cleaned in a table or an archive."""
        return self._parts.get(place, set())


class _Claims:
    """Who has which place."""

    def __init__(self, copied: Mapping[str, str]) -> None:
        self._owners = dict(copied)
        self._below: dict[str, str] = {}
        for place, source in copied.items():
            self._note_folders(source, place)

    def add(self, path: str, place: str) -> None:
        for claim in [place, place + PARTS] if is_shard(path) else [place]:
            owner = self._owners.setdefault(claim, path)
            if not _same(owner, path):
                raise _in_the_way(owner, path, claim)
        self._note_folders(path, place)

    def check_below(self) -> None:
        if both := self._below.keys() & self._owners.keys():
            place = min(both)
            raise _in_the_way(self._owners[place], self._below[place], place)

    def clash(self, path: str, place: str) -> bool:
        """Whether a copy that gets another ending could have the place of another input."""
        return any(
            name in self._below or not _same(self._owners.get(name, path), path)
            for name in _with_endings(place)
        )

    def stem(self, path: str, place: str) -> str:
        return self._first(path, (f"{place}-{number}" for number in count(2)))

    def unnamed(self, place: str, numbers: Iterator[int]) -> str:
        # One shared counter, so that thousands of inputs take linear time.
        names = (place if number == 1 else f"{place}-{number}" for number in numbers)
        return self._first("", names)

    def _first(self, path: str, stems: Iterator[str]) -> str:
        """The first stem with which no copy is in the way of another."""
        for stem in stems:
            names = [stem, *_with_endings(stem)]
            if not any(name in self._owners or name in self._below for name in names):
                self._owners.update(dict.fromkeys(names, path))
                return stem
        raise AssertionError("unreachable: count() is endless")

    def _note_folders(self, path: str, place: str) -> None:
        while place := os.path.dirname(place):
            self._below.setdefault(place, path)


def _with_endings(stem: str) -> list[str]:
    return [stem + endings[0] for endings in _ENDINGS.values()]


def _same(one: str, other: str) -> bool:
    """Whether two paths are of one file."""
    if one == other:
        return True
    # No link is followed and no ".." is taken off, since both can lead elsewhere.
    folder = os.getcwd()
    return has_name(one) and PurePath(folder, one) == PurePath(folder, other)


def _in_the_way(one: str, other: str, place: str) -> ConfigError:
    return ConfigError(
        f"The cleaned copies of {one} and {other} would overwrite each other at {place}.",
        remedy="Scan them one by one, with another folder of --sanitize and another file of "
        "--resume for each.",
    )
