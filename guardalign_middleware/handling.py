"""What adapters may do with an image that is unsafe, refused or blocked: their options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from guardalign_middleware.errors import ConfigError

OnUnsafe = Literal["mask", "notice", "drop", "block", "flag"]
"""What an adapter does about an unsafe image; each adapter accepts the values that suit it.

`mask` shows the cleaned picture, or a notice where nothing of it may be shown; `notice` always
shows the notice; `drop` removes the document or node that holds the image; `block` ends the call or
run; `flag` changes nothing and only records the verdict.
"""

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


def check_option(name: str, value: object, accepted: Sequence[str], *, remedy: str = "") -> None:
    """Reject a value that an adapter does not support.

    Raises:
        ConfigError: names the accepted values.
    """
    if value not in accepted:
        raise ConfigError(
            f"{name} should be one of {', '.join(accepted)}. Received {value!r}.", remedy=remedy
        )
