"""Pictures in words: base64 and data URLs inside a text, and how to put others in their place.

A model reads a text as words and sees no picture in it, so only a complete picture is worth
touching. It is found where base64 begins with the first bytes of a picture file: base64 of a PDF,
an archive or sound begins with other bytes, whatever is inside. Line ends, the URL alphabet,
missing padding, and the escapes of JSON, URLs and HTML are read. Nothing is decoded to pixels here;
`load_part` says whether the bytes are a picture.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from guardalign_middleware.intake.base64_runs import (
    LINE_BREAK,
    PADDING,
    PLAIN,
    PLUS,
    SLASH,
    UNIT,
    Run,
    begins_here,
    decoded,
    padded,
    read_run,
)
from guardalign_middleware.intake.extent import picture_format, picture_size
from guardalign_middleware.intake.type_fields import file_type

_S = rf"(?:[/_]|{SLASH})"
_START = re.compile(
    rf"iVBORw0KGgo|{_S}9j{_S}(?:[0-9w-z+/_-]|{SLASH}|{PLUS})|R0lGOD[dl]h"
    rf"|UklGR{UNIT}{{6}}XRUJQ|SUkqA|TU0AK|Qk{UNIT}{{6}}AAAA|AAAA{PLAIN}[GWm2]Z0eXB"
)
_HINTS = ("iVBORw0KGgo", "9j", "R0lGOD", "UklGR", "SUkqA", "TU0AK", "Qk", "Z0eXB")
_LEAST = 44  # characters of the smallest GIF

_HEADER = re.compile(
    r"data(?::|%3A)(?P<type>[^\s,;\"'<>()]{0,100}?)(?P<rest>(?:(?:;|%3B)[^\s,\"'<>()]{0,100})?)"
    r"(?:,|%2C)",
    re.IGNORECASE,
)
_HEADER_LENGTH = 240
_IMAGE_TYPE = re.compile(r"image(?P<slash>\\{0,8}/|%2F)[\w.+-]+", re.IGNORECASE)
_JSON = re.compile(r"\s*[{\[]")
_BRACKETS = re.compile(r"[][(){}]")
_TYPE_DISTANCE = 300
_SUBTYPES = {
    "PNG": ("png",),
    "JPEG": ("jpeg", "jpg"),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "TIFF": ("tiff", "tif"),
    "BMP": ("bmp",),
    "AVIF": ("avif", "heic", "heif"),
}

_TO_URL = str.maketrans("+/", "-_")


@dataclass(frozen=True)
class HiddenImage:
    """What begins like a picture file inside a text.

    Attributes:
        start, end: its position in characters, half-open; with the header of a data URL.
        data: the bytes of the file.
        complete: whether the file reaches its end; otherwise a decoder may still accept it.
        whole: whether the text holds nothing else, apart from spaces at its ends.
        text: what stands there.
        header: the data URL's, up to the comma; empty for bare base64.
    """

    start: int
    end: int
    data: bytes
    complete: bool
    whole: bool
    text: str
    header: str = ""

    def write(self, picture: bytes, mime_type: str) -> str:
        """Encode another picture in the way of this one: header, alphabet, line length, padding."""
        header = _IMAGE_TYPE.sub(_retyped(mime_type), self.header, count=1)
        old = self.text[len(self.header) :]
        new = base64.b64encode(picture).decode("ascii")
        if ("-" in old or "_" in old) and not ("+" in old or "/" in old):
            new = new.translate(_TO_URL)
        if len(self.data) % 3 and not PADDING.search(old[-12:]):
            new = new.rstrip("=")
        if "%2" in old or "%3" in old or "%" in header:
            return header + quote(new, safe="")
        if (line := _line_end(old)) is not None:
            width, separator = line
            new = separator.join(new[at : at + width] for at in range(0, len(new), width))
        return header + new


def may_hide_image(text: str) -> bool:
    """A quick test: False means that the text holds no picture; True means that it may."""
    return len(text) >= _LEAST and any(hint in text for hint in _HINTS)


def hidden_images(text: str) -> Iterator[HiddenImage]:
    """Find what begins like a picture in a text, from left to right, in about linear time."""
    if not may_hide_image(text):
        return
    at = floor = 0
    body = (len(text) - len(text.lstrip()), len(text.rstrip()))
    while (match := _START.search(text, at)) is not None:
        start = match.start()
        at = match.end()
        header = _header(text, start, floor)
        if not header and not begins_here(text, start, floor):
            continue
        run = read_run(text, start)
        image = _picture(text, start, run, header, body)
        if image is None:
            continue
        at = floor = image.end
        yield image


def replace_hidden(text: str, put: Callable[[HiddenImage], bytes | str | None]) -> str:
    """Replace pictures in a text; everything else stays as it is, to the letter.

    Args:
        text: any text.
        put: returns what to show: a picture file, a notice, or None to leave the picture.

    Returns:
        The same object if nothing changed.
    """
    edits: list[tuple[int, int, str]] = []
    for image in hidden_images(text):
        new = put(image)
        if isinstance(new, bytes):
            mime_type = file_type(new)
            edits.append((image.start, image.end, image.write(new, mime_type)))
            if not image.header and not image.whole:
                edits += _types_beside(text, image, mime_type)
        elif new is not None:
            edits.append((image.start, image.end, _quoted(text, image.start, new)))
    pieces, end = [], 0
    for start, stop, new in sorted(edits):
        if start >= end:
            pieces += [text[end:start], new]
            end = stop
    whole = "".join([*pieces, text[end:]])
    return text if whole == text else whole


def _picture(
    text: str, start: int, run: Run, header: str, body: tuple[int, int]
) -> HiddenImage | None:
    if len(run.compact) < _LEAST:
        return None
    data = decoded(run.compact)
    if picture_format(data) is None:
        return None
    size = picture_size(data)
    count, first = len(run.compact), start - len(header)
    end = padded(text, run.position(count), count)
    # In quotes the base64 is one thing. Elsewhere words may follow on the next line, and, if this
    # is not a URL, without a space.
    if size is not None and not _in_quotes(text, first, end):
        count = -(-size * 4 // 3)
        if header:
            lines = [*run.line_counts, len(run.compact)]
            count = min(line for line in lines if line >= count)
            data = data[: count * 3 // 4]
        else:
            data = data[:size]
        end = padded(text, run.position(count), count)
    return HiddenImage(
        first,
        end,
        data,
        complete=size is not None,
        whole=first <= body[0] and end >= body[1],
        text=text[first:end],
        header=header,
    )


def _in_quotes(text: str, start: int, end: int) -> bool:
    mark = text[start - 1 : start]
    return mark in {'"', "'", "`"} and text[end : end + 9].lstrip("\\")[:1] == mark


def _header(text: str, start: int, floor: int) -> str:
    """The header of the data URL whose base64 begins here; empty if there is none."""
    window = text[max(floor, start - _HEADER_LENGTH) : start]
    at = window.lower().rfind("data")
    return window[at:] if at >= 0 and _HEADER.fullmatch(window, at) else ""


def _line_end(text: str) -> tuple[int, str] | None:
    match = LINE_BREAK.search(text)
    if match is None:
        return None
    after = LINE_BREAK.search(text, match.end())
    width = match.start() if after is None else max(match.start(), after.start() - match.end())
    return width, match.group()


def _retyped(mime_type: str) -> Callable[[re.Match[str]], str]:
    kind = mime_type.partition("/")[2]

    def new(match: re.Match[str]) -> str:
        same = match.group().lower().endswith(kind)
        return match.group() if same else f"image{match['slash']}{kind}"

    return new


def _types_beside(text: str, image: HiddenImage, mime_type: str) -> Iterator[tuple[int, int, str]]:
    """Edits of the image types in quotes next to a picture, within the same brackets."""
    kind = mime_type.partition("/")[2]
    stale = _SUBTYPES.get(picture_format(image.data) or "", ())
    if kind in stale:
        return
    left = max(0, image.start - _TYPE_DISTANCE)
    for edge in _BRACKETS.finditer(text, left, image.start):
        left = edge.end()
    edge_after = _BRACKETS.search(text, image.end, image.end + _TYPE_DISTANCE)
    right = edge_after.start() if edge_after else image.end + _TYPE_DISTANCE
    for first, last in ((left, image.start), (image.end, right)):
        for match in _IMAGE_TYPE.finditer(text, first, last):
            named = match.group().lower().endswith(stale)
            if named and _in_quotes(text, match.start(), match.end()):
                yield match.start(), match.end(), f"image{match['slash']}{kind}"


def _quoted(text: str, start: int, notice: str) -> str:
    """A notice that is safe inside a JSON string, if it stands in one."""
    in_json = text[start - 1 : start] == '"' or _JSON.match(text) is not None
    return json.dumps(notice, ensure_ascii=False)[1:-1] if in_json else notice
