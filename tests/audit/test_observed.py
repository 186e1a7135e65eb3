"""What is read of a log for fitting: only what is intact, of one configuration, and observed."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.audit import AuditLog, read_entries, verify
from guardalign_middleware.audit.observed import ObservedImages, read_observed
from guardalign_middleware.errors import AuditError
from tests.support.audit_logs import KEY, OTHER_KEY, head_of, verdict_number
from tests.support.observed_logs import BINDING, ENCODER, observed_verdict, write_observed


def read(path: Path, **options: Any) -> ObservedImages:
    fields = {"encoder": ENCODER, "binding": BINDING, **options}
    return read_observed(path, fields.pop("key", KEY), **fields)


@pytest.fixture
def observed(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    write_observed(path, [0.1, 0.2, 0.3])
    return path


def test_each_different_image_once_in_order(observed: Path) -> None:
    write_observed(observed, [0.1, 0.2])
    found = read(observed)
    assert [one[0]["native"]["weapon"] for one in found.images] == [0.1, 0.2, 0.3]
    assert (found.lines, found.repeated, found.unscanned, found.enforced) == (5, 2, 0, 0)
    assert str(found.first) < str(found.last)
    assert found.to_json()["images"] == 3


def test_what_was_not_scanned_or_not_only_observed_is_counted(observed: Path) -> None:
    log = AuditLog(observed, KEY)
    log.append(observed_verdict(math.nan, 9, fault="encode: no number"))
    log.append(verdict_number(1))
    found = read(observed)
    assert (len(found.images), found.unscanned, found.enforced) == (3, 1, 1)


@pytest.mark.parametrize("part", ["encoder", "binding"])
def test_another_configuration_is_refused_and_its_line_named(observed: Path, part: str) -> None:
    with pytest.raises(AuditError, match="Line 1 of the log"):
        read(observed, **{part: "another"})
    write_observed(observed, [0.4], **{part: "another"})
    with pytest.raises(AuditError, match=r"Line 4 of the log.*--since"):
        read(observed)


def test_lines_from_before_are_left_out(observed: Path) -> None:
    write_observed(observed, [0.4], binding="another")
    times = [datetime.fromisoformat(each.time) for each in read_entries(observed, KEY)]
    assert len(read(observed, binding="another", since=times[3]).images) == 1
    assert read(observed, since=times[3] + timedelta(days=1)).lines == 0


@pytest.mark.parametrize("how", ["edited", "cut", "no head", "key"])
def test_a_log_that_is_not_intact_is_refused(observed: Path, how: str) -> None:
    data = observed.read_bytes()
    match how:
        case "edited":
            observed.write_bytes(data.replace(b"0.2", b"0.9"))
        case "cut":
            observed.write_bytes(b"".join(data.splitlines(keepends=True)[:2]))
        case "no head":
            head_of(observed).unlink()
    with pytest.raises(AuditError, match="not intact"):
        read(observed, key=OTHER_KEY if how == "key" else KEY)


def test_an_anchor_and_a_start_count(observed: Path) -> None:
    head = verify(observed, KEY).head
    assert read(observed, anchor=head).lines == 3
    write_observed(observed, [0.1])
    with pytest.raises(AuditError, match="not intact"):
        read(observed, start=head)
