"""The head of a log: a small file beside it with the number of its lines and the last MAC."""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import Literal

from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import LARGEST_LINE, Head
from guardalign_middleware.audit.spelling import canonical, open_sealed
from guardalign_middleware.audit.storage import open_regular, prepare, sync_folder
from guardalign_middleware.errors import AuditError

HeadFault = Literal["missing", "damaged"]


def head_path(log: Path) -> Path:
    """Where the head of a log is kept."""
    return log.with_name(f"{log.name}.head")


def read_head(log: Path, keys: Keys) -> Head | HeadFault:
    """The head of a log.

    Raises:
        AuditError: the head exists but cannot be read.
    """
    path = head_path(log)
    try:
        file = open_regular(path, os.O_RDONLY)
        try:
            line = os.read(file, LARGEST_LINE)
        finally:
            os.close(file)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise AuditError(
            f"Cannot read {path}, the head of the audit log: {error.strerror}.",
            remedy="Check the file and its permissions.",
        ) from error
    sealed = open_sealed(line)
    if sealed is None or not hmac.compare_digest(sealed[1], keys.of_head(sealed[0])):
        return "damaged"
    entries, last = sealed[0].get("entries"), sealed[0].get("last")
    return Head(entries, last) if isinstance(entries, int) and isinstance(last, str) else "damaged"


def prepare_head(log: Path, head: Head, keys: Keys, *, fsync: bool) -> Path:
    """Write the next head beside the present one; `os.replace` then makes it the head.

    After a crash or a power failure, the head is either the old or the new one.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    record = {"entries": head.entries, "last": head.mac}
    line = canonical({**record, "mac": keys.of_head(record)})
    return prepare(head_path(log), line, fsync=fsync)


def write_head(log: Path, head: Head, keys: Keys, *, fsync: bool) -> None:
    """Replace the head atomically.

    Raises:
        OSError: the new head cannot be written; the old one stays.
    """
    os.replace(prepare_head(log, head, keys, fsync=fsync), head_path(log))
    if fsync:
        sync_folder(log)
