"""One line of an audit log: its fields, how it is checked, and how an unfinished one looks."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Self

from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.spelling import MAC, canonical, open_sealed
from guardalign_middleware.errors import AuditError
from guardalign_middleware.types import Decision

FORMAT = 1
FIRST = "0" * 64
"""MAC of the previous line, in the first line."""

LARGEST_LINE = 65_536
"""In bytes, including the newline."""

LineFault = Literal["incomplete", "malformed", "edited"]
Step = Literal["scan", "sanitize"]

# Lines are ASCII, and control characters in them are escaped.
_TEXT: Final = rb'"(?:[ -!#-\[\]-\x7f]|\\[ -~])*'
_VALUE: Final = re.compile(_TEXT + rb'"|-?[0-9][0-9.eE+-]*|null')
_OBSERVED: Final = b',"would_be":{'
# Its names and numbers are those of forms, categories and distances.
_TOKENS: Final = re.compile(
    rb"(?:" + _TEXT + rb'"|[-0-9.eE+{}\[\],:]|null)*(?:' + _TEXT + rb"\\?|n|nu|nul)?\n?"
)
_BEGUN: Final = re.compile(_TEXT + rb"\\?|-?[0-9.eE+-]*|n|nu|nul")


@dataclass(frozen=True)
class AuditEntry:
    """One line of a log.

    Attributes:
        number: line number, from 0.
        time: time of writing, UTC, ISO 8601.
        image: HMAC-SHA256 of size and canonical pixels, hexadecimal.
        width, height: size of the image, in pixels.
        step: whether the image was only scanned, or cleaned as well.
        decision: `allow`, `mask` or `block`; `observe` of a guard that only observes.
        cleaned: code of the cleaned image, computed like `image`; None if the image was blocked or
            only scanned.
        distance: the verdict's (low = unsafe); None if there is a fault.
        fault: why the image was allowed unscanned; None for every scanned image.
        threshold: the threshold for `distance`; None where there is none yet.
        category: the verdict's, flagged or not.
        regions: number of unsafe regions.
        profile: fingerprint of the threshold profile; None without one.
        encoder: fingerprint of the encoder.
        version: version of this package.
        source: source of the image; None unless the log includes sources.
        previous: MAC of the previous line; `FIRST` in the first line.
        mac: HMAC-SHA256 of everything else in the line, hexadecimal.
        format: version of the line format.
        draw: seed of the detector's random views; None without random views, and in lines written
            before such views existed.
        words: counts of the words that were read, and a code of what they say, computed like
            `image`; None where words are not read. The line then lacks this field.
        would_be: of a guard that observes, what it would have decided (`decision`), what the
            distances depend on (`binding`), and the smallest `distances` of the image, for each
            encoder by form and category; thresholds are fitted to these. Otherwise None, and the
            line lacks this field.
    """

    number: int
    time: str
    image: str
    width: int
    height: int
    step: Step
    decision: Decision
    cleaned: str | None
    distance: float | None
    fault: str | None
    threshold: float | None
    category: str
    regions: int
    profile: str | None
    encoder: str
    version: str
    source: str | None
    previous: str
    mac: str
    format: int = FORMAT
    draw: str | None = None
    words: dict[str, Any] | None = None
    would_be: dict[str, Any] | None = None

    def to_line(self) -> bytes:
        """The line as written to the log, including the newline."""
        record = asdict(self)
        for name in _OPTIONAL:
            if record[name] is None:
                del record[name]  # as in lines from before there was such a field
        return canonical(record)

    @property
    def before(self) -> Head:
        """The end of the log before this line."""
        return Head(self.number, self.previous)

    @property
    def after(self) -> Head:
        """The end of the log with this line."""
        return Head(self.number + 1, self.mac)


@dataclass(frozen=True)
class Head:
    """The end of a log: its number of lines and the MAC of the last one."""

    entries: int
    mac: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `ENTRIES:MAC`, as written by `str()`.

        Raises:
            AuditError: the text has a different form.
        """
        entries, _, mac = text.strip().partition(":")
        if not (re.fullmatch(r"[0-9]{1,18}", entries) and MAC.fullmatch(mac)):
            raise AuditError(
                f"{text!r} is not an anchor.",
                remedy="Pass the head printed by an earlier verification, as in 12:9f86d0….",
            )
        return cls(int(entries), mac)

    def __str__(self) -> str:
        return f"{self.entries}:{self.mac}"


EMPTY = Head(0, FIRST)

_OPTIONAL: Final = ("words", "would_be")
"""Fields that not every line has; in their order, which is behind all others."""
_NAMES: Final = sorted({field.name for field in fields(AuditEntry)} - set(_OPTIONAL))
_WORDS: Final = ("characters", "code", "lines", "reader", "unread")
"""The fields of `AuditEntry.words`."""


def parse_line(line: bytes, keys: Keys) -> AuditEntry | LineFault:
    """The entry on a line, or the fault that shows it was not written like this."""
    if not line.endswith(b"\n"):
        return "malformed" if len(line) > LARGEST_LINE else "incomplete"
    sealed = open_sealed(line)
    if sealed is None:
        return "malformed"
    record, mac = sealed
    if not hmac.compare_digest(mac, keys.of_line(record)):
        return "edited"
    try:
        entry = AuditEntry(**record, mac=mac)
    except TypeError:
        return "malformed"
    return entry if entry.format == FORMAT else "malformed"


def is_unfinished(line: bytes) -> bool:
    """Whether what stands at the end of a file is no whole line.

    It has no newline, or holds zeros: blocks that did not reach the disk read as zeros after a
    power failure, and no line has any.
    """
    return not line.endswith(b"\n") or b"\0" in line


def could_follow(unfinished: bytes, head: Head) -> bool:
    """Whether a writer that was stopped can have left these bytes behind the line of `head`.

    They are then the beginning of the next line, or what reached the disk of it. Anything else was
    written by an editor.
    """
    rest = unfinished.split(b"\0", 1)[0]
    if len(unfinished) > LARGEST_LINE:
        return False
    known = {"number": head.entries, "previous": head.mac, "format": FORMAT}
    openings = []
    for place, name in enumerate(_NAMES):
        opening = f'{"," if place else "{"}"{name}":'
        openings.append((opening + (json.dumps(known[name]) if name in known else "")).encode())
    values = [name not in known for name in _NAMES]
    if _begins(rest, openings, values, b"}\n"):
        return True
    # With words, of which not every line has any.
    read = [f'{"," if place else ""}"{name}":' for place, name in enumerate(_WORDS)]
    read[0] = ',"words":{' + read[0]
    return _begins(
        rest, openings + [opening.encode() for opening in read], [*values, *_WORDS], b"}}\n"
    )


def _begins(
    rest: bytes, openings: Sequence[bytes], values: Sequence[object], closing: bytes
) -> bool:
    """Whether these bytes are the beginning of a line that is spelled like this.

    Args:
        rest: the bytes.
        openings: what is known, piece by piece.
        values: for each of them, whether an unknown value follows.
        closing: the end of the line.
    """
    for opening, valued in zip(openings, values, strict=True):
        if len(rest) <= len(opening):
            return opening.startswith(rest)
        if not rest.startswith(opening):
            return False
        rest = rest[len(opening) :]
        if valued:
            value = _VALUE.match(rest)
            if value is None or value.end() == len(rest):
                return value is not None or _BEGUN.fullmatch(rest) is not None
            rest = rest[value.end() :]
    inner = closing[:-2]
    if rest.startswith(inner) and _begins_observed(rest[len(inner) :]):
        return True
    return closing.startswith(rest)


def _begins_observed(rest: bytes) -> bool:
    """Whether these bytes are the beginning of `AuditEntry.would_be` and of the line's end."""
    if len(rest) <= len(_OBSERVED):
        return _OBSERVED.startswith(rest)
    return rest.startswith(_OBSERVED) and _TOKENS.fullmatch(rest[len(_OBSERVED) :]) is not None
