"""Whether a picture is anywhere in the files of a folder, in whatever pieces a database cut it."""

from __future__ import annotations

import base64
from pathlib import Path

PIECE = 120
_INDEX_FILES = {"data_level0.bin", "header.bin", "length.bin", "link_lists.bin"}


def pieces(raw: bytes, clean: bytes) -> list[bytes]:
    """Pieces of an image file, as bytes and as base64, that are not in its cleaned form."""
    found: list[bytes] = []
    for own, other in (
        (raw, clean),
        (base64.b64encode(raw), base64.b64encode(clean)),
    ):
        starts = range(0, len(own) - PIECE, PIECE // 2)
        found += [piece for at in starts if (piece := own[at : at + PIECE]) not in other]
    return found


def holds_any(folder: Path, wanted: list[bytes]) -> bool:
    """Whether any file of a folder holds one of the pieces.

    The files of Chroma's vector index are left out. It writes buffers that it has not filled, so
    they show by chance what was in the memory of the process.
    """
    files = [
        file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in _INDEX_FILES
    ]
    return any(piece in data for data in files for piece in wanted)
