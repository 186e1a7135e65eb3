from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from guardalign_middleware.audit import (
    AuditEntry,
    AuditLog,
    AuditReport,
    Head,
    differences,
    load_key,
    matches,
    read_entries,
    verify,
)
from guardalign_middleware.cli import app
from guardalign_middleware.errors import AuditError
from guardalign_middleware.types import CanonicalImage, Verdict
from tests.verdicts import make_verdict, plain_image

KEY = b"0123456789abcdef" * 2
OTHER_KEY = b"fedcba9876543210" * 2
BOXES = [(1, 2, 10, 12), (20, 5, 30, 15)]


def verdict_number(seed: int) -> Verdict:
    return make_verdict(plain_image(seed=seed), BOXES[: seed % 3])


def write(path: Path, count: int, **options: Any) -> list[AuditEntry]:
    log = AuditLog(path, KEY, **options)
    return [log.append(verdict_number(seed)) for seed in range(count)]


def head_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def kinds(report: AuditReport) -> set[str]:
    return {problem.kind for problem in report.problems}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of six lines."""
    path = tmp_path / "audit.jsonl"
    write(path, 6)
    return path


class TestWhatIsWritten:
    def test_a_line_holds_the_decision_and_what_made_it(self, tmp_path: Path) -> None:
        image = plain_image()
        verdict = make_verdict(image, BOXES)
        entry = AuditLog(tmp_path / "log", KEY).append(verdict)
        (line,) = (tmp_path / "log").read_text().splitlines()
        facts = json.loads(line)
        assert facts == asdict(entry)
        assert set(facts) == {
            "number", "time", "image", "width", "height", "decision", "distance", "threshold",
            "category", "regions", "profile", "encoder", "version", "source", "previous", "mac",
            "format", "step", "cleaned", "fault",
        }  # fmt: skip
        assert (facts["step"], facts["cleaned"], facts["fault"]) == ("scan", None, None)
        assert facts["decision"] == "mask"
        assert facts["regions"] == 2
        assert facts["encoder"] == "fake"
        assert facts["time"].endswith("+00:00")
        assert facts["source"] is None

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
            with pytest.raises(AuditError, match="not finite"):
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


class TestVerify:
    def test_an_intact_log(self, log: Path) -> None:
        report = verify(log, KEY)
        assert report.intact
        assert report.entries == 6
        *_, last = read_entries(log, KEY)
        assert report.head == Head(6, last.mac)
        assert Head.parse(str(report.head)) == report.head
        assert verify(log, KEY, anchor=report.head).intact

    def test_a_log_that_has_only_begun(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        entry = write(path, 1)[0]
        assert verify(path, KEY).head == Head(1, entry.mac)

    def test_another_key_fits_no_line_and_not_too_many_are_told(self, log: Path) -> None:
        report = verify(log, OTHER_KEY)
        assert report.head is None
        assert [problem.line for problem in report.problems if problem.kind == "edited"] == [
            1, 2, 3, 4, 5, 6,
        ]  # fmt: skip
        log.write_bytes(log.read_bytes() * 40)
        assert len(verify(log, OTHER_KEY).problems) == 100

    @pytest.mark.parametrize(
        ("change", "kind", "line"),
        [
            (lambda lines: [*lines[:2], *lines[3:]], "out_of_order", 3),
            (lambda lines: lines[1:], "out_of_order", 1),
            (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "out_of_order", 3),
            (lambda lines: [*lines[:3], lines[2], *lines[3:]], "out_of_order", 4),
            (lambda lines: [*lines, lines[5]], "out_of_order", 7),
            (lambda lines: [*lines[:3], b"\n", *lines[3:]], "malformed", 4),
            (lambda lines: [b"\xff\xfe" + lines[0], *lines[1:]], "malformed", 1),
            (lambda lines: [*lines[:5], lines[5].replace(b":", b": ", 1)], "malformed", 6),
            (lambda lines: [*lines[:5], b"[" * 60_000 + b"\n"], "malformed", 6),
            (lambda lines: [*lines[:5], b"x" * 70_000 + b"\n"], "malformed", 6),
            (lambda lines: [lines[0].replace(b'"allow"', b'"block"'), *lines[1:]], "edited", 1),
            (lambda lines: [*lines[:5], lines[5][:-1]], "incomplete", 6),
            (lambda lines: [*lines[:5], lines[5][:40]], "incomplete", 6),
            (lambda lines: lines[:5], "cut", None),
            (lambda lines: [], "cut", None),
        ],
    )
    def test_what_was_done_is_named(
        self, log: Path, change: Callable[[list[bytes]], list[bytes]], kind: str, line: int | None
    ) -> None:
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(change(lines)))
        report = verify(log, KEY)
        assert (kind, line) in {(problem.kind, problem.line) for problem in report.problems}
        assert report.head is None
        if kind != "cut":
            with pytest.raises(AuditError, match="not as it was written"):
                list(read_entries(log, KEY))

    @pytest.mark.parametrize(
        "change",
        [
            lambda data: data[:-1],
            lambda data: data[: data.rindex(b"\n", 0, -1) + 1],
            lambda data: data + b"\n",
            lambda data: data + data[data.rindex(b"\n", 0, -1) + 1 :][:-1],
            lambda data: data.replace(b'"number":5', b'"number":4'),
            lambda data: data + b"x" * 70_000,
            lambda data: b"",
        ],
    )
    def test_nothing_is_appended_where_the_end_was_changed(
        self, log: Path, change: Callable[[bytes], bytes]
    ) -> None:
        """It would give the log a valid end again."""
        changed = change(log.read_bytes())
        log.write_bytes(changed)
        with pytest.raises(AuditError, match="Nothing is appended") as caught:
            write(log, 1)
        assert "guardalign audit verify" in caught.value.remedy
        assert log.read_bytes() == changed

    def test_a_line_of_another_log_with_the_same_key_does_not_fit(self, log: Path) -> None:
        other = log.with_name("other")
        write(other, 6)
        lines = log.read_bytes().splitlines(keepends=True)
        lines[3] = other.read_bytes().splitlines(keepends=True)[3]
        log.write_bytes(b"".join(lines))
        assert kinds(verify(log, KEY)) == {"out_of_order"}

    def test_a_head_that_is_gone_damaged_or_forged_is_told(self, log: Path) -> None:
        head = head_of(log)
        content = head.read_bytes()
        forged = content.replace(b'"entries":6', b'"entries":5')
        for damaged in (None, b"", forged, content[:-2], b"{}\n"):
            head.unlink() if damaged is None else head.write_bytes(damaged)
            assert kinds(verify(log, KEY)) == {"head"}
            with pytest.raises(AuditError, match="Nothing is appended"):
                write(log, 1)

    def test_a_head_that_was_put_back_is_told(self, log: Path) -> None:
        old = head_of(log).read_bytes()
        write(log, 2)
        head_of(log).write_bytes(old)
        assert kinds(verify(log, KEY)) == {"head"}
        with pytest.raises(AuditError, match="Nothing is appended"):
            write(log, 1)

    def test_only_an_anchor_shows_that_both_files_were_put_back(self, log: Path) -> None:
        before = (log.read_bytes(), head_of(log).read_bytes())
        write(log, 2)
        anchor = verify(log, KEY).head
        log.write_bytes(before[0])
        head_of(log).write_bytes(before[1])
        assert verify(log, KEY).intact, "the documented limit"
        assert kinds(verify(log, KEY, anchor=anchor)) == {"cut"}
        # A new history of the same length, made with the key.
        write(log, 2)
        assert verify(log, KEY).intact
        assert kinds(verify(log, KEY, anchor=anchor)) == {"head"}

    def test_an_anchor_stays_good_while_the_log_grows(self, log: Path) -> None:
        anchor = verify(log, KEY).head
        write(log, 3)
        assert verify(log, KEY, anchor=anchor).entries == 9

    def test_with_an_anchor_a_copy_needs_no_head(self, log: Path) -> None:
        anchor = verify(log, KEY).head
        head_of(log).unlink()
        assert verify(log, KEY, anchor=anchor).intact
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:5]))
        assert kinds(verify(log, KEY, anchor=anchor)) == {"cut"}

    def test_a_crash_between_the_two_files_is_no_tampering(self, log: Path) -> None:
        old = head_of(log).read_bytes()
        write(log, 1)
        head_of(log).write_bytes(old)
        assert verify(log, KEY).entries == 7
        write(log, 1)
        assert verify(log, KEY).entries == 8

    def test_a_log_that_is_not_there_cannot_be_checked(self, tmp_path: Path) -> None:
        for path in (tmp_path / "absent", tmp_path):
            with pytest.raises(AuditError, match="Cannot read"):
                verify(path, KEY)
            with pytest.raises(AuditError, match="Cannot read"):
                list(read_entries(path, KEY))

    def test_writing_goes_on_while_it_is_read(self, log: Path) -> None:
        for entry in read_entries(log, KEY):
            AuditLog(log, KEY).append(verdict_number(entry.number))
        assert verify(log, KEY).entries == 12


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "log"
    write(path, 5)
    return path


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_change_of_the_bytes_is_found(original: Path, data: st.DataObject) -> None:
    before = original.read_bytes()
    after = bytearray(before)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(after) - 1))
        span = data.draw(st.integers(0, 3))
        after[place : place + span] = data.draw(st.binary(max_size=3))
        assume(after)
    assume(bytes(after) != before)
    assert_found(original, bytes(after))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_change_of_the_lines_is_found(original: Path, data: st.DataObject) -> None:
    lines = original.read_bytes().splitlines(keepends=True)
    chosen = data.draw(st.lists(st.sampled_from(range(len(lines))), max_size=8))
    assume(chosen != list(range(len(lines))))
    assert_found(original, b"".join(lines[number] for number in chosen))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_change_of_a_fact_is_found(original: Path, data: st.DataObject) -> None:
    """Also when the line is spelt as this program would spell it."""
    lines = original.read_bytes().splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1))
    facts = json.loads(lines[number])
    name = data.draw(st.sampled_from(sorted(facts)))
    facts[name] = data.draw(
        st.one_of(st.none(), st.integers(0, 9), st.floats(0, 1), st.text(max_size=5))
    )
    lines[number] = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assume(b"".join(lines) != original.read_bytes())
    assert_found(original, b"".join(lines))


def assert_found(original: Path, changed: bytes) -> None:
    copy = original.with_name("copy")
    copy.write_bytes(changed)
    head_of(copy).write_bytes(head_of(original).read_bytes())
    report = verify(copy, KEY)
    assert not report.intact
    assert report.head is None


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

    def test_processes(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        script = (
            "from pathlib import Path; from tests.test_audit import write; "
            f"write(Path({str(path)!r}), 25)"
        )
        running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
        assert [process.wait(120) for process in running] == [0, 0, 0]
        assert verify(path, KEY).entries == 75

    def test_a_full_disk_leaves_no_half_line(self, log: Path) -> None:
        size = log.stat().st_size
        script = (
            "import resource; from pathlib import Path; from tests.test_audit import write\n"
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


class TestReplay:
    def test_the_same_verdict_on_the_same_image_matches(self, tmp_path: Path) -> None:
        image = plain_image()
        write(tmp_path / "log", 1)
        AuditLog(tmp_path / "log", KEY).append(make_verdict(image, BOXES))
        *_, entry = read_entries(tmp_path / "log", KEY)
        elsewhere = CanonicalImage(image.pixels.copy(), "another name")
        again = make_verdict(elsewhere, BOXES)
        assert matches(entry, again, elsewhere, KEY)
        assert matches(entry, replace(again, distance=again.distance + 1e-9), elsewhere, KEY)

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            ({"decision": "block"}, {"decision"}),
            ({"distance": 0.31}, {"distance"}),
            ({"distance": float("nan")}, {"distance"}),
            ({"threshold": 0.41}, {"threshold"}),
            ({"category": "drug"}, {"category"}),
            ({"regions": ()}, {"regions"}),
            ({"profile": "new"}, {"profile"}),
            ({"width": 41, "height": 29}, {"width", "height"}),
            ({"sha256": "0" * 64}, {"image"}),
        ],
    )
    def test_a_difference_is_named(
        self, tmp_path: Path, change: dict[str, Any], names: set[str]
    ) -> None:
        image = plain_image()
        verdict = make_verdict(image, BOXES)
        entry = AuditLog(tmp_path / "log", KEY).append(verdict)
        assert set(differences(entry, replace(verdict, **change), image, KEY)) == names
        assert not matches(entry, replace(verdict, **change), image, KEY)

    def test_another_image_encoder_or_key_does_not_match(self, tmp_path: Path) -> None:
        image, other = plain_image(), plain_image(seed=1)
        verdict = make_verdict(image, BOXES)
        entry = AuditLog(tmp_path / "log", KEY).append(verdict)
        assert differences(entry, make_verdict(other, BOXES), other, KEY) == ("image",)
        assert differences(entry, verdict, other, KEY) == ("image",)
        assert differences(entry, verdict, image, OTHER_KEY) == ("image",)
        encoder = replace(verdict.evidence, encoder="new")
        assert differences(entry, replace(verdict, evidence=encoder), image, KEY) == ("encoder",)

    def test_the_guard_replays_its_own_log(self, tmp_path: Path) -> None:
        from tests.doubles import picture, red_guard

        image = picture(red=True)
        log = AuditLog(tmp_path / "log", KEY)
        log.append(red_guard().scan(image))
        log.append(red_guard().sanitize(image).verdict)
        for entry in read_entries(tmp_path / "log", KEY):
            assert entry.decision == "mask"
            assert matches(entry, red_guard().scan(image), image, KEY)


class TestCommand:
    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, ["audit", "verify", *map(str, arguments)])

    @pytest.fixture
    def key_file(self, tmp_path: Path) -> Path:
        path = tmp_path / "audit.key"
        path.write_bytes(KEY + b"\n")
        return path

    def test_intact_is_0(self, log: Path, key_file: Path) -> None:
        result = self.run(log, "--key-file", key_file)
        assert result.exit_code == 0
        head = str(verify(log, KEY).head)
        assert head in result.stdout
        assert self.run(log, "--key-file", key_file, "--anchor", head).exit_code == 0

    def test_tampered_is_1_and_told_by_line(self, log: Path, key_file: Path) -> None:
        log.write_bytes(log.read_bytes().replace(b'"allow"', b'"block"', 1))
        result = self.run(log, "--key-file", key_file)
        assert result.exit_code == 1
        assert "NOT intact" in result.stdout
        assert "line 1: it was changed" in result.stdout

    def test_cut_is_1_by_head_or_anchor(self, log: Path, key_file: Path) -> None:
        head = verify(log, KEY).head
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:4]))
        assert self.run(log, "-k", key_file).exit_code == 1
        assert self.run(log, "-k", key_file, "--anchor", head).exit_code == 1

    def test_json(self, log: Path, key_file: Path) -> None:
        facts = json.loads(self.run(log, "-k", key_file, "--json").stdout)
        assert facts == verify(log, KEY).to_json()
        assert facts["intact"] is True
        log.write_bytes(b"x\n")
        result = self.run(log, "-k", key_file, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["problems"][0]["kind"] == "malformed"

    def test_what_cannot_be_checked_is_2(self, log: Path, key_file: Path, tmp_path: Path) -> None:
        short = tmp_path / "short.key"
        short.write_bytes(b"short\n")
        for arguments in (
            (tmp_path / "absent", "-k", key_file),
            (log, "-k", tmp_path / "absent"),
            (log, "-k", short),
            (log, "-k", key_file, "--anchor", "6"),
            (log, "-k", key_file, "--anchor", "6:" + "g" * 64),
            (log,),
        ):
            result = self.run(*arguments)
            assert result.exit_code == 2
            assert "Traceback" not in result.stderr + result.stdout

    def test_a_key_file_may_end_its_line(self, key_file: Path) -> None:
        assert load_key(key_file) == KEY
