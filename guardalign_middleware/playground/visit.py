"""What happens on a page, step by step; the page itself is only a `View` of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from guardalign_middleware.errors import BudgetExceeded, GuardAlignError, MessageError
from guardalign_middleware.playground.answers import WAYS, Answers, Way
from guardalign_middleware.playground.attention import Attention, attention_to_prefix
from guardalign_middleware.playground.session import Session
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.service import Service
from guardalign_middleware.types import CanonicalImage


class View(Protocol):
    """Shows what a visit brings; called in the event loop only."""

    def working(self, words: str) -> None:
        """Something takes a moment."""

    def failed(self, words: str) -> None:
        """Something was refused or has failed; what was shown before is still there."""

    def emptied(self) -> None:
        """There is no picture any more."""

    def picture(self) -> None:
        """There is another picture, and a decision on it."""

    def decided(self) -> None:
        """The decision, the regions or the cleaned picture have changed."""

    def answering(self, way: Way, text: str, *, ended: bool) -> None:
        """The text of an answer so far."""

    def attention(self, attention: Attention | None) -> None:
        """What the model attended to; None where that cannot be said."""


class Visit:
    """One visitor's wishes, carried out within the limits of the server.

    Args:
        session: the visitor's picture and sliders.
        answers: of the model; None where only a guard is served.
        service: the server.
        view: shows the results.

    Attributes:
        refused: why nothing is done for this visitor; None where it is.
    """

    def __init__(
        self, session: Session, answers: Answers | None, service: Service, view: View
    ) -> None:
        self.session = session
        self.refused: GuardAlignError | None = None
        self._answers = answers
        self._service = service
        self._view = view
        self._deciding = asyncio.Lock()
        self._cleaning = asyncio.Lock()
        self._wanted: Settings | None = None
        self._asking: asyncio.Task[None] | None = None

    async def take(self, source: bytes | CanonicalImage) -> bool:
        """Take a picture, measure it, decide, and clean it; False if it was refused."""
        if self._is_refused():
            return False
        self.stop()
        taken = False
        async with self._reported():
            self._view.working("Measuring the distance of every crop…")
            with self._service.admission.slot():
                async with self._deciding:
                    # What was found in the picture before must not stand beside this one.
                    self.session.forget()
                    self._view.emptied()
                    await in_scan_thread(self.session.show, source)
                self._service.count([self.session.verdict])
                self._view.picture()
                taken = True
                await self._decide()
                await self._clean()
        return taken

    async def move(self, settings: Settings) -> None:
        """Decide again, with the newest of all positions that a slider has run through."""
        self._wanted = settings
        if self._deciding.locked() or self._is_refused():
            return  # whoever decides now, goes on with it
        async with self._reported():
            await self._decide()

    async def settle(self) -> None:
        """Clean the picture under the present settings; encodes the masked picture."""
        if self._is_refused():
            return
        async with self._reported():
            await self._decide()
            if self.session.inspection is not None:
                with self._service.admission.slot():
                    await self._clean()

    async def ask(self, text: str) -> None:
        """Ask all three ways at once; a new question ends the answers to the one before."""
        if self._is_refused():
            return
        self.stop()
        self._asking = asyncio.ensure_future(self._ask(text))
        try:
            await self._asking
        except asyncio.CancelledError:
            if not self._asking.cancelled():
                raise  # the visitor has left, and no new question come

    def stop(self) -> None:
        """End the answers that are being written."""
        if self._asking is not None:
            self._asking.cancel()

    def leave(self) -> None:
        """The visitor is gone."""
        self.stop()
        self.session.forget()

    async def _ask(self, text: str) -> None:
        async with self._reported():
            self._check(text)
            inspection = self.session.inspection
            if inspection is None or self._answers is None:
                raise MessageError("There is nothing to ask about.", remedy="Choose a picture.")
            with self._service.admission.slot():
                await self._decide()
                cleaned = await self._clean()
                self._view.working("Asking the model in three ways…")
                async with asyncio.TaskGroup() as group:
                    for each in WAYS:
                        group.create_task(self._answer(each.way, inspection.image, cleaned, text))
                await self._look(cleaned, text)
            self._view.working("")

    async def _answer(
        self, way: Way, image: CanonicalImage, cleaned: SanitizedImage, text: str
    ) -> None:
        assert self._answers is not None
        said = ""
        self._view.answering(way, said, ended=False)
        try:
            async for piece in self._answers.stream(
                way, image, cleaned, text, self.session.settings.gamma
            ):
                said += piece
                self._view.answering(way, said, ended=False)
        finally:
            self._view.answering(way, said, ended=True)

    async def _look(self, cleaned: SanitizedImage, text: str) -> None:
        gamma = self.session.settings.gamma
        seen = None
        if cleaned.image is not None and gamma is not None and self._answers is not None:
            seen = await asyncio.to_thread(
                attention_to_prefix, self._answers.runner(gamma), cleaned.image, text
            )
        self._view.attention(seen)

    async def _decide(self) -> None:
        async with self._deciding:
            while self._wanted is not None:
                settings, self._wanted = self._wanted, None
                await asyncio.to_thread(self.session.move, settings)
                if self.session.inspection is not None:
                    self._view.decided()

    async def _clean(self) -> SanitizedImage:
        async with self._cleaning:
            new = self.session.cleaned is None
            if new:
                self._view.working("Masking, and scanning again…")
            cleaned = await in_scan_thread(self.session.clean)
            if new:
                self._view.decided()
                self._view.working("")
            return cleaned

    def _is_refused(self) -> bool:
        if self.refused is not None:
            self._view.failed(str(self.refused))
        return self.refused is not None

    def _check(self, text: str) -> None:
        most = self._service.config.max_text_characters
        if not text.strip():
            raise MessageError("The question is empty.", remedy="Write one.")
        if len(text) > most:
            raise BudgetExceeded(f"The question has more than {most:,} characters.")

    @asynccontextmanager
    async def _reported(self) -> AsyncIterator[None]:
        """Errors that have a remedy are told to the visitor; a lost device ends the server."""
        try:
            yield
        except* (GuardAlignError, ApiError) as group:
            error = _first(group)
            if isinstance(error, GuardAlignError):
                self._service.refusal_for(error)
            self._view.failed(error.message if isinstance(error, ApiError) else str(error))


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
