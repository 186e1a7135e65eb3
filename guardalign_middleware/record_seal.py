"""Seals on the guard's records, to tell them from forged ones.

Metadata come from anywhere: from a tool, a document loader, or a client of the application. What
they say about images counts only under a seal of this process, or of one with the same key.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from typing import Any, Final

from guardalign_middleware.errors import ConfigError

KEY_VARIABLE: Final = "GUARDALIGN_RECORD_KEY"
"""The environment variable with a key that several processes share."""

SEAL: Final = "seal"
_SHORTEST = 16
_OF_THIS_PROCESS = secrets.token_bytes(32)
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with a seal over everything else in it; plain JSON values only.

    Raises:
        ConfigError: the key in `GUARDALIGN_RECORD_KEY` is too short.
    """
    return {**record, SEAL: _seal(record)}


def is_own(record: object) -> bool:
    """Whether a record has a seal that fits, and so comes from this guard unchanged.

    Raises:
        ConfigError: as for `sealed`.
    """
    if not isinstance(record, Mapping):
        return False
    seal = record.get(SEAL)
    try:
        return isinstance(seal, str) and hmac.compare_digest(seal.encode(), _seal(record).encode())
    except (TypeError, ValueError, RecursionError):
        # It holds what JSON does not know.
        return False


def _seal(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != SEAL}
    return hmac.digest(_key(), _JSON.encode(content).encode(), "sha256").hex()[:32]


def _key() -> bytes:
    given = os.environ.get(KEY_VARIABLE)
    if given is None:
        return _OF_THIS_PROCESS
    if len(given) < _SHORTEST:
        raise ConfigError(
            f"{KEY_VARIABLE} should have at least {_SHORTEST} characters.",
            remedy="Give all processes one random text, such as that of `openssl rand -hex 32`.",
        )
    return given.encode("utf-8", "surrogateescape")
