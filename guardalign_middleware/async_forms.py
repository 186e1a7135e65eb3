"""The scanning methods of a guard for code that runs in an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from guardalign_middleware.scan_threads import in_scan_thread

if TYPE_CHECKING:
    from guardalign_middleware.intake.load import ImageSource
    from guardalign_middleware.sanitize import SanitizedImage
    from guardalign_middleware.turns import Turn
    from guardalign_middleware.types import Verdict


class _Scanning(Protocol):
    def scan(self, source: ImageSource, *, view_seed: str | None = None) -> Verdict: ...

    def scan_many(
        self, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[Verdict]: ...

    def sanitize(self, source: ImageSource, *, view_seed: str | None = None) -> SanitizedImage: ...

    def sanitize_many(
        self, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[SanitizedImage]: ...


class AsyncForms:
    """`scan`, `sanitize` and their forms for many images, without blocking the event loop.

    They take the same arguments and raise the same errors. A cancelled task gives up its turn.
    """

    async def ascan(
        self: _Scanning, source: ImageSource, *, view_seed: str | None = None
    ) -> Verdict:
        """`scan` without blocking the event loop."""
        return await in_scan_thread(self.scan, source, view_seed=view_seed)

    async def ascan_many(
        self: _Scanning, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[Verdict]:
        """`scan_many` without blocking the event loop."""
        return await in_scan_thread(self.scan_many, sources, turns=turns)

    async def asanitize(
        self: _Scanning, source: ImageSource, *, view_seed: str | None = None
    ) -> SanitizedImage:
        """`sanitize` without blocking the event loop."""
        return await in_scan_thread(self.sanitize, source, view_seed=view_seed)

    async def asanitize_many(
        self: _Scanning, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[SanitizedImage]:
        """`sanitize_many` without blocking the event loop."""
        return await in_scan_thread(self.sanitize_many, sources, turns=turns)
