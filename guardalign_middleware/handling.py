"""What adapters may do with an image that is unsafe, refused or blocked: their options."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, get_args

from guardalign_middleware.errors import ConfigError

OnUnsafe = Literal["mask", "notice", "drop", "block", "flag"]
"""What an adapter does about an unsafe image; each adapter accepts the values that suit it.

`mask` shows the cleaned picture, or a notice where nothing of it may be shown; `notice` always
shows the notice; `drop` removes the document or node that holds the image; `block` ends the call or
run; `flag` changes nothing and only records the verdict.
"""

OnUnsafeSent = Literal["mask", "notice", "block"]
"""Those for requests to a model and for MCP's messages: nothing unsafe passes as it is."""

OnRefused = Literal["raise", "notice"]
"""What happens to an input that cannot be checked, where the user has just sent it.

`raise` raises the error; `notice` puts a text in its place that names the cause. Older turns, tool
results and retrieved documents always get the notice: they must not end a conversation for good.
"""

OnBlocked = Literal["reply", "notice"]
"""What happens to a blocked image, where the user has just sent it.

`reply` answers with the preset's `blocked_reply` without asking the model; `notice` puts a text in
its place and asks the model. Older turns, tool results and retrieved documents always get the
notice.
"""

ON_UNSAFE_SENT: tuple[OnUnsafeSent, ...] = get_args(OnUnsafeSent)
ON_REFUSED: tuple[OnRefused, ...] = get_args(OnRefused)
ON_BLOCKED: tuple[OnBlocked, ...] = get_args(OnBlocked)
SENT_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"on_refused": ON_REFUSED, "on_blocked": ON_BLOCKED}
)
"""The options that govern what the user has just sent, and their values."""


def check_option(name: str, value: object, accepted: Sequence[str], *, remedy: str = "") -> None:
    """Reject a value that an adapter does not support.

    Raises:
        ConfigError: names the accepted values.
    """
    if value not in accepted:
        raise ConfigError(
            f"{name} should be one of {', '.join(accepted)}. Received {value!r}.", remedy=remedy
        )


def check_sent_options(on_refused: object = "raise", on_blocked: object = "reply") -> None:
    """Reject other values of the two options that govern what the user has just sent.

    Raises:
        ConfigError: names the accepted values.
    """
    check_option("on_refused", on_refused, ON_REFUSED)
    check_option("on_blocked", on_blocked, ON_BLOCKED)


def check_known(
    owner: str, given: Iterable[str], known: Iterable[str], *, remedy: str = ""
) -> None:
    """Reject an option that does not exist, before it is ignored.

    Args:
        owner: what has the options, as in "GuardedChatModel".
        given: names of the options that were given.
        known: names that exist.
        remedy: what to do if no name is near.

    Raises:
        ConfigError: names the nearest option that exists.
    """
    existing = frozenset(known)  # Sorted for an error only: calls check their keywords too.
    for name in given:
        if name not in existing:
            names = sorted(existing)
            near = nearest_option(name, names)
            raise ConfigError(
                f"{owner} has no option {name!r}.",
                remedy=f"Did you mean {near!r}?"
                if near
                else remedy or f"It has {', '.join(names)}.",
            )


def nearest_option(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant; None if none is near."""
    near = difflib.get_close_matches(name.lower(), list(known), 1)
    return near[0] if near else None


def named_options(owner: type) -> list[str]:
    """The keywords of a class's constructor, for `check_known`."""
    parameters = inspect.signature(owner).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
