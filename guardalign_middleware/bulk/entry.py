"""One input of a scan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A picture to scan, or the reason why there is none.

    Attributes:
        source: its name in the results: a path, "shard.tar!member", or "table.parquet#row".
        place: where its cleaned copy goes, below the folder of all copies.
        data: the bytes of the file; None = `source` says where they are.
        error: why there is nothing to scan; None = there is something.
        number: its position among all inputs, from 1.
        in_shard: whether it lies in a table or an archive.
    """

    source: str
    place: str
    data: bytes | None = None
    error: str | None = None
    number: int = 1
    in_shard: bool = False
