from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import open_clip
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from guardalign_middleware import (
    ConfigError,
    GuardAlign,
    GuardAlignConfig,
    ImageGuard,
    available_presets,
)
from guardalign_middleware.config import (
    AuditConfig,
    CalibrationConfig,
    EncoderConfig,
    RunnerConfig,
    SecondEncoderConfig,
)
from guardalign_middleware.detection import AnchorBank
from guardalign_middleware.preset_files import PresetPath

PRESETS = available_presets()
REAL = [name for name in PRESETS if name != "mini"]


def minimal(**changes: Any) -> dict[str, Any]:
    fields = {
        "name": "own",
        "detection": {"encoder": {"model": "local-dir:encoder"}, "anchors": "anchors.yaml"},
    }
    return {**fields, **changes}


def write(path: Path, data: object) -> Path:
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_the_presets_that_the_documentation_names_are_there() -> None:
    assert set(PRESETS) >= {
        "mini", "clip-vit-b-32", "clip-vit-l-14-336", "siglip", "llava-1.5-7b", "llava-1.5-13b",
        "llava-next-8b", "llava-onevision-7b", "llama-3.2-11b-vision", "internvl",
        "qwen2.5-vl-7b", "qwen3-vl", "gemma-3", "smolvlm", "siglip2-b-16", "siglip2-so400m",
        "mobileclip-s1", "mobileclip-s2", "mobileclip2-s2", "fare4-vit-b-16", "tecoa4-vit-b-16",
    }  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_preset_is_valid_and_named_after_its_file(name: str) -> None:
    config = GuardAlignConfig.load(name)
    assert config.name == name
    assert config.notes
    assert AnchorBank.load(config.detection.anchors).categories


@pytest.mark.parametrize("name", REAL)
def test_a_preset_that_was_never_run_says_so_and_refuses_to_scan(name: str) -> None:
    config = GuardAlignConfig.load(name)
    assert not config.verified
    assert "Never run here" in config.notes
    with pytest.raises(ConfigError, match=r"no threshold profile.*Fit one") as caught:
        ImageGuard.from_preset(name)
    assert "detection.profile" in caught.value.remedy
    with pytest.raises(ConfigError, match="no threshold profile"):
        GuardAlign.from_preset(name)


@pytest.mark.parametrize("name", REAL)
def test_open_clip_knows_the_encoder_as_safetensors_on_a_hub(name: str) -> None:
    encoder = GuardAlignConfig.load(name).detection.encoder
    if encoder.model.startswith("hf-hub:"):
        assert encoder.pretrained is None  # the hub's own
        assert re.fullmatch(r"hf-hub:[\w-]+/[\w.-]+", encoder.model)
        return
    assert encoder.model in open_clip.list_models()
    assert open_clip.get_pretrained_cfg(encoder.model, encoder.pretrained)["hf_hub"]


def test_the_mini_preset_is_complete_and_offline() -> None:
    config = GuardAlignConfig.load("mini")
    assert config.detection.profile is not None
    assert config.runner is not None
    assert config.runner.local_files_only
    assert Path(config.runner.model).is_absolute()
    assert config.detection.encoder.model.startswith("local-dir:/")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = write(
        folder / "own.yaml",
        minimal(
            detection={
                "encoder": {"model": "local-dir:../encoder"},
                "anchors": "anchors.yaml",
                "profile": "profile.json",
            },
            runner={"model": "./llava"},
        ),
    )
    config = GuardAlignConfig.load(path)
    assert config.detection.anchors == folder / "anchors.yaml"
    assert config.detection.profile == folder / "profile.json"
    assert config.detection.encoder.model == f"local-dir:{tmp_path / 'encoder'}"
    assert config.runner is not None
    assert config.runner.model == str(folder / "llava")
    hub = write(folder / "hub.yaml", minimal(runner={"model": "owner/model"}))
    runner = GuardAlignConfig.load(hub).runner
    assert runner is not None
    assert runner.model == "owner/model"


def test_every_path_of_a_preset_file_is_resolved(tmp_path: Path) -> None:
    encoder = {"model": "local-dir:clip", "int8_cache": "int8"}
    detection = {
        "encoder": encoder,
        "anchors": "anchors.yaml",
        "anchor_cache": "cache",
        "defence": {"second": {"encoder": encoder, "anchors": "second.yaml"}},
    }
    audit = {"log": "audit/log", "key_file": "/etc/key"}
    config = GuardAlignConfig.load(
        write(tmp_path / "own.yaml", minimal(detection=detection, audit=audit))
    )
    second = config.detection.defence.second
    assert second is not None
    for found in (config.detection.encoder, second.encoder):
        assert found.model == f"local-dir:{tmp_path / 'clip'}"
        assert found.int8_cache == tmp_path / "int8"
    assert config.detection.anchor_cache == tmp_path / "cache"
    assert second.anchors == tmp_path / "second.yaml"
    assert config.audit == AuditConfig(log=tmp_path / "audit/log", key_file=Path("/etc/key"))


def test_paths_given_in_python_are_left_alone() -> None:
    assert AuditConfig(log=Path("log"), key_file=Path("key")).log == Path("log")
    assert EncoderConfig(model="local-dir:clip").model == "local-dir:clip"
    assert RunnerConfig(model="./llava").model == "./llava"


def models_below(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model, and every model that its fields can hold."""

    def classes_in(annotation: Any) -> set[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return models_below(annotation)
        return set[type[BaseModel]]().union(*map(classes_in, get_args(annotation)))

    return {model}.union(*map(classes_in, get_type_hints(model).values()))


def holds_a_plain_path(annotation: Any) -> bool:
    if annotation == PresetPath:
        return False
    return annotation is Path or any(map(holds_a_plain_path, get_args(annotation)))


def test_no_path_field_resolves_against_the_working_directory() -> None:
    """A plain `Path` would: each path field needs the type that knows the preset's folder."""
    models = models_below(GuardAlignConfig)
    assert {SecondEncoderConfig, AuditConfig} <= models
    for model in models:
        hints = get_type_hints(model, include_extras=True)
        plain = [name for name in model.model_fields if holds_a_plain_path(hints[name])]
        assert not plain, f"{model.__name__} should declare {plain} as PresetPath"


def test_a_config_cannot_be_changed() -> None:
    config = GuardAlignConfig.load("mini")
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("preset", "words"),
    [("nope", ["'nope'", "mini"]), ("nope.yaml", ["no preset file"])],
)
def test_an_unknown_preset_names_the_known_ones(preset: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        GuardAlignConfig.load(preset)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (["a", "list"], ["mapping"]),
        (minimal(colour="blue"), ["colour"]),
        ({"name": "own"}, ["detection"]),
        (minimal(sanitize={"method": "pixelate"}), ["sanitize.method"]),
        (minimal(intake={"max_bytes": 0}), ["intake.max_bytes"]),
        (minimal(runner={"model": "m", "calibration": {"gamma": -1}}), ["gamma"]),
        (minimal(detection="encoder"), ["detection"]),
        (minimal(detection={"encoder": "ViT", "anchors": "a"}), ["encoder"]),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_field(
    tmp_path: Path, data: object, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        GuardAlignConfig.load(write(tmp_path / "own.yaml", data))
    assert all(word in str(caught.value) for word in [*words, "own.yaml"])


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b""])
def test_a_file_that_is_not_a_yaml_mapping_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        GuardAlignConfig.load(path)


@pytest.mark.parametrize("band", [(0.5, 0.5), (0.7, 0.3), (-0.1, 0.5), (0.0, 1.1)])
def test_a_band_is_a_part_of_the_depth(band: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="band"):
        CalibrationConfig(band=band)
