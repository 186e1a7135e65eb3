"""One line of an audit log: its fields, its only valid spelling, and its authentication codes."""

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
"""MAC of the previous line, in the first line."""

LARGEST_LINE = 65_536
"""In bytes, including the newline."""

LineFault = Literal["incomplete", "malformed", "edited"]
Step = Literal["scan", "sanitize"]

_KEY_BYTES = 32
_MAC = re.compile(r"[0-9a-f]{64}")
_MAKE_KEY = "Make one with: openssl rand -hex 32 > audit.key"


@dataclass(frozen=True)
class AuditEntry:
    """One line of a log.

    Attributes:
        number: line number, from 0.
        time: time of writing, UTC, ISO 8601.
        image: HMAC-SHA256 of size and canonical pixels, hexadecimal.
        width, height: size of the image, in pixels.
        step: whether the image was only scanned, or cleaned as well.
        decision: `allow`, `mask` or `block`.
        cleaned: code of the cleaned image, computed like `image`; None if the image was blocked or
            only scanned.
        distance: the verdict's (low = unsafe); None if there is a fault.
        fault: why the image was allowed unscanned; None for every scanned image.
        threshold: the threshold for `distance`.
        category: the verdict's, flagged or not.
        regions: number of unsafe regions.
        profile: fingerprint of the threshold profile.
        encoder: fingerprint of the encoder.
        version: version of this package.
        source: source of the image; None unless the log includes sources.
        previous: MAC of the previous line; `FIRST` in the first line.
        mac: HMAC-SHA256 of everything else in the line, hexadecimal.
        format: version of the line format.
        draw: seed of the detector's random views; None without random views, and in lines written
            before such views existed.
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
        """The line as written to the log, including the newline."""
        return canonical(asdict(self))


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
        if not (re.fullmatch(r"[0-9]{1,18}", entries) and _MAC.fullmatch(mac)):
            raise AuditError(
                f"{text!r} is not an anchor.",
                remedy="Pass the head printed by an earlier verification, as in 12:9f86d0….",
            )
        return cls(int(entries), mac)

    def __str__(self) -> str:
        return f"{self.entries}:{self.mac}"


EMPTY = Head(0, FIRST)


class Keys:
    """Computes the codes of a log, with one derived key per purpose to keep codes apart.

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

    def of_line(self, record: Mapping[str, Any]) -> str:
        """The MAC of a line's other fields."""
        return _code(self._line, canonical(record)).hexdigest()

    def of_head(self, record: Mapping[str, Any]) -> str:
        """The MAC of a head's other fields."""
        return _code(self._head, canonical(record)).hexdigest()

    def of_image(self, sha256: str) -> str:
        """The code of an image with this `CanonicalImage.sha256`, which covers size and pixels."""
        return _code(self._image, sha256.encode()).hexdigest()


def load_key(path: str | os.PathLike[str]) -> bytes:
    """Read a key file: all its bytes without trailing line ends.

    Raises:
        AuditError: the file cannot be read, or the key is too short.
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
    """Read a key from an environment variable, without surrounding whitespace.

    Raises:
        AuditError: the variable is not set, or the key is too short.
    """
    key = os.environb.get(name.encode(), b"").strip()
    if not key:
        raise AuditError(
            f"The environment variable {name} for the key of the audit log is not set.",
            remedy=f'Set it, as in: export {name}="$(openssl rand -hex 32)"',
        )
    Keys(key)
    return key


def canonical(record: Mapping[str, Any]) -> bytes:
    """The only valid spelling of a JSON object on a line; any other is treated as an edit.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def open_sealed(line: bytes) -> tuple[dict[str, Any], str] | None:
    """The other fields and the MAC of a line; None unless its spelling is canonical."""
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or canonical(record) != line:
            return None
    except (ValueError, RecursionError):
        return None
    mac = record.pop("mac", None)
    return (record, mac) if isinstance(mac, str) and _MAC.fullmatch(mac) else None


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


def _code(key: bytes, message: bytes) -> hmac.HMAC:
    return hmac.new(key, message, hashlib.sha256)
