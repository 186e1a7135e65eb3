"""Which keys an audit log accepts, and from which files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.audit import AuditLog, load_key
from guardalign_middleware.errors import AuditError
from tests.support.audit_logs import KEY, write_key

REGULAR = {
    "zeros": bytes(32),
    "one letter": b"a" * 64,
    "few letters": b"ab" * 16,
    "a pattern": b"0123456789abcdef" * 2,
    "counting": bytes(range(32)),
    "counting down": bytes(range(255, 191, -1)),
    "runs": b"".join(bytes([letter]) * 8 for letter in b"abcdefgh"),
}


@pytest.mark.parametrize("key", REGULAR.values(), ids=REGULAR)
def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path, key: bytes) -> None:
    for use in (lambda: load_key(write_key(tmp_path, key)), lambda: AuditLog("log", key)):
        with pytest.raises(AuditError, match="repeats a pattern") as caught:
            use()
        assert "openssl rand" in caught.value.remedy


def test_random_keys_are_accepted_in_every_spelling() -> None:
    for seed in range(2_000):
        data = np.random.default_rng(seed).bytes(32)
        for key in (data, data.hex().encode(), data[:16].hex().encode()):
            AuditLog("log", key)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640, 0o700])
def test_a_file_for_its_owner_and_maybe_a_group_is_accepted(tmp_path: Path, mode: int) -> None:
    assert load_key(write_key(tmp_path, mode=mode)) == KEY


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o604, 0o660, 0o620, 0o602, 0o777])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = write_key(tmp_path, mode=mode)
    with pytest.raises(AuditError, match=f"mode {mode:o}") as caught:
        load_key(path)
    assert "chmod 600" in caught.value.remedy
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(AuditError, match="Other users"):
        load_key(link)


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it to read would wait for a writer
    for path in (pipe, tmp_path, Path("/dev/zero"), tmp_path / "missing"):
        with pytest.raises(AuditError, match="Cannot read the key file"):
            load_key(path)
    with pytest.raises(AuditError, match="too large"):
        load_key(write_key(tmp_path, KEY * 4_000))
    link = tmp_path / "link"
    link.symlink_to(write_key(tmp_path))
    assert load_key(link) == KEY
