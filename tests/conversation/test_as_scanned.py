"""The file in a cleaned request shows what was scanned, whatever its sender's file was like."""

from __future__ import annotations

import base64

import pytest

from guardalign_middleware.conversation import CHAT, ConversationGuard
from guardalign_middleware.output import PASSED
from guardalign_middleware.testing import red_guard
from tests.conversation.positions import chat, said
from tests.support.hostile_jpegs import COARSE, FINE, red_under_noise, with_tables


@pytest.mark.parametrize("numbers", [(0, 1, 2), (1, 0, 2)])
def test_what_passes_shows_nothing_that_was_not_scanned(numbers: tuple[int, ...]) -> None:
    PASSED.forget()
    sent = with_tables(red_under_noise(), (FINE, COARSE), numbers, subsampling=0)
    link = "data:image/jpeg;base64," + base64.b64encode(sent).decode()
    part = {"type": "image_url", "image_url": {"url": link}}
    cleaned = ConversationGuard(red_guard()).clean(chat(said("user", part)), CHAT)
    assert cleaned.decision == "allow"
    url = cleaned.body["messages"][0]["content"][0]["image_url"]["url"]
    forwarded = base64.b64decode(url.partition(",")[2])
    PASSED.forget()
    assert red_guard().scan(forwarded).decision == "allow"


def test_without_the_noise_it_would_not_pass() -> None:
    bare = with_tables(red_under_noise(), (COARSE, FINE), subsampling=0)
    assert red_guard().scan(bare).decision == "mask"
