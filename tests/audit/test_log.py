from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.audit import AuditLog, read_entries, verify
from guardalign_middleware.errors import AuditError
from guardalign_middleware.types import CanonicalImage
from tests.support.audit_logs import BOXES, KEY, OTHER_KEY, head_of, verdict_number, write
from tests.support.verdicts import make_verdict, plain_image


class TestWhatIsWritten:
    def test_a_line_holds_the_decision_and_what_made_it(self, tmp_path: Path) -> None:
        image = plain_image()
        verdict = make_verdict(image, BOXES)
        entry = AuditLog(tmp_path / "log", KEY).append(verdict)
        (line,) = (tmp_path / "log").read_text().splitlines()
        record = json.loads(line)
        # A line has no field for words that were not read, nor for what was only observed.
        assert {**record, "words": None, "would_be": None} == asdict(entry)
        assert set(record) == {
            "number", "time", "image", "width", "height", "decision", "distance", "threshold",
            "category", "regions", "profile", "encoder", "version", "source", "previous", "mac",
            "format", "step", "cleaned", "fault", "draw",
        }  # fmt: skip
        assert (record["step"], record["cleaned"], record["fault"]) == ("scan", None, None)
        assert record["decision"] == "mask"
        assert record["regions"] == 2
        assert record["encoder"] == "fake"
        assert record["time"].endswith("+00:00")
        assert record["source"] is None

    def test_no_pixel_no_path_and_no_plain_digest_is_written(self, tmp_path: Path) -> None:
        image = CanonicalImage(np.full((5, 5, 3), 77, np.uint8), "/home/canary/photo.png")
        log = AuditLog(tmp_path / "log", KEY)
        log.append(make_verdict(image, BOXES[:1]))
        text = (tmp_path / "log").read_text() + head_of(tmp_path / "log").read_text()
        for secret in ("canary", "photo", image.sha256, "77, 77", KEY.decode()):
            assert secret not in text

    def test_where_it_came_from_is_written_on_request(self, tmp_path: Path) -> None:
        image = CanonicalImage(np.zeros((5, 5, 3), np.uint8), "/home/someone/ü.png")
        log = AuditLog(tmp_path / "log", KEY, include_source=True)
        assert log.append(make_verdict(image)).source == "/home/someone/ü.png"
        assert verify(tmp_path / "log", KEY).intact

    def test_the_image_code_depends_on_pixels_size_and_key(self, tmp_path: Path) -> None:
        flat = np.zeros((2, 8, 3), np.uint8)
        pictures = [flat, flat.reshape(4, 4, 3), flat + 1]
        codes = [
            AuditLog(tmp_path / f"log{number}", key)
            .append(make_verdict(CanonicalImage(pixels)))
            .image
            for number, (pixels, key) in enumerate(
                [(pixels, KEY) for pixels in pictures] + [(flat, OTHER_KEY)]
            )
        ]
        assert len(set(codes)) == 4

    def test_each_line_names_the_one_before(self, log: Path) -> None:
        entries = list(read_entries(log, KEY))
        assert [entry.number for entry in entries] == list(range(6))
        assert entries[0].previous == "0" * 64
        for before, entry in zip(entries, entries[1:], strict=False):
            assert entry.previous == before.mac

    def test_both_files_are_for_the_owner_alone(self, log: Path) -> None:
        assert (log.stat().st_mode & 0o777, head_of(log).stat().st_mode & 0o777) == (0o600, 0o600)

    def test_fsync_waits_for_the_line_the_head_and_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        write(tmp_path / "plain", 1)
        assert synced == []
        write(tmp_path / "durable", 1, fsync=True)
        assert len(synced) == 5  # two heads, each with its folder, and the line

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_a_verdict_without_finite_numbers_is_refused(
        self, tmp_path: Path, number: float
    ) -> None:
        log = AuditLog(tmp_path / "log", KEY)
        for field in ("distance", "threshold"):
            # There is no verdict that decides without a threshold.
            with pytest.raises((AuditError, ValueError), match="not finite|Without a threshold"):
                log.append(replace(verdict_number(1), **{field: number}))
        assert not (tmp_path / "log").exists()

    def test_a_line_that_is_too_long_is_refused_and_leaves_the_log_usable(self, log: Path) -> None:
        with pytest.raises(AuditError, match="bytes"):
            AuditLog(log, KEY).append(replace(verdict_number(1), category="x" * 70_000))
        write(log, 1)
        assert verify(log, KEY).entries == 7

    def test_a_short_key_is_refused(self, tmp_path: Path) -> None:
        for use in (lambda: AuditLog(tmp_path / "log", b"short"), lambda: verify(tmp_path, b"")):
            with pytest.raises(AuditError, match="at least 32 bytes") as caught:
                use()
            assert "openssl rand" in caught.value.remedy

    def test_a_place_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        for path in (tmp_path / "absent" / "log", tmp_path):
            with pytest.raises(AuditError, match="Cannot write"):
                AuditLog(path, KEY).append(verdict_number(0))


class TestManyWriters:
    def test_threads(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        shared = AuditLog(path, KEY)

        def work(log: AuditLog) -> None:
            for seed in range(20):
                log.append(verdict_number(seed))

        threads = [
            threading.Thread(target=work, args=(log,))
            for log in (shared, shared, AuditLog(path, KEY), AuditLog(path, KEY))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert verify(path, KEY).entries == 80

    @pytest.mark.slow
    def test_processes(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        script = (
            "from pathlib import Path; from tests.support.audit_logs import write; "
            f"write(Path({str(path)!r}), 25)"
        )
        running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
        assert [process.wait(600) for process in running] == [0, 0, 0]
        assert verify(path, KEY).entries == 75

    def test_a_full_disk_leaves_no_half_line(self, log: Path) -> None:
        size = log.stat().st_size
        script = (
            "import resource; from pathlib import Path\n"
            "from tests.support.audit_logs import write\n"
            "from guardalign_middleware.errors import AuditError\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 100}, {size + 100}))\n"
            f"try: write(Path({str(log)!r}), 1)\n"
            "except AuditError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert "Cannot write" in done.stdout
        assert log.stat().st_size == size
        write(log, 1)
        assert verify(log, KEY).entries == 7
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("exists", [False, True])
def test_the_head_is_written_once_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    log = AuditLog(tmp_path / "log", KEY)
    if exists:
        log.recover()
    replaced: list[object] = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (replaced.append(new), real(old, new)))
    log.recover()
    assert len(replaced) == 1
