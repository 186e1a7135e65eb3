"""Clean the conversation of a request, and say what became of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from guardalign_middleware import notices
from guardalign_middleware.cleaning.cleaner import ImageCleaner
from guardalign_middleware.cleaning.groups import Told, ToldWith
from guardalign_middleware.cleaning.outcomes import Outcome
from guardalign_middleware.conversation.dialects import Dialect
from guardalign_middleware.conversation.walk import Body
from guardalign_middleware.errors import BudgetExceeded
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.handling import (
    ON_UNSAFE_SENT,
    OnBlocked,
    OnRefused,
    OnUnsafeSent,
    check_option,
    check_sent_options,
)
from guardalign_middleware.intake.found_images import FoundImage, Replacement, in_order, listing
from guardalign_middleware.intake.request import Sizes, check_message_count
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.sent_turns import Refusals, SentTurns, digest_of
from guardalign_middleware.turns import Spoken
from guardalign_middleware.types import SEVERITY, Decision, Verdict

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

_REMEMBERED = 256


@dataclass(frozen=True)
class Handling:
    """What happens to pictures that are unsafe, and to what cannot be looked at.

    Attributes:
        on_unsafe: "mask" shows the cleaned picture, and treats one of which nothing may be shown as
            blocked; "notice" always shows the notice; "block" treats every unsafe picture as
            blocked.
        on_refused: "raise" refuses a request whose newest turns hold what cannot be looked at;
            "notice" puts a text in its place, as in older turns and results of tools.
        on_blocked: "reply" answers in the model's place if the newest turns hold a blocked picture;
            "notice" puts a text in its place, as elsewhere.
        allow_unscanned: whether films, files, and what lies with the service pass unseen.

    Raises:
        ConfigError: another value.
    """

    on_unsafe: OnUnsafeSent = "mask"
    on_refused: OnRefused = "raise"
    on_blocked: OnBlocked = "reply"
    allow_unscanned: bool = False

    def __post_init__(self) -> None:
        check_option("on_unsafe", self.on_unsafe, ON_UNSAFE_SENT)
        check_sent_options(self.on_refused, self.on_blocked)


@dataclass(frozen=True, eq=False)
class CleanedConversation:
    """A request after the guard.

    Attributes:
        body: what may be forwarded; the same object if nothing had to change.
        outcomes: one for each picture and each thing that could hold one, in reading order.
        blocked: verdicts on the pictures for which a reply takes the model's place, if any.
    """

    body: Body
    outcomes: tuple[Outcome, ...] = ()
    blocked: tuple[Verdict, ...] = ()

    @property
    def decision(self) -> Decision | None:
        """The worst one; None without pictures."""
        decisions: list[Decision] = [each.record["decision"] for each in self.outcomes]
        return max(decisions, key=SEVERITY.index, default=None)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One for each picture that was scanned, in reading order."""
        return tuple(each.verdict for each in self.outcomes if each.verdict is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without pixels.

        `verdicts` are those on pictures; where something was refused, or passed unseen, there are
        the keys `refused` and `unscanned`.
        """
        records = [{"place": each.place, **each.record} for each in self.outcomes]
        unseen = {
            action: [record for record in records if record["action"] == action]
            for action in ("refused", "unscanned")
        }
        return {
            "decision": self.decision,
            "verdicts": [record for record in records if record["action"] not in unseen],
            "failed_open": sum(verdict.fault is not None for verdict in self.verdicts),
            **{action: found for action, found in unseen.items() if found},
        }


@dataclass(frozen=True)
class _Request:
    dialect: Dialect
    body: Body


class ConversationGuard:
    """Cleans requests of every dialect; threads may share it.

    Args:
        guard: scans and cleans, in this process or in another one; or a handle on it.
        handling: what happens to unsafe pictures, and to what cannot be looked at.
        max_text: most characters of all texts of a request; None = as the intake policy says.
    """

    def __init__(
        self,
        guard: AnyGuard | LazyGuard,
        handling: Handling | None = None,
        max_text: int | None = None,
    ) -> None:
        self.handling = handling or Handling()
        handle = guard if isinstance(guard, LazyGuard) else LazyGuard(guard=guard)
        self._cleaner = _Cleaner(handle, self.handling, max_text)
        self._refusals = Refusals()

    def clean(self, body: Body, dialect: Dialect) -> CleanedConversation:
        """Clean the pictures in every position of a request.

        Args:
            body: the JSON values of the request.
            dialect: how it is written.

        Raises:
            ImageRejected: a picture in the newest turns cannot be looked at.
            MessageError: something else there cannot.
            BudgetExceeded: there is more text than `max_text`.
            GuardError: a fault of the guard; nothing may be forwarded.
        """
        cleaned = self._cleaner.clean(_Request(dialect, body), "")
        turns = dialect.turns(body)
        sent = SentTurns(dialect.senders(body), turns[-1] if turns else None, self._refusals)

        # Once for all pictures of a turn, and for none of an older one: it may be many megabytes.
        @cache
        def digest(turn: int) -> str:
            return digest_of(turns[turn])

        def is_new(outcome: Outcome) -> bool:
            if outcome.turn is None:
                return True
            if not sent.is_sent(outcome.turn):
                return False
            place = outcome.place.partition(".")[2]
            return sent.is_new(digest_of((place, digest(outcome.turn))), outcome.turn)

        # Every one of them is remembered, not only the first.
        new = [each for each in cleaned.outcomes if _stops(each) and is_new(each)]
        refused = [each.refused for each in new if each.refused is not None]
        if refused and self.handling.on_refused == "raise":
            raise refused[0]
        blocked: tuple[Verdict, ...] = ()
        if self.handling.on_blocked == "reply":
            blocked = tuple(each.verdict for each in new if each.verdict and each.blocked)
        return CleanedConversation(cleaned.value.body, cleaned.outcomes, blocked)

    async def aclean(self, body: Body, dialect: Dialect) -> CleanedConversation:
        """`clean` in a thread; a cancelled task gives up its turn."""
        return await in_scan_thread(self.clean, body, dialect)


def _stops(outcome: Outcome) -> bool:
    return outcome.blocked or outcome.refused is not None


class _Cleaner(ImageCleaner):
    def __init__(self, guard: LazyGuard, handling: Handling, max_text: int | None) -> None:
        self._max_text = max_text
        super().__init__(
            guard, handling.on_unsafe, notices.UNSAFE, _REMEMBERED, handling.allow_unscanned
        )

    def _find(self, value: _Request, place: str, sizes: Sizes) -> tuple[list[FoundImage], _Request]:
        check_message_count(len(value.dialect.turns(value.body)), sizes.policy)
        found: list[FoundImage] = []
        value.dialect.walk(listing(found), sizes.heard).body(value.body)
        if self._max_text is not None and sizes.characters > self._max_text:
            raise BudgetExceeded(
                f"The request has {sizes.characters:,} characters of text; at most "
                f"{self._max_text:,} are accepted.",
                remedy="Shorten the conversation.",
            )
        return found, value

    def _told_with(self, value: _Request, place: str) -> ToldWith:
        turns, dialect = value.dialect.turns(value.body), value.dialect
        spoken = Spoken(dialect.senders(value.body), lambda turn: dialect.said(turns[turn]))

        def told(found: FoundImage) -> Told | None:
            if found.turn is None:
                return None
            return spoken.number(found.turn), spoken.said(found.turn)

        return told

    def _put(self, value: _Request, replacements: Sequence[Replacement], place: str) -> _Request:
        with in_order(replacements) as following:
            body = value.dialect.walk(lambda _: following()).body(value.body)
        return _Request(value.dialect, body)
