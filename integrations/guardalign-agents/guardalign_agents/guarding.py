"""What the guards of all frameworks share: options, guard, and the error of a blocked picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from guardalign_middleware.conversation import (
    CleanedConversation,
    ConversationGuard,
    Dialect,
    Handling,
)
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.handles import guard_handle
from guardalign_middleware.handling import (
    OnRefused,
    OnUnsafeSent,
    check_known,
    check_option,
    named_options,
)
from guardalign_middleware.types import Verdict

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

OnBlocked = Literal["raise", "notice"]


class ImageBlocked(GuardAlignError):
    """The user has just sent a blocked picture, and the model is not asked.

    This is the guard's answer rather than a fault, so it is not a `GuardError`.

    Attributes:
        verdicts: on the blocked pictures, in reading order.
        reply: the preset's `blocked_reply`, to answer with.
    """

    def __init__(self, verdicts: Sequence[Verdict], reply: str) -> None:
        self.verdicts = tuple(verdicts)
        self.reply = reply
        found = ", ".join(sorted({verdict.category for verdict in self.verdicts}))
        count = len(self.verdicts)
        super().__init__(
            f"{count} blocked picture{'s' if count > 1 else ''} ({found}).",
            remedy='Answer with `reply`, or pass on_blocked="notice" to let the agent go on.',
        )


class AgentGuard:
    """A guard and what it does with the pictures of a conversation; threads may share it.

    Args:
        guard: an `ImageGuard`, or a `RemoteImageGuard` in a process without torch.
        preset: name or path of a preset to load instead, on first use.
        on_unsafe: "mask" shows the cleaned picture; "notice" a text in its place; "block" treats
            every unsafe picture as blocked.
        on_blocked: "raise" ends the run where the user has just sent a blocked picture; "notice"
            puts a text in its place, as in older turns and results of tools.
        on_refused: the same for what cannot be looked at.
        allow_unscanned: whether films, files, and what lies with the service pass unseen.

    Raises:
        ConfigError: neither or both of `guard` and `preset` are given, or an option is wrong or
            does not exist.
    """

    def __init__(
        self,
        guard: AnyGuard | None = None,
        *,
        preset: str | Path | None = None,
        on_unsafe: OnUnsafeSent = "mask",
        on_blocked: OnBlocked = "raise",
        on_refused: OnRefused = "raise",
        allow_unscanned: bool = False,
        **unknown: Any,
    ) -> None:
        check_known("AgentGuard", unknown, named_options(AgentGuard))
        check_option("on_blocked", on_blocked, get_args(OnBlocked))
        handling = Handling(
            on_unsafe=on_unsafe,
            on_refused=on_refused,
            on_blocked="reply" if on_blocked == "raise" else "notice",
            allow_unscanned=allow_unscanned,
        )
        self._handle = guard_handle(preset, guard, owner="AgentGuard")
        self._guard = ConversationGuard(self._handle, handling)

    def clean(self, body: dict[str, Any], dialect: Dialect) -> CleanedConversation:
        """Clean what goes to a model.

        Raises:
            ImageBlocked: a picture in the newest turns is blocked.
            ImageRejected, MessageError: something there cannot be looked at.
            GuardError: a fault of the guard; nothing may go on.
        """
        return self._checked(self._guard.clean(body, dialect))

    async def aclean(self, body: dict[str, Any], dialect: Dialect) -> CleanedConversation:
        """`clean` in a thread; a cancelled task gives up its turn."""
        return self._checked(await self._guard.aclean(body, dialect))

    def _checked(self, cleaned: CleanedConversation) -> CleanedConversation:
        if cleaned.blocked:
            raise ImageBlocked(cleaned.blocked, self._handle.config.blocked_reply)
        return cleaned
