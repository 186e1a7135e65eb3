"""Bytes that are a text, in whichever encoding its reader knows."""

from __future__ import annotations

import json

from guardalign_middleware.intake.hidden_images import may_hide_image


def read_text(data: bytes | bytearray) -> tuple[str, str] | None:
    """A text, and the encoding in which it is written again; None for other bytes.

    What is not UTF-8 counts only if it may hide a picture. Without a byte order mark, UTF-16 and
    UTF-32 are known by their first characters, as in JSON.
    """
    # Latin letters in UTF-16 are UTF-8 as well, with NULs. In Latin-1 every byte is a character,
    # and becomes the same byte again.
    wide = b"\0" in data
    for encoding in (json.detect_encoding(data), "utf-8") if wide else ("utf-8", "latin-1"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" or may_hide_image(text):
            return text, encoding
    return None
