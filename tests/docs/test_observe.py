"""The commands of the page about observing, from nothing to a guard that enforces."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from guardalign_middleware import ImageGuard
from guardalign_middleware.cli import app
from guardalign_middleware.types import CanonicalImage
from tests.docs.pages import blocks_of

PAGE = blocks_of("docs/observe.md")
COMMANDS = [
    shlex.split(line)
    for block in PAGE
    if block.language == "sh"
    for line in block.code.replace("\\\n", " ").splitlines()
]


def test_each_command_names_what_the_one_before_wrote() -> None:
    init, serve, calibrate = COMMANDS
    assert [command[1] for command in COMMANDS] == ["init", "serve", "calibrate"]
    preset = init[init.index("--out") + 1]
    for command in (serve, calibrate):
        assert command[command.index("--preset") + 1] == preset
    settings = yaml.safe_load(next(block.code for block in PAGE if block.language == "yaml"))
    assert calibrate[calibrate.index("--from-audit") + 1] == settings["audit"]["log"]
    assert calibrate[calibrate.index("--key-file") + 1] == settings["audit"]["key_file"]


@pytest.mark.evidence
def test_the_commands_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    init, _, calibrate = COMMANDS
    # The page's encoder would be fetched.
    init[init.index("--preset") + 1] = "mini"
    end = CliRunner().invoke(app, init[1:])
    assert end.exit_code == 0, end.output
    (shown,) = (yaml.safe_load(block.code) for block in PAGE if block.language == "yaml")
    preset = Path("guard.yaml")
    fields = yaml.safe_load(preset.read_text())
    assert {name: fields[name] for name in shown} == shown
    forms = yaml.safe_dump(fields["detection"]["sees"])
    text = preset.read_text().replace(
        "\n".join(f"  {line}" for line in forms.splitlines()), "  - {kind: squashed, side: 56}"
    )
    preset.write_text(text)  # one crop a picture
    rng = np.random.default_rng(0)
    guard = ImageGuard.from_preset(preset)
    for _ in range(40):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = CanonicalImage(pixels).to_pil().resize((80, 72))
        assert guard.scan(picture).would_be == "undecided"
    end = CliRunner().invoke(app, calibrate[1:])
    assert end.exit_code == 0, end.output
    # As the page says.
    text = preset.read_text()
    assert "  # profile: guard-profile.json\n" in text
    preset.write_text(text.replace("# profile:", "profile:"))
    assert ImageGuard.from_preset(preset).scan(picture).would_be in {"allow", "mask", "block"}
    preset.write_text(preset.read_text().replace("mode: observe", "mode: enforce"))
    assert ImageGuard.from_preset(preset).scan(picture).decision in {"allow", "mask", "block"}
