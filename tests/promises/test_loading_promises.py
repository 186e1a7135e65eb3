"""Promise 15: weights are pinned by file and revision, and their digests are recorded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import transformers
from safetensors.torch import load_file, save_file

from guardalign_middleware.config import (
    EncoderConfig,
    GuardAlignConfig,
    RunnerConfig,
)
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.errors import ConfigError, HubError, ModelLoadError
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.engine import loading
from guardalign_middleware.generation.engine.loading import load_model
from guardalign_middleware.preset_files import available_presets
from guardalign_middleware.provenance import WeightFile, check_pins, digest_files
from tests.support.tiny.models import save_tiny_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def directory(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put the model into a hub cache as `owner/name` at a commit; return its files."""
    cache = tmp_path / "hub"
    root = cache / "models--owner--name"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    shutil.copytree(saved, root / "snapshots" / COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(transformers.utils.hub.constants, "HF_HUB_CACHE", str(cache))
    return lambda name: root / "snapshots" / COMMIT / name


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights must not be opened."""

    def opened(*args: object) -> None:
        raise AssertionError("the weights were opened")

    monkeypatch.setattr(loading, "_load_weights", opened)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashed files, in order."""
    names: list[str] = []
    digest = hashlib.file_digest

    def record(file: Any, kind: str) -> Any:
        names.append(file.name)
        return digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", record)
    return names


def local(path: Path, **more: object) -> RunnerConfig:
    return RunnerConfig.model_validate({"model": str(path), "device": "cpu", **more})


def at_hub(**more: object) -> RunnerConfig:
    fields = {"model": "owner/name", "device": "cpu", "local_files_only": True, **more}
    return RunnerConfig.model_validate(fields)


class TestRunner:
    def test_the_digests_of_what_was_loaded_are_recorded(self, directory: Path) -> None:
        loaded = load_model(local(directory))
        digest = sha256(directory / WEIGHTS)
        assert (loaded.provenance.model, loaded.provenance.revision) == ("model", None)
        assert loaded.provenance.files == {WEIGHTS: digest}
        assert json.loads(json.dumps(loaded.provenance.to_json()))["files"][WEIGHTS] == digest
        assert CalibratedRunner(loaded, local(directory)).provenance == loaded.provenance

    def test_pinned_weights_load(self, directory: Path) -> None:
        load_model(local(directory, sha256={WEIGHTS: sha256(directory / WEIGHTS)}))

    def test_files_are_hashed_once_and_only_where_a_digest_is_needed(
        self, directory: Path, hub: Callable[[str], Path], hashed: list[str]
    ) -> None:
        pin = {WEIGHTS: sha256(directory / WEIGHTS)}
        for load in (local(directory), at_hub()):
            loaded = load_model(load)
            assert hashed == []
            assert loaded.provenance is not None
            assert loaded.provenance.files == loaded.provenance.files == pin
            assert len(hashed) == 1
            hashed.clear()
        for load in (local(directory, sha256=pin), at_hub(sha256=pin)):
            loaded = load_model(load)
            assert len(hashed) == 1
            assert loaded.provenance is not None
            assert loaded.provenance.files == pin
            assert len(hashed) == 1
            hashed.clear()

    def test_a_pin_is_compared_with_the_bytes_whatever_was_hashed_before(
        self, directory: Path
    ) -> None:
        """Even if the modification time was set back."""
        weights = directory / WEIGHTS
        pin = {WEIGHTS: sha256(weights)}
        load_model(local(directory, sha256=pin))
        before = weights.stat()
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert WeightFile.note(weights).state == (
            before.st_dev,
            before.st_ino,
            before.st_size,
            before.st_mtime_ns,
        )
        with pytest.raises(ModelLoadError, match="a different SHA-256"):
            load_model(local(directory, sha256=pin))

    @pytest.mark.parametrize("replaced", [True, False])
    def test_no_digest_is_reported_for_a_file_that_changed_after_loading(
        self, directory: Path, replaced: bool
    ) -> None:
        loaded = load_model(local(directory))
        weights = directory / WEIGHTS
        data = weights.read_bytes()
        if replaced:
            weights.rename(directory / "old")
        weights.write_bytes(data + b"\0")
        assert loaded.provenance is not None
        for read in (lambda: loaded.provenance.files, loaded.provenance.to_json):
            with pytest.raises(ModelLoadError, match="was changed after it was loaded"):
                read()

    @pytest.mark.usefixtures("unopened")
    def test_one_changed_number_is_refused_unopened(self, directory: Path) -> None:
        pin = sha256(directory / WEIGHTS)
        weights = load_file(directory / WEIGHTS)
        name = min(weights)
        weights[name].view(-1)[0] += 1
        save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
        with pytest.raises(ModelLoadError, match="a different SHA-256") as caught:
            load_model(local(directory, sha256={WEIGHTS: pin}))
        assert "sha256sum" in caught.value.remedy

    @pytest.mark.usefixtures("unopened")
    def test_a_file_more_or_less_than_pinned_is_refused(self, directory: Path) -> None:
        pin = sha256(directory / WEIGHTS)
        with pytest.raises(ModelLoadError, match="more.safetensors is missing"):
            load_model(local(directory, sha256={WEIGHTS: pin, "more.safetensors": pin}))
        shutil.copy(directory / WEIGHTS, directory / "more.safetensors")
        with pytest.raises(ModelLoadError, match="more.safetensors is not pinned"):
            load_model(local(directory, sha256={WEIGHTS: pin}))

    def test_a_model_of_the_hub_has_its_commit_and_digests_recorded(
        self, hub: Callable[[str], Path]
    ) -> None:
        loaded = load_model(at_hub())
        expected = {
            "model": "owner/name",
            "revision": COMMIT,
            "files": {WEIGHTS: sha256(hub(WEIGHTS))},
        }
        assert loaded.provenance is not None
        assert loaded.provenance.to_json() == expected
        pinned = load_model(at_hub(revision=COMMIT, sha256=loaded.provenance.files))
        assert pinned.provenance == loaded.provenance

    @pytest.mark.usefixtures("unopened")
    def test_a_model_of_the_hub_with_other_weights_is_refused_unopened(
        self, hub: Callable[[str], Path]
    ) -> None:
        assert hub(WEIGHTS).is_file()
        with pytest.raises(ModelLoadError, match="a different SHA-256"):
            load_model(at_hub(sha256={WEIGHTS: "0" * 64}))
        with pytest.raises(ModelLoadError, match=r"other\.safetensors is missing"):
            load_model(at_hub(sha256={"other.safetensors": "0" * 64}))

    @pytest.mark.usefixtures("hub")
    def test_another_revision_is_not_taken_for_the_pinned_one(self) -> None:
        with pytest.raises(ModelLoadError):
            load_model(at_hub(revision="f" * 40))

    @pytest.mark.usefixtures("unopened")
    def test_the_index_of_a_model_of_the_hub_is_checked_before_anything_is_opened(
        self, hub: Callable[[str], Path]
    ) -> None:
        hub(WEIGHTS).rename(hub("decoy.safetensors"))
        index = {"metadata": {}, "weight_map": {"a": "decoy.safetensors", "b": "../../x.bin"}}
        hub("model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ModelLoadError, match="weight_map names"):
            load_model(at_hub(sha256={"decoy.safetensors": sha256(hub("decoy.safetensors"))}))

    def test_the_cache_of_the_hub_is_loaded_through_its_links(
        self, hub: Callable[[str], Path]
    ) -> None:
        blobs = hub("x").parent.parent.parent / "blobs"
        blobs.mkdir()
        for file in list(hub("x").parent.iterdir()):
            file.rename(blobs / file.name)
            file.symlink_to(f"../../blobs/{file.name}")
        loaded = load_model(at_hub())
        assert loaded.provenance is not None
        assert loaded.provenance.files == {WEIGHTS: sha256(blobs / WEIGHTS)}
        # The same folder, given as a path.
        load_model(local(hub("x").parent))


class TestEncoder:
    def test_the_pinned_file_loads_and_another_does_not(self) -> None:
        encoder = GuardAlignConfig.load("mini").detection.encoder
        folder = Path(encoder.model.removeprefix("local-dir:"))
        pin = sha256(folder / "open_clip_model.safetensors")
        OpenClipEncoder.load(encoder.model_copy(update={"sha256": pin}))
        with pytest.raises(ModelLoadError, match="a different SHA-256"):
            OpenClipEncoder.load(encoder.model_copy(update={"sha256": "0" * 64}))

    def test_an_encoder_of_the_hub_that_cannot_be_had_is_a_typed_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
            OpenClipEncoder.load(EncoderConfig(model="hf-hub:owner/name"))


class TestPresets:
    @pytest.mark.parametrize("name", available_presets())
    def test_a_preset_that_says_it_was_measured_names_exact_weights(self, name: str) -> None:
        config = GuardAlignConfig.load(name)
        runner = config.runner
        revision = None if runner is None else runner.revision
        assert revision is None or re.fullmatch("[0-9a-f]{40}", revision)
        if config.verified:
            # The threshold profile is bound to the digest of the encoder's weights.
            assert config.detection.profile is not None
            if runner is not None:
                assert Path(runner.model).is_dir() or revision or runner.sha256

    @pytest.mark.parametrize("pin", ["", "abc", "A" * 64, "0" * 63])
    def test_a_pin_is_a_whole_digest(self, pin: str) -> None:
        with pytest.raises(ValueError, match="sha256"):
            EncoderConfig(model="x", sha256=pin)
        with pytest.raises(ValueError, match="sha256"):
            RunnerConfig(model="x", sha256={WEIGHTS: pin})

    def test_no_preset_can_ask_for_remote_code(self, tmp_path: Path) -> None:
        path = tmp_path / "evil.yaml"
        path.write_text(
            "name: evil\ndetection:\n  encoder: {model: x}\n  anchors: a.yaml\n"
            "runner: {model: owner/name, trust_remote_code: true}\n"
        )
        with pytest.raises(ConfigError, match="trust_remote_code"):
            GuardAlignConfig.load(path)


def test_without_pins_everything_passes_and_a_missing_file_is_typed(tmp_path: Path) -> None:
    check_pins({"a": "0"}, {}, "model")
    with pytest.raises(ModelLoadError, match="cannot be read"):
        digest_files([tmp_path / "nowhere"])


def test_no_file_stands_in_for_another_of_its_name(tmp_path: Path) -> None:
    paths = [tmp_path / "tokenizer.json", tmp_path / "below" / "tokenizer.json"]
    paths[1].parent.mkdir()
    for path in paths:
        path.write_text(str(path))
    with pytest.raises(ModelLoadError, match="share a name"):
        digest_files(paths)
    assert set(digest_files([paths[0], paths[0]])) == {"tokenizer.json"}
