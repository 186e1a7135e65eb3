"""The secret key of an audit log: reading it, refusing a weak one, and the codes made with it."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guardalign_middleware.audit.spelling import canonical
from guardalign_middleware.audit.storage import open_regular
from guardalign_middleware.errors import AuditError

_KEY_BYTES = 32
_LARGEST_KEY = 65_536
# 32 random hexadecimal digits, the least random key that is long enough, take 27 bytes or more.
_LEAST_COMPRESSED = 24
_FOR_OTHERS = stat.S_IWGRP | stat.S_IRWXO
_MAKE_KEY = "Make one with: (umask 077 && openssl rand -hex 32 > audit.key)"


class Keys:
    """Computes the codes of a log, with one derived key per purpose to keep codes apart.

    Raises:
        AuditError: the key is too short, or too regular to be random.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY_BYTES:
            raise AuditError(
                f"The key of an audit log should have at least {_KEY_BYTES} bytes. "
                f"Received {len(key)}.",
                remedy=_MAKE_KEY,
            )
        if _is_regular(key):
            raise AuditError(
                "The key of the audit log repeats a pattern, so it can be guessed.",
                remedy=_MAKE_KEY,
            )
        self._line = _code(key, b"guardalign audit: line").digest()
        self._head = _code(key, b"guardalign audit: head").digest()
        self._image = _code(key, b"guardalign audit: image").digest()
        self._words = _code(key, b"guardalign audit: words").digest()

    def of_line(self, record: Mapping[str, Any]) -> str:
        """The MAC of a line's other fields."""
        return _code(self._line, canonical(record)).hexdigest()

    def of_head(self, record: Mapping[str, Any]) -> str:
        """The MAC of a head's other fields."""
        return _code(self._head, canonical(record)).hexdigest()

    def of_image(self, sha256: str) -> str:
        """The code of an image with this `CanonicalImage.sha256`, which covers size and pixels."""
        return _code(self._image, sha256.encode()).hexdigest()

    def of_words(self, sha256: str) -> str:
        """The code of words with this `WordsRead.sha256`, which without a key could be guessed."""
        return _code(self._words, sha256.encode()).hexdigest()


def key_from(file: Path | None, variable: str | None) -> bytes:
    """Read the key from a file or from an environment variable, exactly one of which is named.

    Raises:
        AuditError: as `load_key` or `key_from_environment`.
    """
    if variable is not None:
        return key_from_environment(variable)
    assert file is not None  # exactly one of the two is named
    return load_key(file)


def load_key(path: str | os.PathLike[str]) -> bytes:
    """Read a key file: all its bytes without trailing line ends.

    Raises:
        AuditError: the file cannot be read, is no regular file, or is open to other users; or the
            key is too short or too regular.
    """
    try:
        file = open_regular(path, os.O_RDONLY)
        try:
            mode = os.fstat(file).st_mode
            data = os.read(file, _LARGEST_KEY + 1)
        finally:
            os.close(file)
    except OSError as error:
        raise AuditError(
            f"Cannot read the key file {path}: {error.strerror}.",
            remedy=f"Name a regular file. {_MAKE_KEY}",
        ) from error
    if mode & _FOR_OTHERS:
        # With the key, a log can be rewritten so that nothing shows.
        raise AuditError(
            f"Other users can read or change the key file {path} (mode {stat.S_IMODE(mode):o}).",
            remedy="Close it with `chmod 600`; in Kubernetes, set the secret's defaultMode: 0440.",
        )
    if len(data) > _LARGEST_KEY:
        raise AuditError(f"{path} is too large for a key file.", remedy=_MAKE_KEY)
    key = data.rstrip(b"\r\n")
    Keys(key)
    return key


def key_from_environment(name: str) -> bytes:
    """Read a key from an environment variable, without surrounding whitespace.

    Raises:
        AuditError: the variable is not set, or the key is too short or too regular.
    """
    key = os.environb.get(os.fsencode(name), b"").strip()
    if not key:
        raise AuditError(
            f"The environment variable {name} for the key of the audit log is not set.",
            remedy=f'Set it, as in: export {name}="$(openssl rand -hex 32)"',
        )
    Keys(key)
    return key


def _is_regular(key: bytes) -> bool:
    """Whether the bytes or their steps repeat: zeros, `0123…0123…`, bytes that count up."""
    steps = bytes((after - before) % 256 for before, after in zip(key, key[1:], strict=False))
    return min(map(_compressed, (key, steps))) < _LEAST_COMPRESSED


def _compressed(data: bytes) -> int:
    packer = zlib.compressobj(9, wbits=-15)
    return len(packer.compress(data) + packer.flush())


def _code(key: bytes, message: bytes) -> hmac.HMAC:
    return hmac.new(key, message, hashlib.sha256)
