"""One line of an audit log: its fields, its one spelling, and the codes that authenticate it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from guardalign_middleware.errors import AuditError
from guardalign_middleware.types import Decision

FORMAT = 1
FIRST = "0" * 64
"""What the first line names as the MAC of the line before."""

LARGEST_LINE = 65_536
"""Bytes, with the newline."""

LineFault = Literal["incomplete", "malformed", "edited"]
Step = Literal["scan", "sanitize"]

_KEY_BYTES = 32
_MAC = re.compile(r"[0-9a-f]{64}")
_MAKE_KEY = "Make one with: openssl rand -hex 32 > audit.key"


@dataclass(frozen=True)
class AuditEntry:
    """One line of a log.

    Attributes:
        number: of the line, from 0.
        time: when it was written, UTC, ISO 8601.
        image: HMAC-SHA256 of the size and the canonical pixels, hexadecimal.
        width, height: of the image, in pixels.
        step: whether the image was only scanned, or cleaned as well.
        decision: `allow`, `mask` or `block`.
        cleaned: code of the cleaned image, made as `image` is; None when there is none, because it
            was blocked or only scanned.
        distance: smallest patch distance (low = unsafe); None when there is a fault.
        fault: why the image was allowed unscanned; None of every image that was scanned.
        threshold: what it was compared with.
        category: the nearest unsafe category.
        regions: number of unsafe regions.
        profile: fingerprint of the threshold profile.
        encoder: fingerprint of the encoder.
        version: of this package.
        source: where the image came from; None unless the log was asked to keep it.
        previous: MAC of the line before, `FIRST` in the first.
        mac: HMAC-SHA256 of everything else in the line, hexadecimal.
        format: of the line.
        draw: what the detector's random views were drawn from; None when none is random, and in
            lines from before there were such views.
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
    threshold: float
    category: str
    regions: int
    profile: str
    encoder: str
    version: str
    source: str | None
    previous: str
    mac: str
    format: int = FORMAT
    draw: str | None = None

    def to_line(self) -> bytes:
        """The line in the log, newline included."""
        return canonical(asdict(self))


@dataclass(frozen=True)
class Head:
    """The end of a log: how many lines it has, and the MAC of the last one."""

    entries: int
    mac: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ENTRIES:MAC`, as `str()` writes it.

        Raises:
            AuditError: it is of another form.
        """
        entries, _, mac = text.strip().partition(":")
        if not (re.fullmatch(r"[0-9]{1,18}", entries) and _MAC.fullmatch(mac)):
            raise AuditError(
                f"{text!r} is no anchor.",
                remedy="Pass the head that an earlier verification printed, as in 12:9f86d0….",
            )
        return cls(int(entries), mac)

    def __str__(self) -> str:
        return f"{self.entries}:{self.mac}"


EMPTY = Head(0, FIRST)


class Keys:
    """The codes of a log. Each purpose has a key of its own, so that none can pass for another.

    Raises:
        AuditError: the key is too short.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY_BYTES:
            raise AuditError(
                f"The key of an audit log should have at least {_KEY_BYTES} bytes. "
                f"Received {len(key)}.",
                remedy=_MAKE_KEY,
            )
        self._line = _code(key, b"guardalign audit: line").digest()
        self._head = _code(key, b"guardalign audit: head").digest()
        self._image = _code(key, b"guardalign audit: image").digest()

    def of_line(self, facts: Mapping[str, Any]) -> str:
        """The MAC of a line's other fields."""
        return _code(self._line, canonical(facts)).hexdigest()

    def of_head(self, facts: Mapping[str, Any]) -> str:
        """The MAC of a head's other fields."""
        return _code(self._head, canonical(facts)).hexdigest()

    def of_image(self, sha256: str) -> str:
        """The code of an image, through `CanonicalImage.sha256`, which covers size and pixels."""
        return _code(self._image, sha256.encode()).hexdigest()


def load_key(path: str | os.PathLike[str]) -> bytes:
    """Read a key file: all its bytes, but for line ends behind them.

    Raises:
        AuditError: it cannot be read, or is too short.
    """
    try:
        key = Path(path).read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise AuditError(
            f"Cannot read the key file {path}: {error.strerror}.", remedy=_MAKE_KEY
        ) from error
    Keys(key)
    return key


def key_from_environment(name: str) -> bytes:
    """Read a key from an environment variable, without white space around it.

    Raises:
        AuditError: it is not set, or is too short.
    """
    key = os.environb.get(name.encode(), b"").strip()
    if not key:
        raise AuditError(
            f"The environment variable {name}, which should hold the key of the audit log, is not "
            "set.",
            remedy=f'Set it, as in: export {name}="$(openssl rand -hex 32)"',
        )
    Keys(key)
    return key


def canonical(facts: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON object on a line; any other one is an edit.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def open_sealed(line: bytes) -> tuple[dict[str, Any], str] | None:
    """The other fields and the MAC of a line; None unless it is spelt as `canonical` spells it."""
    try:
        facts = json.loads(line)
        if not isinstance(facts, dict) or canonical(facts) != line:
            return None
    except (ValueError, RecursionError):
        return None
    mac = facts.pop("mac", None)
    return (facts, mac) if isinstance(mac, str) and _MAC.fullmatch(mac) else None


def parse_line(line: bytes, keys: Keys) -> AuditEntry | LineFault:
    """The entry of a line, or what shows that it is not as it was written."""
    if not line.endswith(b"\n"):
        return "malformed" if len(line) > LARGEST_LINE else "incomplete"
    sealed = open_sealed(line)
    if sealed is None:
        return "malformed"
    facts, mac = sealed
    if not hmac.compare_digest(mac, keys.of_line(facts)):
        return "edited"
    try:
        entry = AuditEntry(**facts, mac=mac)
    except TypeError:
        return "malformed"
    return entry if entry.format == FORMAT else "malformed"


def _code(key: bytes, message: bytes) -> hmac.HMAC:
    return hmac.new(key, message, hashlib.sha256)
