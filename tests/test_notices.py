"""The texts in place of an image."""

import re

from guardalign_middleware import notices
from guardalign_middleware.errors import ImageRejected, MessageError


def test_every_reason_for_a_refusal_has_words() -> None:
    documented = re.findall(r"`(\w+)`", (ImageRejected.__doc__ or "").split("stable code:")[1])
    assert documented
    assert set(documented) == set(notices._CAUSES)
    for reason in documented:
        notice = notices.refused(ImageRejected("x", reason=reason))
        assert notice == f"[image not shown: {notices._CAUSES[reason]}]"


def test_an_error_without_a_reason_says_what_the_guard_can_do() -> None:
    error = MessageError("secret.png")
    assert notices.refused(error) == "[image not shown: it could not be checked]"
    for what in notices.FILES.values():
        assert notices.refused(error, what) == (
            f"[{what} not shown: this guard reads pictures only]"
        )
