"""Runs of base64 in a text: where one begins, and how far it goes.

Read are both alphabets, line ends, missing padding, and the escapes of JSON, URLs and HTML. All
work is in about linear time.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left
from dataclasses import dataclass

# Backslashes are bounded, as everything here: a text must not take quadratic time.
PLAIN = r"[A-Za-z0-9+/_-]"
SLASH = r"\\{1,8}/|\\{1,8}u002[fF]|%2[fF]|&#(?:x2[fF]|47);"
PLUS = r"\\{1,8}u002[bB]|%2[bB]|&#(?:x2[bB]|43);"
UNIT = rf"(?:{PLAIN}|{SLASH}|{PLUS})"
_BREAK = r"(?:\r?\n|(?:\\{1,8}r)?\\{1,8}n)[ \t]{0,200}+"
_TOKEN = re.compile(rf"(?P<plain>{PLAIN}++)|(?P<slash>{SLASH})|(?P<plus>{PLUS})|(?P<line>{_BREAK})")
PADDING = re.compile(r"=|%3[dD]|\\{1,8}u003[dD]|&#(?:x3[dD]|61);")

# Base64 in lines of this many characters goes on over a line end. In front of a picture, as many
# characters on the same line can be a word that touches it; more of them, or the first bytes of
# another file, are data around it.
_WRAPPED = range(40, 201)
_LONGEST_WORD = 16
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
_OTHER_FILES = (
    *(b"%PDF", b"%!PS", b"\xd0\xcf", b"8BPS", b"icns", b"\x00\x00\x01\x00", b"<", b"{", b"["),
    *(b"PK", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd"),
    *(b"ID3", b"OggS", b"fLaC", b"RIFF", b"FORM", b"GIF8", b"\x89PNG", b"\xff\xd8", b"\x80"),
    *(b"wOF", b"OTTO", b"ttcf", b"\x00\x01\x00", b"\x7fELF", b"MZ", b"\xca\xfe", b"\xcf\xfa"),
)
LINE_BREAK = re.compile(_BREAK)
_SPACES = re.compile(r"\s+")
_STEP = 512
_TO_STANDARD = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Run:
    """Base64 from a position on, as far as it goes.

    Attributes:
        compact: its characters, without line ends and escapes.
        marks: after each token, the number of characters so far, and the position in the text.
        line_counts: the number of characters up to each line end.
    """

    compact: str
    marks: list[tuple[int, int]]
    line_counts: list[int]

    def position(self, count: int) -> int:
        """The position in the text after this many characters."""
        characters, position = self.marks[bisect_left(self.marks, (count, 0))]
        return position - (characters - count)


def read_run(text: str, start: int) -> Run:
    """Read the base64 that begins at a position."""
    pieces: list[str] = []
    marks: list[tuple[int, int]] = []
    line_counts: list[int] = []
    lines: list[int] = []
    count = line = 0
    position = start
    before: tuple[int, int] | None = None
    while (match := _TOKEN.match(text, position)) is not None:
        kind = match.lastgroup
        if kind == "line":
            if not _goes_on(lines, line):
                break
            lines.append(line)
            line_counts.append(count)
            before, line = (len(pieces), len(marks)), 0
        else:
            piece = match.group() if kind == "plain" else "/" if kind == "slash" else "+"
            pieces.append(piece)
            count += len(piece)
            line += len(piece)
            marks.append((count, match.end()))
        position = match.end()
    if before is not None and not 0 < line <= (lines[1] if len(lines) > 1 else _WRAPPED[-1]):
        # The last line is none of this base64.
        del pieces[before[0] :], marks[before[1] :]
    return Run("".join(pieces), marks, line_counts)


def compact_head(text: str, count: int, start: int = 0, skipped: re.Pattern[str] = _SPACES) -> str:
    """The first characters behind a position, without those that decoders of base64 skip.

    No more of the text is read than that takes, however much of it is skipped.

    Args:
        text: any text.
        count: number of characters.
        start: the position.
        skipped: what decoders skip.
    """
    head = ""
    for at in range(start, len(text), _STEP):
        head = skipped.sub("", head + text[at : at + _STEP])
        if len(head) >= count:
            break
    return head[:count]


def _goes_on(lines: list[int], line: int) -> bool:
    """Whether base64 can go on after a line of this length; all lines but the ends are equal."""
    if not lines:
        return 0 < line <= _WRAPPED[-1]
    return line in _WRAPPED and (len(lines) == 1 or line == lines[1])


def decoded(compact: str) -> bytes:
    """The bytes of base64 in either alphabet; what is too much at its end is left out."""
    compact = compact.translate(_TO_STANDARD)
    if len(compact) % 4 == 1:
        compact = compact[:-1]
    return base64.b64decode(compact + "=" * (-len(compact) % 4))


def padded(text: str, position: int, count: int) -> int:
    """The position behind the padding of so many characters of base64, if there is padding."""
    for _ in range(-count % 4 if count % 4 != 1 else 0):
        match = PADDING.match(text, position)
        if match is None:
            break
        position = match.end()
    return position


def begins_here(text: str, start: int, floor: int) -> bool:
    """Whether base64 begins at this position, perhaps behind a word, rather than further back."""
    at, touching = start, 0
    while at > floor and touching <= _LONGEST_WORD:
        mark = text[at - 1]
        if mark == "\\" and text[at] in "nrt":
            # An escaped line end or tab, whose letter was counted.
            touching -= 1
            at += 1
            break
        if mark not in _ALPHABET and mark not in "\\%":
            break
        touching += mark in _ALPHABET
        at -= 1
    if touching > _LONGEST_WORD or (
        touching > 0 and _begins_a_file(text[start - touching : start])
    ):
        return False
    if _line_before(text, at, floor) not in _WRAPPED:
        return True
    return _line_length(text, at) > _WRAPPED[-1]


def _begins_a_file(word: str) -> bool:
    """Whether a word in front of a picture is base64 of the first bytes of a file around it."""
    plain = "".join(mark for mark in word if mark in _ALPHABET)
    return len(plain) % 4 == 0 and decoded(plain).startswith(_OTHER_FILES)


def _line_before(text: str, start: int, floor: int) -> int:
    """The number of base64 characters at the end of the line before; 0 if none is before."""
    window = text[max(floor, start - 4 * _WRAPPED[-1]) : start].rstrip(" \t")
    if window.endswith("\n"):
        window = window[:-1].removesuffix("\r")
    elif window.endswith("\\n"):
        window = window[:-1].rstrip("\\")
        if window.endswith("\\r"):
            window = window[:-1].rstrip("\\")
    else:
        return 0
    length = 0
    while length <= _WRAPPED[-1]:
        rest = window.rstrip(_ALPHABET)
        length += len(window) - len(rest)
        if not rest.endswith("\\"):
            break
        if window[len(rest) : len(rest) + 1] in set("nrt"):
            return length - 1
        window = rest.rstrip("\\")
    return length


def _line_length(text: str, start: int) -> int:
    length, position = 0, start
    while length <= _WRAPPED[-1] and (match := _TOKEN.match(text, position)) is not None:
        if match.lastgroup == "line":
            break
        length += len(match.group()) if match.lastgroup == "plain" else 1
        position = match.end()
    return length
