"""The guard writes the audit log itself, before anything is forwarded, or nothing is forwarded."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from guardalign_middleware import AuditError, ConfigError, GuardAlign, GuardAlignConfig, ImageGuard
from guardalign_middleware.audit import AuditEntry, differences, heads, read_entries, verify
from guardalign_middleware.cli import app
from guardalign_middleware.config import AuditConfig, SanitizeConfig
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import (
    EchoRunner,
    all_red,
    picture,
    png,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage, Message
from tests.support.audit_logs import KEY, write_key
from tests.support.full_disk import files_of_at_most

VARIABLE = "GUARDALIGN_TEST_KEY"
PLAIN, UNSAFE, HOPELESS = picture(), picture(red=True), all_red()


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of the log; its key is in the environment."""
    monkeypatch.setenv(VARIABLE, KEY.decode())
    return tmp_path / "audit.jsonl"


def recording(log: Path, **changes: Any) -> GuardAlignConfig:
    return red_config(audit=AuditConfig(log=log, key_variable=VARIABLE), **changes)


def entries(log: Path) -> list[AuditEntry]:
    assert verify(log, KEY).intact
    return list(read_entries(log, KEY))


def ask(*images: CanonicalImage, text: str = "what is it?") -> list[dict[str, Any]]:
    parts: list[Any] = [{"type": "image", "image": png(image)} for image in images]
    return [{"role": "user", "content": [*parts, text]}]


class TestWhatIsWritten:
    def test_one_entry_for_each_image_that_was_handed_in(self, log: Path) -> None:
        guard = red_guard(recording(log))
        guard.scan(PLAIN)
        guard.scan_many([UNSAFE, PLAIN, UNSAFE])
        guard.sanitize(UNSAFE)
        guard.sanitize_many([HOPELESS, PLAIN])
        assert [(entry.step, entry.decision) for entry in entries(log)] == [
            ("scan", "allow"),
            ("scan", "mask"),
            ("scan", "allow"),
            ("scan", "mask"),
            ("sanitize", "mask"),
            ("sanitize", "block"),
            ("sanitize", "allow"),
        ]

    def test_the_cleaned_picture_is_named_by_its_own_code(self, log: Path) -> None:
        guard = red_guard(recording(log))
        cleaned = guard.sanitize(UNSAFE).image
        guard.sanitize_many([HOPELESS, PLAIN])
        assert cleaned is not None
        guard.scan(cleaned)
        masked, blocked, allowed, again = entries(log)
        assert masked.cleaned == again.image != masked.image
        assert blocked.cleaned is None
        assert allowed.cleaned == allowed.image
        assert again.cleaned is None

    def test_nothing_secret_is_written(self, log: Path, tmp_path: Path) -> None:
        photo = tmp_path / "canary-photo.png"
        photo.write_bytes(png(UNSAFE))
        red_guard(recording(log)).scan(photo)
        red_chain(recording(log)).invoke(ask(UNSAFE, text="canary-prompt"))
        written = log.read_text() + log.with_name(f"{log.name}.head").read_text()
        for secret in ("canary", KEY.decode(), UNSAFE.sha256):
            assert secret not in written

    def test_where_images_came_from_on_request(self, log: Path) -> None:
        audit = AuditConfig(log=log, key_variable=VARIABLE, include_source=True)
        red_guard(red_config(audit=audit)).scan(UNSAFE)
        assert entries(log)[0].source == "red.png"

    def test_without_the_setting_nothing_is_written(self, log: Path) -> None:
        red_chain().invoke(ask(UNSAFE))
        assert list(log.parent.iterdir()) == []


async def test_every_way_of_asking_records_before_the_model_is_asked(log: Path) -> None:
    lines_then: list[int] = []

    class Watching(EchoRunner):
        def generate(self, messages: Sequence[Message], **options: Any) -> Generated:
            lines_then.append(len(entries(log)))
            return super().generate(messages, **options)

    chain = red_chain(recording(log), Watching())
    chain.invoke(ask(UNSAFE))
    chain.batch([ask(PLAIN), ask(HOPELESS), "only words"])
    chain.stream(ask(PLAIN)).finish()
    await chain.ainvoke(ask(PLAIN))
    _ = [chunk async for chunk in chain.astream(ask(UNSAFE))]
    await chain.abatch([ask(PLAIN)])
    assert [entry.decision for entry in entries(log)] == [
        "mask", "allow", "block", "allow", "allow", "mask", "allow",
    ]  # fmt: skip
    assert lines_then == [1, 3, 3, 4, 5, 6, 7]


class TestFailsClosed:
    def refused(
        self, config: GuardAlignConfig, guard: ImageGuard | None = None
    ) -> list[AuditError]:
        """The error that every call raises without asking the model."""
        runner = EchoRunner()
        chain = GuardAlign(guard or red_guard(config), runner)
        calls: list[Callable[[], object]] = [
            lambda: chain.guard.scan(PLAIN),
            lambda: chain.guard.sanitize(PLAIN),
            lambda: chain.invoke(ask(PLAIN)),
            lambda: chain.stream(ask(PLAIN)),
            lambda: chain.batch([ask(PLAIN)]),
        ]
        errors = []
        for call in calls:
            with pytest.raises(AuditError) as caught:
                call()
            errors.append(caught.value)
        assert runner.calls == []
        return errors

    def gone(self, log: Path, **changes: Any) -> tuple[GuardAlignConfig, ImageGuard]:
        """A guard whose log was removed with its folder after the start."""
        folder = log.parent / "absent"
        folder.mkdir()
        config = recording(folder / "log", **changes)
        guard = red_guard(config)
        shutil.rmtree(folder)
        return config, guard

    def test_a_log_that_cannot_be_written(self, log: Path) -> None:
        for error in self.refused(*self.gone(log)):
            assert "Cannot write" in error.message
            assert error.remedy

    def test_a_guard_that_could_not_record_does_not_start(self, log: Path) -> None:
        """It would be ready, and fail every picture."""
        with pytest.raises(AuditError, match="Cannot write") as caught:
            red_guard(recording(log.parent / "absent" / "log", on_fault="allow"))
        assert caught.value.remedy

    def test_neither_does_one_that_could_not_write_the_next_head(
        self, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in a folder that has become read-only, beside a log that has not."""
        red_guard(recording(log)).scan(PLAIN)

        def read_only(path: Path, data: bytes, *, fsync: bool) -> Path:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(heads, "prepare", read_only)
        with pytest.raises(AuditError, match="Read-only"):
            red_guard(recording(log))
        assert len(entries(log)) == 1

    def test_a_full_disk(self, log: Path) -> None:
        red_guard(recording(log)).scan(PLAIN)
        before = log.read_bytes()
        with files_of_at_most(len(before) + 100):
            errors = self.refused(recording(log))
        assert all("Cannot write" in error.message for error in errors)
        assert log.read_bytes() == before
        red_guard(recording(log)).scan(PLAIN)
        assert len(entries(log)) == 2

    def test_a_log_that_was_tampered_with(self, log: Path) -> None:
        guard = red_guard(recording(log))
        guard.scan(PLAIN)
        log.write_bytes(log.read_bytes().replace(b"allow", b"block"))
        for error in self.refused(recording(log), guard):
            assert "Nothing is appended" in error.message
        with pytest.raises(AuditError, match="Nothing is appended"):
            red_guard(recording(log))

    def test_fail_open_does_not_open_this(self, log: Path) -> None:
        self.refused(*self.gone(log, on_fault="allow"))


class TestKey:
    def preset(self, folder: Path, audit: object) -> Path:
        data = {
            "name": "own",
            "detection": {
                "encoder": {"model": "fake"},
                "anchors": "a.yaml",
                "profile": "profile.json",
            },
            "audit": audit,
        }
        path = folder / "own.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return path

    def test_the_paths_are_relative_to_the_preset(self, tmp_path: Path) -> None:
        audit = {"log": "logs/audit.jsonl", "key_file": "audit.key", "fsync": True}
        config = GuardAlignConfig.load(self.preset(tmp_path, audit)).audit
        assert config is not None
        assert config.log == tmp_path / "logs" / "audit.jsonl"
        assert config.key_file == tmp_path / "audit.key"
        assert config.fsync

    @pytest.mark.parametrize(
        "audit",
        [
            {"log": "a"},
            {"log": "a", "key_file": "k", "key_variable": "K"},
            {"log": "a", "key": "0" * 64},
            {"log": "a", "key_variable": ""},
        ],
    )
    def test_exactly_one_place_and_never_the_preset(
        self, tmp_path: Path, audit: dict[str, str]
    ) -> None:
        with pytest.raises(ValidationError):
            AuditConfig.model_validate(audit)
        with pytest.raises(ConfigError, match="audit"):
            GuardAlignConfig.load(self.preset(tmp_path, audit))

    def test_a_key_file(self, tmp_path: Path) -> None:
        key_file = write_key(tmp_path, KEY + b"\n")
        audit = AuditConfig(log=tmp_path / "log", key_file=key_file)
        red_guard(red_config(audit=audit)).scan(PLAIN)
        assert len(entries(tmp_path / "log")) == 1

    @pytest.mark.parametrize("value", [None, "", "  ", "short"])
    def test_a_guard_without_its_key_does_not_start(
        self, log: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
    ) -> None:
        if value is None:
            monkeypatch.delenv(VARIABLE)
        else:
            monkeypatch.setenv(VARIABLE, value)
        with pytest.raises(AuditError) as caught:
            red_guard(recording(log))
        assert "openssl rand" in caught.value.remedy

    def test_cleaned_images_do_not_depend_on_it(self, log: Path) -> None:
        with_log = LazyGuard(guard=red_guard(recording(log))).identity
        assert with_log == LazyGuard(guard=red_guard()).identity


def test_threads_and_several_guards_share_one_log(log: Path) -> None:
    guards = [red_guard(recording(log)) for _ in range(2)]

    def work(guard: ImageGuard) -> None:
        for image in (PLAIN, UNSAFE, HOPELESS) * 4:
            guard.sanitize(image)

    threads = [threading.Thread(target=work, args=(guard,)) for guard in guards * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(log)) == 6 * 12


class TestReplay:
    @pytest.fixture
    def written(self, log: Path) -> Path:
        """A log of one scan and one conversation."""
        red_guard(recording(log)).scan_many([PLAIN, UNSAFE, HOPELESS])
        red_chain(recording(log)).invoke(ask(PLAIN, UNSAFE, HOPELESS))
        return log

    def test_log_and_image_give_the_same_result_again(self, written: Path) -> None:
        images = [PLAIN, UNSAFE, HOPELESS] * 2
        guard = red_guard()
        for entry, image in zip(entries(written), images, strict=True):
            again = guard.sanitize(image) if entry.step == "sanitize" else guard.scan(image)
            assert differences(entry, again, image, KEY) == ()
            other = guard.scan(image) if entry.step == "sanitize" else guard.sanitize(image)
            assert "step" in differences(entry, other, image, KEY)

    def test_an_image_masked_differently_differs(self, written: Path) -> None:
        other = red_guard(red_config(sanitize=SanitizeConfig(margin=0.0, fill=(0, 0, 0))))
        masked = entries(written)[4]
        assert differences(masked, other.sanitize(UNSAFE), UNSAFE, KEY) == ("cleaned",)
        strict = red_guard(red_config(sanitize=SanitizeConfig(method="block")))
        changed = differences(masked, strict.sanitize(UNSAFE), UNSAFE, KEY)
        assert set(changed) == {"decision", "cleaned"}

    def replay(
        self,
        monkeypatch: pytest.MonkeyPatch,
        config: GuardAlignConfig,
        *arguments: object,
    ) -> Result:
        monkeypatch.setattr(GuardAlignConfig, "load", lambda preset: config)
        monkeypatch.setattr(ImageGuard, "from_config", red_guard)
        return CliRunner().invoke(app, ["audit", "replay", *map(str, arguments)])

    def test_the_command(
        self, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = write_key(tmp_path)
        files = {"plain": PLAIN, "unsafe": UNSAFE, "unknown": picture(side=32)}
        for name, image in files.items():
            (tmp_path / f"{name}.png").write_bytes(png(image))
        plain, unsafe, unknown = (tmp_path / f"{name}.png" for name in files)
        before = written.read_bytes()
        config = recording(written)
        same = self.replay(monkeypatch, config, written, plain, unsafe, "-k", key, "--json")
        assert same.exit_code == 0, same.output
        rows = [json.loads(line) for line in same.stdout.splitlines()]
        assert [(row["number"], row["step"], row["decision"]) for row in rows] == [
            (0, "scan", "allow"),
            (3, "sanitize", "allow"),
            (1, "scan", "mask"),
            (4, "sanitize", "mask"),
        ]
        assert all(row["same"] and row["differences"] == [] for row in rows)
        other = recording(written, sanitize=SanitizeConfig(method="block"))
        differs = self.replay(monkeypatch, other, written, unsafe, "-k", key)
        assert differs.exit_code == 1
        assert "DIFFERS" in differs.stdout
        missing = self.replay(monkeypatch, config, written, unknown, plain, "-k", key)
        assert missing.exit_code == 2
        assert "no entry" in missing.stderr
        assert missing.stdout.count("same") == 2
        assert written.read_bytes() == before


def test_a_chain_records_through_its_guard_once(log: Path) -> None:
    chain = GuardAlign(red_guard(recording(log)), EchoRunner())
    chain.stream_reply(chain.prepare(ask(UNSAFE))).finish()
    assert len(entries(log)) == 1
