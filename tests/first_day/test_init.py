"""`guardalign init` against the double of the hub: from nothing to a guard that is fitted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from guardalign_middleware.cli import app, init_steps
from guardalign_middleware.cli import init as commands
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import OpenClipEncoder
from guardalign_middleware.detection import fit as measuring
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.first_day import fitting, questions
from guardalign_middleware.first_day.pinned import check_safetensors
from guardalign_middleware.first_day.plan import Plan
from guardalign_middleware.first_day.preset_writing import name_profile
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.preset_files import find_preset
from tests.hub.double import HOSTS, Hub
from tests.hub.repositories import CLIP, LLAVA, SIGLIP, SIGLIP_NAME, WORDS, publish_siglip

pytestmark = pytest.mark.allow_hosts([*HOSTS])
CONCEPTS = """categories:
  red: [a red thing]
  blue: [a blue thing]
neutral:
  nothing: [an empty room, a tree]
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for side, count in (("safe", 10), ("unsafe", 3)):
        (tmp_path / side).mkdir()
        for number in range(count):
            pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{number}.png")
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A preset as those that are shipped, with fewer words."""
    (tmp_path / "words.yaml").write_text(CONCEPTS)
    path = tmp_path / "start.yaml"
    path.write_text(
        "name: start\ndetection:\n  encoder: {model: ViT-B-32-quickgelu, pretrained: openai, "
        "device: cpu}\n  anchors: words.yaml\n  patches: {max_crops: 4}\n"
        "  sees: {kind: native}\n"
        "  transport: {tolerance: 1.0e-4}\n"
    )
    return path


@pytest.fixture
def init(photos: Path, start: Path) -> Callable[..., Result]:
    def run(*more: str, yes: bool = True) -> Result:
        sides = ["--safe", str(photos / "safe"), "--unsafe", str(photos / "unsafe")]
        arguments = ["--preset", str(start), "--model", LLAVA, *sides, "--max-false-alarm", "0.2"]
        out = ["--out", str(photos / "guard.yaml"), *(["--yes"] if yes else [])]
        return CliRunner().invoke(app, ["init", *arguments, *out, *more])

    return run


@pytest.mark.evidence
def test_from_nothing_to_a_guard(
    hub: Hub, photos: Path, init: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(questions, "TOKENS", 4)
    end = init()
    assert end.exit_code == 0, end.output
    # What will be fetched is said first, with licence and revision.
    assert end.stdout.index(hub.repositories[CLIP].commit[:12]) < end.stdout.index("SHA-256 noted")
    assert "llama2" in end.stdout
    fields = yaml.safe_load((photos / "guard.yaml").read_text())
    encoder, runner = fields["detection"]["encoder"], fields["runner"]
    assert encoder["revision"] == hub.repositories[CLIP].commit
    assert runner["revision"] == hub.repositories[LLAVA].commit
    weights = hub.repositories[CLIP].folder / "open_clip_model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert encoder["sha256"] == {weights.name: digest}
    assert {"config.json", "tokenizer.json"} < set(runner["sha256"])
    assert not [name for name in runner["sha256"] if name.endswith(".bin")]
    assert fields["detection"]["patches"]["max_crops"] != 4  # chosen for these pictures
    # The numbers are explained, and the rates come with their intervals.
    assert "10 safe pictures: 7 set the threshold, 3 are held out" in end.stdout
    assert "of 3 held out:" in end.stdout
    profile = json.loads((photos / "guard-profile.json").read_text())
    assert profile["calibrated_on"]["max_false_alarm"] == 0.2
    sheet = (photos / "guard-review.html").read_text()
    assert sheet.count("<figure>") >= 8
    assert "held out" in sheet
    answers = json.loads((photos / "guard-answers.json").read_text())
    assert len(answers) == 10
    assert {one["side"] for one in answers} == {"safe", "unsafe"}
    for line in ("ChatGuardAlign(preset=", "GuardAlignMultiModal(preset=", "openai.OpenAI("):
        assert line in end.stdout
    # The guard starts from what was written, without the hub.
    hub.requests.clear()
    ImageGuard.from_preset(photos / "guard.yaml").scan(photos / "safe" / "0.png")
    assert not hub.requests


@pytest.mark.parametrize("place", [SIGLIP, WORDS])
def test_a_tokenizer_is_pinned_wherever_it_lies(
    hub: Hub, photos: Path, start: Path, init: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    publish_siglip(hub, photos, monkeypatch, tokenizer=place)
    start.write_text(
        start.read_text()
        .replace("ViT-B-32-quickgelu", SIGLIP_NAME)
        .replace("pretrained: openai", "pretrained: webli")
    )
    end = init("--step", "download", "--step", "preset")
    assert end.exit_code == 0, end.output
    encoder = yaml.safe_load((photos / "guard.yaml").read_text())["detection"]["encoder"]
    assert encoder["revision"] == hub.repositories[SIGLIP].commit
    pins = encoder["sha256"] if place == SIGLIP else encoder["tokenizer"]["sha256"]
    assert "tokenizer.json" in pins
    assert ("tokenizer" in encoder) == (place == WORDS)
    if place == WORDS:
        assert encoder["tokenizer"]["revision"] == hub.repositories[WORDS].commit
    OpenClipEncoder.load(GuardAlignConfig.load(photos / "guard.yaml").detection.encoder)


@pytest.mark.evidence
@pytest.mark.usefixtures("hub")
def test_each_step_goes_on_from_what_is_there(
    photos: Path, init: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(detector: Any, image: Any, **more: Any) -> Any:
        if len(measured) == 7:
            raise KeyboardInterrupt
        measured.append(image.sha256)
        return measuring.measure(detector, image, **more)

    monkeypatch.setattr(fitting, "measure", measure)
    first = ["--step", "download", "--step", "preset", "--step", "calibrate"]
    assert init(*first).exit_code == 130  # interrupted in the seventh picture
    assert not (photos / "guard-profile.json").exists()
    assert GuardAlignConfig.load(photos / "guard.yaml").detection.profile is None
    with (photos / "guard-distances.jsonl").open("a") as file:
        file.write('{"binding": "half a li')
    seven = list(measured)
    measured += ["", ""]
    end = init("--step", "calibrate")
    assert end.exit_code == 0, end.output
    again = measured[len(seven) + 2 :]
    assert len(again) == 10 + 3 - 7
    assert not set(seven) & set(again)
    edited = (photos / "guard.yaml").read_text() + "# mine\n"
    (photos / "guard.yaml").write_text(edited)
    measured.clear()
    measured += [""] * 8
    end = init("--step", "review", "--step", "calibrate")
    assert end.exit_code == 0, end.output
    assert measured == [""] * 8  # nothing is measured twice
    assert (photos / "guard-review.html").exists()
    assert (photos / "guard.yaml").read_text() == edited


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("slow", "precision"), [(True, "fp32"), (False, "bf16")])
def test_a_cpu_without_bfloat16_gets_a_preset_in_fp32(
    init: Any,
    start: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    slow: bool,
    precision: str,
) -> None:
    start.write_text(start.read_text().replace("device: cpu}", "device: cpu, precision: bf16}"))
    monkeypatch.setattr(init_steps, "lacks_bfloat16", lambda device: slow)
    end = init("--step", "preset")
    assert end.exit_code == 0, end.output
    fields = yaml.safe_load((photos / "guard.yaml").read_text())
    assert fields["detection"]["encoder"]["precision"] == precision
    assert ("fp32 instead of bf16" in end.stdout) == slow


class TestToObserve:
    """Without labelled pictures: a preset that records what it sees."""

    def run(self, folder: Path, *more: str) -> Result:
        out = ["--out", str(folder / "guard.yaml")]
        return CliRunner().invoke(app, ["init", "--observe", "--preset", "mini", *out, *more])

    def test_it_writes_all_that_the_guard_needs(self, tmp_path: Path) -> None:
        end = self.run(tmp_path)
        assert end.exit_code == 0, end.output
        names = {"guard.yaml", "guard-concepts.yaml", "guard-audit.key"}
        assert {path.name for path in tmp_path.iterdir()} == names
        key = tmp_path / "guard-audit.key"
        assert key.stat().st_mode & 0o077 == 0
        config = LazyGuard(preset=tmp_path / "guard.yaml").config  # the key is read
        assert config.mode == "observe"
        assert config.audit is not None
        assert (config.audit.log, config.audit.key_file) == (tmp_path / "guard-audit.jsonl", key)
        assert "guardalign calibrate --from-audit" in end.stdout
        assert "ChatGuardAlign(preset=" in end.stdout

    def test_a_key_that_is_there_stays(self, tmp_path: Path) -> None:
        self.run(tmp_path)
        key = (tmp_path / "guard-audit.key").read_text()
        assert self.run(tmp_path, "--step", "preset").exit_code == 0
        assert (tmp_path / "guard-audit.key").read_text() == key

    def test_two_inits_make_two_keys(self, tmp_path: Path) -> None:
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder in folders:
            assert self.run(folder).exit_code == 0
        assert len({(folder / "guard-audit.key").read_text() for folder in folders}) == 2

    def test_a_preset_that_enforces_is_not_taken_for_one_that_observes(
        self, tmp_path: Path
    ) -> None:
        shutil.copy(find_preset("mini"), tmp_path / "guard.yaml")
        end = self.run(tmp_path)
        assert end.exit_code == 3
        assert "does not observe" in end.stderr

    def test_a_preset_that_observes_is_not_taken_for_one_that_enforces(
        self, tmp_path: Path
    ) -> None:
        self.run(tmp_path)
        written = (tmp_path / "guard.yaml").read_bytes()
        given = ["--preset", "mini", "--safe", str(tmp_path), "--out", str(tmp_path / "guard.yaml")]
        end = CliRunner().invoke(app, ["init", "--yes", *given])
        assert end.exit_code == 3
        assert "only observes" in end.stderr
        assert "--step preset" in end.stderr
        assert (tmp_path / "guard.yaml").read_bytes() == written

    def test_a_profile_takes_the_place_that_was_left_for_it(self, tmp_path: Path) -> None:
        self.run(tmp_path)
        text = (tmp_path / "guard.yaml").read_text()
        name_profile(Plan("mini", tmp_path / "guard.yaml"))
        named = (tmp_path / "guard.yaml").read_text()
        assert named == text.replace("# profile: guard-profile", "profile: guard-profile")

    @pytest.mark.parametrize(
        "more", [["--max-false-alarm", "0.1"], ["--max-miss", "0.1"], ["--step", "calibrate"]]
    )
    def test_what_needs_a_threshold_is_refused(self, tmp_path: Path, more: list[str]) -> None:
        end = self.run(tmp_path, *more)
        assert end.exit_code == 3
        assert "fits no threshold" in end.output
        assert not list(tmp_path.iterdir())


class TestRefused:
    def test_nothing_is_fetched_without_consent(self, hub: Hub, init: Any, photos: Path) -> None:
        end = init(yes=False)
        assert end.exit_code == 3
        assert "--yes" in end.stderr
        assert not hub.sent
        assert not (photos / "guard.yaml").exists()

    def test_on_a_terminal_it_asks_and_takes_a_no(
        self, hub: Hub, start: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def answer(question: str, **more: Any) -> str:
            asked.append(question)
            return str(photos / "safe") if "safe" in question else ""

        def no(question: str, **more: Any) -> bool:
            asked.append(question)
            return False

        monkeypatch.setattr(commands, "_is_terminal", lambda: True)
        monkeypatch.setattr(commands.typer, "prompt", answer)
        monkeypatch.setattr(commands.typer, "confirm", no)
        out = ["--out", str(photos / "guard.yaml")]
        end = CliRunner().invoke(app, ["init", "--preset", str(start), *out])
        assert end.exit_code == 3
        assert "Nothing was downloaded." in end.stderr
        assert [one.split()[0] for one in asked] == ["Folder", "Folder", "Download"]
        assert asked[-1].startswith("Download 3.")  # MB, before the answer
        assert not hub.sent

    def test_a_question_that_is_broken_off_ends_it(
        self, start: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def abort(question: str, **more: Any) -> str:
            raise typer.Abort

        monkeypatch.setattr(commands, "_is_terminal", lambda: True)
        monkeypatch.setattr(commands.typer, "prompt", abort)
        out = ["--out", str(photos / "guard.yaml")]
        end = CliRunner().invoke(app, ["init", "--preset", str(start), *out])
        assert (end.exit_code, end.stderr) == (130, "")

    @pytest.mark.usefixtures("hub")
    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        out = str(tmp_path / "guard.yaml")
        end = CliRunner().invoke(app, ["init", "--yes", "--out", out])
        assert end.exit_code == 3
        assert "--preset is missing" in end.stderr
        end = CliRunner().invoke(app, ["init", "--step", "fly", "--out", out])
        assert "Steps are: download" in end.stderr
        end = CliRunner().invoke(app, ["init", "--step", "ask", "--out", out])
        assert "--step preset" in end.stderr

    def test_questions_need_pictures_too(self, start: Path) -> None:
        end = CliRunner().invoke(app, ["init", "--step", "ask", "--yes", "--out", str(start)])
        assert end.exit_code == 3
        assert "--safe is missing" in end.stderr

    @pytest.mark.usefixtures("hub")
    def test_too_few_pictures_are_said_with_the_number(self, init: Any) -> None:
        end = init("--step", "preset", "--step", "calibrate", "--max-false-alarm", "0.01")
        assert end.exit_code == 3
        assert end.stdout.count("may not be enough to promise at most 0.01") == 1  # said once
        assert "cannot guarantee" in end.stderr

    @pytest.mark.usefixtures("hub")
    def test_a_picture_that_cannot_be_read_is_named_and_the_rest_is_kept(
        self, init: Any, photos: Path
    ) -> None:
        (photos / "safe" / "3.png").write_bytes(b"no picture")
        end = init("--step", "preset", "--step", "calibrate")
        assert end.exit_code == 2
        assert "3.png" in end.stderr
        assert (photos / "guard-distances.jsonl").read_text().count("\n") == 9

    def test_weights_that_are_not_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        path.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
        with pytest.raises(ModelLoadError, match="not a whole safetensors file"):
            check_safetensors(path)
