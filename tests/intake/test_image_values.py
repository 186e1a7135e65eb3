"""Pictures in bytes of texts, and how those are written again."""

from __future__ import annotations

from guardalign_middleware.intake.found_images import Replacement
from guardalign_middleware.intake.value_walk import Walk
from guardalign_middleware.testing import base64_png, picture

PAGE = f"caf\u00e9 <img src='data:image/png;base64,{base64_png(picture())}'>"
NOTICE = "\u753b\u50cf\u3092\u524a\u9664"


def test_a_notice_may_have_letters_that_the_page_s_encoding_lacks() -> None:
    walk = Walk(lambda found: Replacement(note=NOTICE))
    new = walk.value(PAGE.encode("latin-1"), "x", "block")
    assert new.decode() == f"caf\u00e9 <img src='{NOTICE}'>"
    wide = walk.value(PAGE.encode("utf-16-le"), "x", "block")
    assert wide.decode("utf-16-le") == f"caf\u00e9 <img src='{NOTICE}'>"
