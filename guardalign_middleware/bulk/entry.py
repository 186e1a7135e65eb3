"""One input of a scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from guardalign_middleware.bulk.names import has_name


@dataclass(frozen=True)
class Entry:
    """A picture to scan, or the reason why there is none.

    Attributes:
        source: its name in the results: a path, "shard.tar!member", or "table.parquet#row".
        place: where its cleaned copy goes, below the folder of all copies.
        data: the bytes of the file; None = `source` says where they are.
        error: why there is nothing to scan; None = there is something.
        number: its position among all inputs, from 1.
        shard: path of the table or archive that it lies in; None = it is a file of its own.
        column: of that table.
    """

    source: str
    place: str
    data: bytes | None = None
    error: str | None = None
    number: int = 1
    shard: str | None = None
    column: str | None = None

    @property
    def own_place(self) -> str | None:
        """`place`, if the cleaned copy is a file or a folder of its own."""
        return self.place if self.shard is None else None

    @property
    def known_as(self) -> tuple[str | None, str] | None:
        """What no other input has: where it lies, and its name. None if it has no name.

        The name alone does not do: a file may be called like a row of a table.
        """
        return (self.shard, self.source) if has_name(self.source) else None

    @property
    def lies_in(self) -> dict[str, str]:
        """What a line of JSON says of where it lies."""
        told = {"shard": self.shard, "column": self.column}
        return {name: value for name, value in told.items() if value is not None}

    def holding(self, size: int, most: int, read: Callable[[], bytes]) -> Entry:
        """The same with its bytes, which are read only if they are not too many.

        Args:
            size: in bytes.
            most: bytes that one may have, `intake.max_bytes`.
            read: its bytes.
        """
        if size > most:
            return replace(self, error=f"It has {size:,} bytes; intake.max_bytes is {most:,}.")
        return replace(self, data=read())
