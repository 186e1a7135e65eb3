from __future__ import annotations

import math
import os
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
    for weights, expected in (
        ("w.safetensors", str(folder / "w.safetensors")),
        ("openai", "openai"),
    ):
        encoder = {"model": "ViT-B-32", "pretrained": weights}
        file = write(
            folder / "file.yaml", minimal(detection={"encoder": encoder, "anchors": "a.yaml"})
        )
        assert GuardAlignConfig.load(file).detection.encoder.pretrained == expected
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
    assert EncoderConfig(model="ViT-B-32", pretrained="w.safetensors").pretrained == "w.safetensors"
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
    [("nope", ["'nope'", "mini"]), ("nope.yaml", ["no preset file", "Check the path"])],
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


def changed(path: str, value: Any) -> dict[str, Any]:
    """The smallest preset with one more field, by its dotted name."""
    fields: dict[str, Any] = minimal(runner={"model": "owner/name"})
    *parents, name = path.split(".")
    place = fields
    for parent in parents:
        place = place.setdefault(parent, {})
    place[name] = value
    return fields


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf"])
@pytest.mark.parametrize(
    "field",
    [
        "intake.max_aspect",
        "intake.max_pdf_seconds",
        "intake.max_url_seconds",
        "detection.patches.overlap",
        "detection.transport.epsilon",
        "detection.transport.tolerance",
        "detection.transport.entropy_temperature",
        "detection.transport.contrast_temperature",
        "sanitize.margin",
        "sanitize.max_masked_fraction",
        "runner.temperature",
        "runner.max_wait_ms",
        "runner.calibration.gamma",
    ],
)
def test_no_number_is_nan_or_infinite(tmp_path: Path, field: str, value: float | str) -> None:
    with pytest.raises(ConfigError, match=re.escape(field)):
        GuardAlignConfig.load(write(tmp_path / "own.yaml", changed(field, value)))


def test_no_field_of_any_model_takes_nan() -> None:
    for model in models_below(GuardAlignConfig):
        assert model.model_config.get("allow_inf_nan") is False, model


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("detection.patches.sizes", [math.nan]),
        ("detection.patches.sizes", [-1.0]),
        ("detection.patches.sizes", [0]),
        ("detection.patches.sizes", [1e-300]),
        ("detection.patches.sizes", [math.inf]),
        ("detection.patches.max_crops", -1),
        ("detection.patches.max_crops", 10**40),
        ("detection.transport.epsilon", 0),
        ("detection.transport.epsilon", 1e-300),
        ("detection.transport.max_iterations", 10**30),
        ("detection.sees", [{"kind": "squashed", "side": 10**9}]),
        ("detection.sees", [{"kind": "native", "pixels": -5}]),
        ("detection.encoder.templates", []),
        ("detection.encoder.batch_size", 0),
        ("detection.remembered_bytes", 10**40),
        ("sanitize.fill", [256, 0, 0]),
        ("sanitize.fill", [-1, 0, 0]),
        ("sanitize.fill", [0, 0]),
        ("sanitize.fill", "red"),
        ("sanitize.max_rounds", 10**40),
        ("intake.background", [0, 0, 999]),
        ("intake.max_bytes", 10**40),
        ("intake.max_pixels", 2**63),
        ("intake.max_pdf_seconds", 1e300),
        ("intake.max_url_redirects", 10**6),
        ("output.max_bytes", 10**40),
        ("output.max_side", 10**40),
        ("runner.prefix.name", ["paper"]),
        ("runner.prefix.name", {"a": 1}),
        ("runner.calibration.band", [math.nan, 0.7]),
        ("runner.calibration.gamma", 1e39),
        ("runner.max_queue", 10**40),
        ("words.max_pixels", 10**400),
        ("name", ["a"]),
    ],
)
def test_values_out_of_range_name_the_field(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        GuardAlignConfig.load(write(tmp_path / "own.yaml", changed(field, value)))
    # What no single value shows, such as an order, is told of the part.
    assert field in str(caught.value) or field.rpartition(".")[0] in str(caught.value)


HEAD = "name: own\ndetection: {encoder: {model: x}, anchors: a.yaml}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "name: other", r"name appears twice \(line 3\)"),
        (HEAD + "intake: {max_bytes: 1, max_bytes: 2}", r"intake\.max_bytes appears twice"),
        (HEAD + "notes: !!python/name:os.system", "notes has the tag"),
        (HEAD + 'notes: "\\0"', "notes in line 3 holds a NUL"),
        (HEAD + 'audit: {log: "a\\0b", key_file: k}', r"audit\.log in line 3 holds a NUL"),
        (HEAD + "notes: " + "[" * 2000, "levels deep"),
        (HEAD + "notes: &a [*a]", "its own anchor"),
        (HEAD + "seed: !!int x", "kind int"),
        (HEAD + "1: x", "not a text"),
        ("- " * 3000, "levels deep"),
        ("", "mapping"),
        ("# " + "x" * (1 << 20), "more than 1,048,576 bytes"),
    ],
)
def test_a_hostile_file_is_an_error_that_names_the_field(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        GuardAlignConfig.load(path)
    assert "own.yaml" in str(caught.value)


def test_a_date_in_a_preset_is_the_text_that_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(HEAD + "notes: 2026-13-45\n")
    assert GuardAlignConfig.load(path).notes == "2026-13-45"


def test_off_needs_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        HEAD + "words: {mode: off, carrier: off}\n"
        "runner: {model: x, calibration: {unsupported: off}}\n"
    )
    config = GuardAlignConfig.load(path)
    assert (config.words.mode, config.words.carrier) == ("off", "off")
    assert config.runner is not None
    assert config.runner.calibration.unsupported == "off"


def test_a_loop_of_links_in_a_path_is_an_error_that_names_the_field(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path = write(tmp_path / "own.yaml", changed("detection.anchors", "loop/a.yaml"))
    with pytest.raises(ConfigError, match=r"detection\.anchors"):
        GuardAlignConfig.load(path)


@pytest.mark.parametrize("preset", ["a\0b", "a\0.yaml", "x" * 5000, "x" * 5000 + ".yaml", "", "."])
def test_a_name_that_no_file_system_takes_is_no_preset(preset: str) -> None:
    with pytest.raises(ConfigError, match="There is no preset"):
        GuardAlignConfig.load(preset)


def test_a_pipe_is_no_preset(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.yaml")
    with pytest.raises(ConfigError, match="There is no preset"):
        GuardAlignConfig.load(tmp_path / "own.yaml")


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
