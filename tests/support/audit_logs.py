"""Keys, verdicts and logs shared by several test files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guardalign_middleware.audit import AuditEntry, AuditLog
from guardalign_middleware.types import Verdict
from tests.support.verdicts import make_verdict, plain_image

KEY = b"q8vX2mTz7LcR4wYb9NkP5sHd3JfGa6Ue"
OTHER_KEY = b"Zr5tW1nQ8xJm3bVd6KpL0yHs7GcFa2Ue"
BOXES = [(1, 2, 10, 12), (20, 5, 30, 15)]


def verdict_number(seed: int) -> Verdict:
    return make_verdict(plain_image(seed=seed), BOXES[: seed % 3])


def write(path: Path, count: int, **options: Any) -> list[AuditEntry]:
    log = AuditLog(path, KEY, **options)
    return [log.append(verdict_number(seed)) for seed in range(count)]


def write_unnamed(path: Path) -> bytes:
    """Append a line that the head does not name yet, as a killed writer leaves it; returns it."""
    size, head = path.stat().st_size, head_of(path).read_bytes()
    write(path, 1)
    head_of(path).write_bytes(head)
    return path.read_bytes()[size:]


def write_key(folder: Path, key: bytes = KEY, mode: int = 0o600) -> Path:
    """A key file, private to its owner unless the mode says otherwise."""
    path = folder / "audit.key"
    path.write_bytes(key)
    path.chmod(mode)
    return path


def head_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")
