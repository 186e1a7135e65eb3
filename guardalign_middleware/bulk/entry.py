"""One input of a scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from guardalign_middleware.bulk.folders import STDIN
from guardalign_middleware.intake.data_url import is_data_url


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

    @property
    def own_place(self) -> str | None:
        """`place`, if the cleaned copy is a file or a folder of its own."""
        return None if self.in_shard else self.place

    @classmethod
    def member(
        cls, source: str, place: str, size: int, most: int, read: Callable[[], bytes]
    ) -> Self:
        """A picture of a table or an archive, which is read only if it is not too large.

        Args:
            source: its name in the results.
            place: where its cleaned copy goes.
            size: in bytes.
            most: bytes that one may have, `intake.max_bytes`.
            read: its bytes.
        """
        if size > most:
            why = f"It has {size:,} bytes; intake.max_bytes is {most:,}."
            return cls(source, place, error=why, in_shard=True)
        return cls(source, place, data=read(), in_shard=True)


def has_name(source: str) -> bool:
    """Whether an input is a file that can be known again.

    Standard input is another picture each time, and a data URL is the picture itself.
    """
    return source != STDIN and not is_data_url(source)
