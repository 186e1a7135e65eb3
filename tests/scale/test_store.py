"""Results by content: found again by any job of the same guard, and by no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale.store import Kept, ResultStore, digest_of

KEPT = Kept(({"decision": "mask", "distance": 0.1},), b"\n\x00cleaned\n")
DIGEST = digest_of(b"a file")


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_what_was_kept_is_found_by_the_same_guard_only(tmp_path: Path, form: str) -> None:
    place = form.format(tmp_path / "results")
    ResultStore(place, "a" * 64).put(DIGEST, KEPT)
    assert ResultStore(place, "a" * 64).get(DIGEST) == KEPT
    assert ResultStore(place, "b" * 64).get(DIGEST) is None
    assert ResultStore(place, "a" * 64).get(digest_of(b"another")) is None
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [DIGEST]


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path), "a" * 64)
    store.put(DIGEST, KEPT)
    (file,) = tmp_path.rglob(DIGEST)
    file.write_bytes(b"{}\n")
    with pytest.raises(ConfigError, match=DIGEST):
        store.get(DIGEST)


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), "no-such-scheme://bucket"):
        with pytest.raises(ConfigError, match="cannot be read or written"):
            ResultStore(place, "a" * 64)
