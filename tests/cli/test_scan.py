"""How `guardalign scan` describes verdicts, and what becomes of folders, of pipes and of FILE."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text
from typer.testing import CliRunner, Result

from guardalign_middleware import ImageGuard
from guardalign_middleware.cli import app
from guardalign_middleware.cli.scan import ScanOptions, describe, run_scan
from guardalign_middleware.config import AuditConfig, GuardAlignConfig, IntakePolicy
from guardalign_middleware.identity import scan_identity
from guardalign_middleware.testing import counting_guard, picture, png, red_config, red_guard
from guardalign_middleware.types import Region
from tests.support.animations import animation
from tests.support.audit_logs import KEY
from tests.support.drawn_words import drawn
from tests.support.full_disk import files_of_at_most
from tests.support.verdicts import make_verdict, plain_image

PLAIN, UNSAFE = png(picture()), png(picture(red=True))
FRAMES = IntakePolicy(frames="scan_all")


def test_a_line_marks_what_is_only_reported() -> None:
    verdict = make_verdict(plain_image(), [(1, 2, 10, 12)])
    reported = Region((20, 5, 30, 15), "drug", 0.35, 0.7, "flag")
    line = Text.from_markup(describe(replace(verdict, regions=(*verdict.regions, reported)))).plain
    assert line == (
        "mask  test.png  weapon 0.300 <= 0.400  "
        "weapon at (1, 2, 10, 12), drug at (20, 5, 30, 15) (only reported)"
    )


@pytest.mark.parametrize("observing", [False, True])
def test_the_nearest_category_is_no_finding_in_an_allowed_picture(observing: bool) -> None:
    verdict = make_verdict(plain_image(), [])
    assert verdict.decision == "allow"
    if observing:
        verdict = replace(verdict, decision="observe", would_be="allow")
    line = Text.from_markup(describe(verdict)).plain
    assert f"test.png  distance {verdict.distance:.3f} > 0.400" in line
    assert verdict.category not in line


def run(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: object,
    guard: ImageGuard | None = None,
    stdin: bytes | None = None,
) -> Result:
    known = guard or red_guard(red_config(intake=FRAMES))
    monkeypatch.setattr(ImageGuard, "from_config", lambda config: known)
    return CliRunner().invoke(app, ["scan", *map(str, arguments)], input=stdin)


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def timeless(text: str) -> list[dict[str, object]]:
    """The results without the time that each took."""
    return [{name: row[name] for name in row if name != "seconds"} for row in rows(text)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    for name, data in {"b.png": PLAIN, "no suffix": UNSAFE, "notes.txt": b"no"}.items():
        (path / name).write_bytes(data)
    return path


class TestFolder:
    def test_an_unsafe_picture_without_a_suffix_is_found(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        result = run(monkeypatch, folder, "--json")
        assert result.exit_code == 1
        assert [row["decision"] for row in rows(result.stdout)] == ["allow", "mask"]
        assert result.stderr == f"skipped 1 (not pictures): {folder}/notes.txt\n"

    def test_a_closed_folder_does_not_hide_the_others(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        below = folder / "below"
        below.mkdir()
        scandir = os.scandir

        def refusing(path: object) -> object:
            if Path(str(path)) == below:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(str(path))

        monkeypatch.setattr(os, "scandir", refusing)
        result = run(monkeypatch, folder, "--json")
        assert result.exit_code == 2
        assert len(rows(result.stdout)) == 2
        assert f"error: The folder {below} cannot be read" in result.stderr


class TestStandardInput:
    def test_a_picture_is_scanned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        result = run(monkeypatch, "-", "--json", stdin=UNSAFE)
        assert result.exit_code == 1
        assert [row["source"] for row in rows(result.stdout)] == ["-"]

    def test_frames_are_numbered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = animation(picture(), picture(red=True), image_format="GIF")
        found = rows(run(monkeypatch, "-", "--json", stdin=data).stdout)
        assert [(row["source"], row["frame"], row["frames"]) for row in found] == [
            ("-", 1, 2),
            ("-", 2, 2),
        ]

    @pytest.mark.parametrize("data", [b"", b"no picture", PLAIN[:50]])
    def test_anything_else_is_one_line(self, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
        result = run(monkeypatch, "-", stdin=data)
        assert (result.exit_code, result.stdout) == (2, "")
        assert len(result.stderr.splitlines()) == 1
        assert "<bytes>" not in result.stderr


def test_an_audit_log_that_cannot_be_written_is_a_failed_program(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUDIT_KEY", KEY.decode())
    (tmp_path / "absent").mkdir()
    audit = AuditConfig(log=tmp_path / "absent" / "log", key_variable="AUDIT_KEY")
    file = tmp_path / "results.jsonl"
    guard = red_guard(red_config(audit=audit))
    shutil.rmtree(tmp_path / "absent")  # a guard does not start without
    result = run(monkeypatch, folder, "--resume", file, guard=guard)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Cannot write to the audit log" in result.stderr
    assert file.read_bytes() == b"", "no input is to blame"


class TestFullDisk:
    def test_no_half_overlay_is_left(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
    ) -> None:
        with files_of_at_most(100):
            result = run(monkeypatch, folder, "--overlay", tmp_path / "seen")
        assert result.exit_code == 3
        assert result.stderr.splitlines()[-1].startswith("error: Cannot write the overlay")
        assert list((tmp_path / "seen").iterdir()) == []

    def test_no_half_line_is_left_and_the_scan_goes_on_later(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "results.jsonl"
        run(monkeypatch, folder / "b.png", "--resume", file)
        before = file.read_bytes()
        with files_of_at_most(len(before) + 20):
            result = run(monkeypatch, folder, "--resume", file)
        assert result.exit_code == 3
        assert "Cannot write" in result.stderr
        assert file.read_bytes() == before
        assert run(monkeypatch, folder, "--resume", file).exit_code == 1
        assert len(rows(file.read_text())) == 2


class TestResume:
    def test_nothing_is_scanned_twice(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "results.jsonl"
        (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
        guard, encoder = counting_guard()
        first = run(monkeypatch, folder, "--resume", file, "--json", guard=guard)
        assert first.exit_code == 2
        stands = rows(file.read_text())
        made_by = scan_identity(GuardAlignConfig.load("mini"))
        told = [{**row, "guard": made_by} for row in rows(first.stdout)]
        assert [row for row in stands if "error" not in row] == told
        (failed,) = [row for row in stands if "error" in row]
        assert set(failed) == {"source", "error", "guard"}
        assert (failed["source"], failed["guard"]) == (str(folder / "broken.jpg"), made_by)
        scanned = encoder.batches
        again = run(monkeypatch, folder, "--resume", file, "--json", guard=guard)
        assert (again.exit_code, again.stdout) == (2, "")
        assert "3 of 3 inputs stand in" in again.stderr
        assert encoder.batches == scanned
        (folder / "new").write_bytes(png(picture(side=40)))
        third = run(monkeypatch, folder, "--resume", file, guard=guard)
        assert third.exit_code == 2
        assert len(rows(file.read_text())) == 4

    def test_the_status_is_that_of_all_inputs_and_of_no_others(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "results.jsonl"
        assert run(monkeypatch, folder, "--resume", file).exit_code == 1
        assert run(monkeypatch, folder, "--resume", file).exit_code == 1
        assert run(monkeypatch, folder / "b.png", "--resume", file).exit_code == 0

    @pytest.mark.parametrize("cut", [1, 5, 80, 150, 300])
    def test_an_interrupted_input_is_scanned_again_whole(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut: int
    ) -> None:
        data = animation(picture(), picture(red=True), picture(), image_format="GIF")
        (tmp_path / "a.png").write_bytes(PLAIN)
        (tmp_path / "party.gif").write_bytes(data)
        paths, file = (tmp_path / "a.png", tmp_path / "party.gif"), tmp_path / "results.jsonl"
        run(monkeypatch, *paths, "--resume", file)
        whole = file.read_bytes()
        assert [row.get("frame") for row in rows(whole.decode())] == [None, 1, 2, 3]
        file.write_bytes(whole[:-cut])
        assert run(monkeypatch, *paths, "--resume", file).exit_code == 1
        assert timeless(file.read_text()) == timeless(whole.decode())

    def test_an_input_named_twice_is_scanned_once(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "results.jsonl"
        run(monkeypatch, folder / "b.png", folder / "b.png", "--resume", file)
        assert len(rows(file.read_text())) == 1

    def test_standard_input_is_another_picture_each_time(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "results.jsonl"
        for data, status in ((PLAIN, 0), (UNSAFE, 1)):
            assert run(monkeypatch, "-", "--resume", file, stdin=data).exit_code == status
        assert len(rows(file.read_text())) == 2

    def test_a_name_that_is_not_utf8_is_found_again(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path, file = tmp_path / os.fsdecode(b"caf\xe9\n\x9b.png"), tmp_path / "results.jsonl"
        path.write_bytes(PLAIN)
        for _ in range(2):
            assert run(monkeypatch, path, "--resume", file).exit_code == 0
        assert [row["source"] for row in rows(file.read_text())] == [str(path)]

    @pytest.mark.parametrize(
        "content",
        [
            PLAIN,
            b"text without an end",
            b"[]\n",
            b"{}\n",
            b'{"source": 1, "error": "x"}\n',
            b'{"source": "a", "decision": "maybe"}\n',
            b'{"source": "a", "frame": 1, "frames": 2, "decision": "allow"}\n'
            b'{"source": "b", "decision": "allow"}\n',
        ],
    )
    def test_any_other_file_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path, content: bytes
    ) -> None:
        file = tmp_path / "mine"
        file.write_bytes(content)
        result = run(monkeypatch, folder, "--resume", file)
        assert (result.exit_code, result.stdout) == (3, "")
        assert "--resume" in result.stderr
        assert file.read_bytes() == content

    @pytest.mark.parametrize("place", ["absent/file", ".", "pipe", "/dev/null"])
    def test_only_a_regular_file_is_used(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path, place: str
    ) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert run(monkeypatch, folder, "--resume", tmp_path / place).exit_code == 3

    @pytest.mark.parametrize(
        "options", [["--words", "report"], ["--preset", "clip-vit-b-32"], ["--preset", "changed"]]
    )
    @pytest.mark.parametrize("content", [PLAIN, b"damaged"])
    def test_results_of_another_guard_are_not_taken_over(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], content: bytes
    ) -> None:
        """Not even when all is done, or when there are only errors."""
        (tmp_path / "a.png").write_bytes(content)
        file, profile = tmp_path / "results.jsonl", tmp_path / "profile.json"
        profile.write_text("{}")
        load = GuardAlignConfig.load

        def with_profile(preset: str) -> GuardAlignConfig:
            config = load("mini" if preset == "changed" else preset)
            detection = config.detection.model_copy(update={"profile": profile})
            return config.model_copy(update={"detection": detection})

        monkeypatch.setattr(GuardAlignConfig, "load", with_profile)
        status = run(monkeypatch, tmp_path / "a.png", "--resume", file).exit_code
        before = file.read_bytes()
        assert run(monkeypatch, tmp_path / "a.png", "--resume", file).exit_code == status
        if options[-1] == "changed":
            profile.write_text("{ }")
        guard, encoder = counting_guard()
        result = run(monkeypatch, tmp_path / "a.png", "--resume", file, *options, guard=guard)
        assert result.exit_code == 3
        told = " ".join(result.stderr.split())
        assert "of another preset, --words, --mode or version" in told
        assert "name another file with --resume" in told
        assert (encoder.batches, file.read_bytes()) == (0, before)

    def test_results_that_do_not_say_of_which_guard_are_not_taken_over(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "results.jsonl"
        run(monkeypatch, folder / "b.png", "--resume", file)
        (row,) = rows(file.read_text())
        del row["guard"]
        file.write_text(json.dumps(row) + "\n")
        assert run(monkeypatch, folder, "--resume", file).exit_code == 3

    def test_two_scans_do_not_share_a_file(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
    ) -> None:
        from guardalign_middleware.bulk.results import ResumeFile

        file = tmp_path / "results.jsonl"
        with ResumeFile.open(file):
            result = run(monkeypatch, folder, "--resume", file)
        assert result.exit_code == 3
        assert "in use by another scan" in result.stderr


def test_words_on_the_command_line_overrides_the_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("HELLO THERE", 40, on=(400, 200), at=(20, 60)).to_pil().save(tmp_path / "sign.png")
    paths = [str(tmp_path / "sign.png")]
    assert run_scan(paths, [], ScanOptions(as_json=True, words="mask")) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["decision"] == "mask"
    assert record["words"]["lines"] == 1
    assert "words" in {region.get("kind") for region in record["regions"]}
    assert run_scan(paths, [], ScanOptions(words="report")) in {0, 1}
    assert "words: 1 line read" in " ".join(capsys.readouterr().out.split())
