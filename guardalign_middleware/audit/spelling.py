"""The only valid spelling of a record, and its authentication code apart from the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

MAC: Final = re.compile(r"[0-9a-f]{64}")


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
    return (record, mac) if isinstance(mac, str) and MAC.fullmatch(mac) else None
