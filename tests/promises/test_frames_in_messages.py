"""Promise 4: no frame of a file reaches a model unseen."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner, Result

from guardalign_middleware import GuardAlign, ImageGuard, ImageRejected
from guardalign_middleware.cli import app
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.testing import (
    RED,
    EchoRunner,
    all_red,
    picture,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage, ImagePart, TextPart
from tests.support.animations import FORMATS, animation, animation_url

ALL = IntakePolicy(frames="scan_all")
ALL_WITH_PATHS = IntakePolicy(frames="scan_all", allow_paths=True)
PLAIN, UNSAFE, HOPELESS = picture(), picture(red=True), all_red()
GREEN = picture(colour=(0, 255, 0))


def scanning() -> ImageGuard:
    return red_guard(red_config(intake=ALL))


def chain_of(runner: EchoRunner, policy: IntakePolicy = ALL) -> GuardAlign:
    return red_chain(red_config(intake=policy), runner)


def user(*parts: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def forms(data: bytes, folder: Path) -> list[dict[str, Any]]:
    """One TIFF as every kind of part that a message may contain."""
    file = folder / "pages.tif"
    file.write_bytes(data)
    text = base64.b64encode(data).decode()
    url = f"data:image/tiff;base64,{text}"
    return [
        {"type": "image", "image": data},
        {"type": "image", "image": Image.open(BytesIO(data))},
        {"type": "image", "image": url},
        {"type": "image", "base64": text, "mime_type": "image/tiff"},
        {"type": "image", "url": url},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image", "path": str(file)},
        {"type": "image_url", "image_url": {"url": file.as_uri()}},
    ]


class TestMessages:
    def test_each_frame_is_an_image_in_the_place_of_the_file(self, tmp_path: Path) -> None:
        for part in forms(animation(PLAIN, UNSAFE, GREEN), tmp_path):
            (message,) = parse_messages(user("before", part, "behind"), ALL_WITH_PATHS)
            kinds = [type(piece) for piece in message.parts]
            assert kinds == [TextPart, ImagePart, ImagePart, ImagePart, TextPart]
            hashes = [image.sha256 for image in message.images]
            assert hashes == [PLAIN.sha256, UNSAFE.sha256, GREEN.sha256]
            assert [image.source[-2:] for image in message.images] == ["#1", "#2", "#3"]

    def test_they_are_refused_by_default_and_the_place_is_named(self, tmp_path: Path) -> None:
        for part in forms(animation(PLAIN, UNSAFE), tmp_path):
            with pytest.raises(ImageRejected, match=r"messages\[0\]\.content\[1\]") as caught:
                parse_messages(user("what?", part), IntakePolicy(allow_paths=True))
            assert caught.value.reason == "multiple_frames"

    def test_the_caps_hold_for_all_frames_together(self) -> None:
        part = {"type": "image", "image": animation(PLAIN, UNSAFE, GREEN)}
        with pytest.raises(ImageRejected, match=r"content\[0\]") as caught:
            parse_messages(user(part), IntakePolicy(frames="scan_all", max_frames=2))
        assert caught.value.reason == "too_many_frames"


@pytest.mark.parametrize("image_format", FORMATS)
class TestChain:
    def ask(self, image_format: str, *frames: CanonicalImage) -> list[dict[str, Any]]:
        data = animation(*frames, image_format=image_format)
        return user({"type": "image", "image": data}, {"type": "text", "text": "what?"})

    def test_an_unsafe_frame_is_hidden_and_the_others_are_shown(self, image_format: str) -> None:
        runner = EchoRunner()
        reply = chain_of(runner).invoke(self.ask(image_format, PLAIN, UNSAFE, GREEN))
        assert [verdict.decision for verdict in reply.verdicts] == ["allow", "mask", "allow"]
        assert [verdict.source for verdict in reply.verdicts] == [
            "<bytes>#1", "<bytes>#2", "<bytes>#3",
        ]  # fmt: skip
        assert len(runner.calls[0].images) == 3
        for image in runner.calls[0].images:
            assert not (image.pixels == RED).all(axis=-1).any()

    def test_one_hopeless_frame_blocks_the_conversation(self, image_format: str) -> None:
        runner = EchoRunner()
        reply = chain_of(runner).invoke(self.ask(image_format, PLAIN, HOPELESS))
        assert reply.finish_reason == "blocked"
        assert [verdict.decision for verdict in reply.verdicts] == ["allow", "block"]
        assert runner.calls == []

    def test_by_default_no_model_is_asked(self, image_format: str) -> None:
        runner = EchoRunner()
        with pytest.raises(ImageRejected) as caught:
            chain_of(runner, IntakePolicy()).invoke(self.ask(image_format, PLAIN, UNSAFE))
        assert caught.value.reason == "multiple_frames"
        assert runner.calls == []

    def test_the_guard_alone_judges_by_the_worst_frame(self, image_format: str) -> None:
        verdict = scanning().scan(animation(PLAIN, UNSAFE, GREEN, image_format=image_format))
        assert (verdict.decision, verdict.source) == ("mask", "<bytes>#2")


class TestGuard:
    @settings(max_examples=25, deadline=None)
    @given(files=st.lists(st.lists(st.sampled_from("pug"), min_size=1, max_size=4), max_size=3))
    def test_a_file_is_as_bad_as_its_worst_frame(self, files: list[list[str]]) -> None:
        guard = scanning()
        images = {"p": PLAIN, "u": UNSAFE, "g": GREEN}
        sources = [animation(*(images[name] for name in names)) for names in files]
        verdicts = guard.scan_many(sources)
        assert [verdict.decision for verdict in verdicts] == [
            "mask" if "u" in names else "allow" for names in files
        ]
        for verdict, names in zip(verdicts, files, strict=True):
            alone = [guard.scan(images[name]).distance for name in names]
            assert verdict.distance == pytest.approx(min(alone))

    def test_block_is_worse_than_a_nearer_mask(self) -> None:
        guard = red_guard(red_config(intake=ALL, sanitize={"method": "block"}))
        assert guard.scan(animation(PLAIN, UNSAFE, GREEN)).decision == "block"

    def test_every_frame_is_cleaned_on_request(self) -> None:
        guard = scanning()
        frames = guard.load_frames(animation(PLAIN, UNSAFE, HOPELESS))
        cleaned = guard.sanitize_many(frames)
        assert [item.verdict.decision for item in cleaned] == ["allow", "mask", "block"]
        assert cleaned[0].image is frames[0]
        assert cleaned[2].image is None

    def test_one_cleaned_picture_of_several_frames_is_refused(self) -> None:
        with pytest.raises(ImageRejected, match="load_frames") as caught:
            scanning().sanitize(animation(PLAIN, UNSAFE))
        assert caught.value.reason == "multiple_frames"

    def test_by_default_no_frame_is_looked_at(self) -> None:
        guard = red_guard()
        for call in (guard.scan, guard.sanitize, guard.load, guard.load_frames):
            with pytest.raises(ImageRejected) as caught:
                call(animation(PLAIN, GREEN))
            assert caught.value.reason == "multiple_frames"


class TestCommand:
    def run(
        self, monkeypatch: pytest.MonkeyPatch, policy: IntakePolicy, *arguments: object
    ) -> Result:
        guard = red_guard(red_config(intake=policy))
        monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)
        return CliRunner().invoke(app, ["scan", *map(str, arguments)])

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "party.gif"
        path.write_bytes(animation(PLAIN, UNSAFE, GREEN, image_format="GIF"))
        return path

    def test_a_line_for_each_frame(
        self, monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path
    ) -> None:
        single = tmp_path / "single.png"
        PLAIN.to_pil().save(single)
        overlay = ("--overlay", tmp_path / "seen")
        result = self.run(monkeypatch, ALL, "--json", file, single, *overlay)
        assert result.exit_code == 1
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        assert [(row["source"], row.get("frame"), row["decision"]) for row in rows] == [
            (str(file), 1, "allow"),
            (str(file), 2, "mask"),
            (str(file), 3, "allow"),
            (str(single), None, "allow"),
        ]
        assert {seen.name for seen in (tmp_path / "seen").iterdir()} == {
            "0001-party-1.png",
            "0001-party-2.png",
            "0001-party-3.png",
            "0002-single.png",
        }
        people = self.run(monkeypatch, ALL, file).stdout
        assert f"{file}#2  weapon" in people

    def test_by_default_it_cannot_be_scanned(
        self, monkeypatch: pytest.MonkeyPatch, file: Path
    ) -> None:
        result = self.run(monkeypatch, IntakePolicy(), "--json", file)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "more than one frame" in result.stderr


def test_a_data_url_of_several_frames_keeps_its_label() -> None:
    (message,) = parse_messages(
        user({"type": "image_url", "image_url": animation_url(PLAIN, GREEN)}), ALL
    )
    assert [image.source for image in message.images] == ["<data URL>#1", "<data URL>#2"]
