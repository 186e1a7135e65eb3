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


def test_a_notice_is_known_again() -> None:
    error = ImageRejected("x", reason="pdf_not_allowed")
    whats = ("image", "part", "file a.pdf", *notices.FILES.values())
    for text in (notices.UNSAFE, *(notices.refused(error, what) for what in whats)):
        assert notices.is_notice(text)
        assert not notices.is_notice(f"{text} https://example.org/a.png")
    assert notices.is_notice("[hidden]", unsafe="[hidden]")
    assert notices.is_notice(notices.UNSAFE, unsafe="[hidden]")
    for text in ("", "[hidden]", "a.png", "[image removed]", "[a not shown: b]"):
        assert not notices.is_notice(text)
