"""`guardalign doctor` in broken environments: it names the cause of each, and the way out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from guardalign_middleware import local_extra
from guardalign_middleware.cli import app
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.first_day import doctor, machine
from guardalign_middleware.first_day.installation import check_extras, check_packages
from guardalign_middleware.preset_files import find_preset
from tests.hub.double import HOSTS, Hub
from tests.hub.repositories import CLIP, LLAVA

pytestmark = pytest.mark.allow_hosts([*HOSTS])
ANCHORS = find_preset("mini").parent / "../detection/anchors/default.yaml"


@pytest.fixture
def preset(tmp_path: Path) -> Callable[..., str]:
    """Write a preset whose encoder and model lie on the hub."""

    def write(encoder: str = "", runner: str = "", rest: str = "", detection: str = "") -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(
            f"name: mine\n{rest}\ndetection:\n  anchors: {ANCHORS}\n  {detection}\n  encoder:\n"
            f"    model: ViT-B-32-quickgelu\n    pretrained: openai\n    {encoder}\n"
            f"runner:\n  model: {LLAVA}\n  {runner}\n"
        )
        return str(path)

    return write


def examined(preset: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and the checks by name."""
    end = CliRunner().invoke(app, ["doctor", "--json", "--preset", preset])
    record = json.loads(end.stdout)
    return end.exit_code, {check["check"]: check for check in record["checks"]}


def failed(checks: dict[str, Any]) -> dict[str, Any]:
    found = {name: one for name, one in checks.items() if one["result"] == "failed"}
    assert all(one["remedy"] for one in found.values())
    return found


def test_the_shipped_models_need_nothing() -> None:
    status, checks = examined("mini")
    assert (status, failed(checks)) == (0, {})
    assert checks["profile"]["details"]["fingerprint"]
    assert checks["hub"]["found"].startswith("not needed")


@pytest.mark.usefixtures("hub")
def test_to_observe_needs_no_profile(preset: Any) -> None:
    status, checks = examined(preset(rest="mode: observe\n"))
    assert (status, failed(checks)) == (0, {})
    assert "only observes" in checks["profile"]["found"]


def test_what_will_be_fetched_is_said_before_anything_is(hub: Hub, preset: Any) -> None:
    status, checks = examined(preset())
    assert status == 1
    assert set(failed(checks)) == {"profile"}  # all else is there or can be had
    encoder, model = checks[f"encoder {CLIP}"], checks[f"model {LLAVA}"]
    weights = hub.repositories[CLIP].folder / "open_clip_model.safetensors"
    assert encoder["details"]["missing_bytes"] == weights.stat().st_size
    assert encoder["details"]["revision"] == hub.repositories[CLIP].commit
    assert model["details"]["licence"] == "llama2"
    assert model["result"] == "warning"
    assert checks["disk"]["details"]["to_fetch_bytes"] > weights.stat().st_size
    assert not hub.sent


class TestBroken:
    def test_libraries_that_are_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "find_spec", lambda name: name != "torch" or None)
        status, checks = examined("mini")
        assert status == 1
        assert "torch" in failed(checks)["models"]["found"]
        assert "pip install 'guardalign-core[local]'" in failed(checks)["models"]["remedy"]

    def test_a_hub_that_does_not_answer(self, hub: Hub, preset: Any) -> None:
        hub.faults.refused = 503
        status, checks = examined(preset())
        assert status == 1
        found = failed(checks)
        assert hub.endpoint in found[f"encoder {CLIP}"]["found"]
        assert found[f"model {LLAVA}"]["details"] == {"reason": "unreachable"}
        assert len(hub.requests) == 1  # who waits for one answer does not wait for two

    def test_a_model_whose_terms_were_not_accepted(self, hub: Hub, preset: Any) -> None:
        hub.repositories[LLAVA] = dataclasses.replace(hub.repositories[LLAVA], gated=True)
        _, checks = examined(preset())
        assert "Accept its terms" in checks[f"model {LLAVA}"]["remedy"]

    def test_a_model_that_does_not_fit_into_memory(
        self, hub: Hub, preset: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(machine, "free_memory", lambda device: 100_000_000)
        status, checks = examined(preset())
        assert status == 1
        memory = failed(checks)["memory"]
        assert "100.0 MB free" in memory["found"]
        assert "smaller model" in memory["remedy"]
        assert not hub.sent

    def test_a_disk_that_is_full(
        self, hub: Hub, preset: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
        _, checks = examined(preset())
        assert "HF_HOME" in failed(checks)["disk"]["remedy"]
        assert not hub.sent

    @pytest.mark.usefixtures("hub")
    def test_a_device_that_is_not_there(self, preset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        _, checks = examined(preset(encoder="device: cuda:1", runner="device: cuda"))
        found = failed(checks)
        assert "cuda:1" in found["device of the encoder"]["found"]
        assert "device of the model" in found

    @pytest.mark.usefixtures("hub")
    def test_a_cpu_that_computes_bfloat16_slowly(
        self, preset: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = preset(encoder="device: cpu\n    precision: bf16")
        monkeypatch.setattr(machine, "lacks_bfloat16", lambda device: device == "cpu")
        _, checks = examined(slow)
        check = checks["precision of the encoder"]
        assert (check["result"], "fp32" in check["remedy"]) == ("warning", True)
        monkeypatch.setattr(machine, "lacks_bfloat16", lambda device: False)
        _, checks = examined(slow)
        assert "precision of the encoder" not in checks

    def test_a_profile_of_other_patches(self, tmp_path: Path) -> None:
        fields = find_preset("mini").read_text().replace("max_crops: 288", "max_crops: 144")
        path = tmp_path / "mine.yaml"
        path.write_text(fields.replace("../", f"{find_preset('mini').parent}/../"))
        status, checks = examined(str(path))
        assert status == 1
        assert "different patches" in failed(checks)["profile"]["found"]

    def test_a_preset_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("name: [")
        status, checks = examined(str(tmp_path / "mine.yaml"))
        assert status == 1
        assert set(failed(checks)) == {"preset"}

    @pytest.mark.usefixtures("hub")
    def test_an_encoder_that_nobody_publishes(self, preset: Any, tmp_path: Path) -> None:
        path = Path(preset())
        path.write_text(path.read_text().replace("pretrained: openai", "pretrained: mine"))
        _, checks = examined(str(path))
        assert "no weights 'mine'" in failed(checks)["models"]["found"]


def core_with(tmp_path: Path, *lines: str) -> Distribution:
    """An installed core that says it needs these."""
    (tmp_path / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", "Name: guardalign-core", "Version: 1", *lines])
    )
    return Distribution.at(tmp_path)


class TestPackages:
    def test_one_that_is_too_old_and_one_that_is_missing(self, tmp_path: Path) -> None:
        core = core_with(
            tmp_path,
            "Requires-Dist: rich>=99",
            "Requires-Dist: no-such-package-here; extra == 'local'",
            "Requires-Dist: no-other-package; extra == 'words'",
        )
        check = check_packages(core)
        assert check.result == "failed"
        assert "is not >=99" in check.found
        assert "no-such-package-here is missing" in check.found
        assert "no-other-package" not in check.found

    def test_an_extra_that_the_preset_needs_has_its_command(self, tmp_path: Path) -> None:
        core = core_with(
            tmp_path,
            *("Provides-Extra: words", "Provides-Extra: pdf"),
            "Requires-Dist: no-such-package; extra == 'words'",
            "Requires-Dist: none-either; extra == 'pdf'",
        )
        config = GuardAlignConfig.load("mini")
        words = config.words.model_copy(update={"mode": "guard"})
        needs, rest = check_extras(config.model_copy(update={"words": words}), core)
        assert (needs.name, needs.result) == ("extra words", "failed")
        assert needs.remedy == "pip install 'guardalign-core[words]'"
        assert (rest.result, rest.details["missing"]["pdf"]) == ("ok", local_extra.install("pdf"))
        assert "pdf" in rest.found
        assert "words" not in rest.found


def test_the_checks_are_printed_for_people_too() -> None:
    end = CliRunner().invoke(app, ["doctor", "--preset", "nothing"])
    assert end.exit_code == 1
    assert "There is no preset named 'nothing'" in end.stdout
    assert "Use one of" in end.stdout
