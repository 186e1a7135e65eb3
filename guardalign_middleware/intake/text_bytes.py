"""Bytes that are a text, in whichever encoding its reader knows."""

from __future__ import annotations

import json

from guardalign_middleware.intake.hidden_images import may_hide_image

_UTF_16, _UTF_32 = ("utf-16-le", "utf-16-be"), ("utf-32-le", "utf-32-be")
# Of UTF-32, at least every fourth byte is NUL.
_FEWEST_NULS = 1 / 8


def read_text(data: bytes | bytearray) -> tuple[str, str] | None:
    """A text, and the encoding in which `write_text` writes it again; None for other bytes.

    What is not UTF-8 counts only if it may hide a picture.
    """
    # In Latin-1 every byte is a character, and becomes the same byte again.
    encodings: tuple[str, ...] = ("utf-8", "latin-1")
    # Latin letters in UTF-16 are UTF-8 as well, with NULs. Without a byte order mark, the first
    # characters say nothing: they can be of any alphabet.
    if b"\0" in data and may_hide_image(data.replace(b"\0", b"").decode("latin-1")):
        utf_32 = _UTF_32 if data.count(0) >= len(data) * _FEWEST_NULS else ()
        known = json.detect_encoding(data)
        marked = (known,) if known in {"utf-16", "utf-32"} else ()
        encodings = (*marked, *_UTF_16, *utf_32, *encodings)
    for encoding in encodings:
        wide = encoding.startswith(("utf-16", "utf-32"))
        try:
            # Readers put a mark in the place of half a character, and read on.
            text = data.decode(encoding, "replace" if wide else "strict")
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" or may_hide_image(text):
            return text, encoding
    return None


def write_text(text: str, encoding: str) -> bytes:
    """A text in its encoding, or in UTF-8 if that lacks a character, as of a notice."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
