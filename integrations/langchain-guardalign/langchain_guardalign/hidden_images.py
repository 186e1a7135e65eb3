"""Images that no block declares: in text, in JSON text, in raw bytes.

A tool that returns a dictionary reaches the model as JSON text, and a web page contains data URLs.
Data URLs of any image type are recognised, and PNG, JPEG, GIF, WEBP, TIFF and BMP by their first
bytes, raw or in base64. No pixels are decoded here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
)
_HINTS = ("iVBORw0KGg", "9j", "R0lGOD", "UklGR", "SUkqA", "TU0AK", "Qk")
_RUN = r"[A-Za-z0-9+/_-]"
# Base64 is often wrapped, with line ends that may be escaped.
_BREAK = r"(?:\r?\n|(?:\\r)?\\n)[ \t]*"
# A short last line belongs to it if it ends in "=", or if nothing else is on that line.
_LAST = rf"{_BREAK}{_RUN}{{1,76}}(?:={{1,2}}|(?=\s*(?:\n|$|[\"'<)\\])))"
_TAIL = rf"(?:(?:{_BREAK}{_RUN}{{40,}})+(?:{_LAST})?|{_BREAK}{_RUN}{{1,76}}={{1,2}})?={{0,2}}"
# Without a bound on the header, a text of many headers would take quadratic time.
_URL = rf"data:image/[^\s,\"'<>()\\]{{0,200}},(?:{_RUN}{{32,}}{_TAIL})?[^\s\"'<>()\\]*"
# The first bytes of each format in base64; long enough not to occur by chance.
_BASE64 = (
    r"(?:iVBORw0KGg|[/_]9j[/_][0-9w-z+/_-]|R0lGOD[dl]h|UklGR.{6}XRUJQ"
    rf"|SUkqA[A-D]|TU0AK|Qk{_RUN}{{6}}AAAA){_RUN}{{24,}}{_TAIL}"
)
_HIDDEN = re.compile(rf"(?P<url>(?i:{_URL}))|{_BASE64}")
_SPACE = re.compile(r"\s|\\[rnt]")


@dataclass(frozen=True)
class HiddenImage:
    """An image inside a text.

    Attributes:
        start, end: its position in characters, half-open.
        data: the bytes of the image file; empty if the encoding is broken.
        is_url: True for a data URL, False for bare base64.
    """

    start: int
    end: int
    data: bytes
    is_url: bool


def looks_like_image(data: bytes | bytearray) -> bool:
    """Whether bytes begin like one of the known image formats."""
    head = bytes(data[:18])
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    return len(head) == 18 and head[:2] == b"BM" and head[6:10] == bytes(4)


def may_hide_image(text: str) -> bool:
    """A quick test: False means that the text holds no image; True means that it may."""
    return len(text) > 32 and (any(hint in text for hint in _HINTS) or "data:image" in text.lower())


def hidden_images(text: str) -> Iterator[HiddenImage]:
    """Find every image in a text, from left to right."""
    if not may_hide_image(text):
        return
    for match in _HIDDEN.finditer(text):
        is_url = match.group("url") is not None
        data = _url_bytes(match.group()) if is_url else _base64_bytes(match.group())
        yield HiddenImage(match.start(), match.end(), data, is_url)


def replace_hidden(text: str, put: Callable[[HiddenImage], str | None]) -> str:
    """Replace every image in a text by what `put` returns; None leaves it.

    Returns:
        The same object if nothing changed.
    """
    pieces, end = [], 0
    for image in hidden_images(text):
        new = put(image)
        pieces += [text[end : image.start], text[image.start : image.end] if new is None else new]
        end = image.end
    whole = "".join([*pieces, text[end:]])
    return text if whole == text else whole


def _url_bytes(url: str) -> bytes:
    header, _, text = url.partition(",")
    # "surrogatepass", because a text can hold half a surrogate pair.
    body = text.encode("utf-8", "surrogatepass")
    if header.lower().endswith(";base64"):
        return _base64_bytes(unquote_to_bytes(body).decode("latin-1"))
    return unquote_to_bytes(body)


def _base64_bytes(text: str) -> bytes:
    """Decode either alphabet, wrapped or not, padded or not, because other readers do."""
    compact = _SPACE.sub("", text).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
