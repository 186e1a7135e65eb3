"""What a guard tells about itself: enough for its clients, and no paths of its machine."""

from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.config import (
    AuditConfig,
    DefenceConfig,
    EncoderConfig,
    GuardAlignConfig,
    RunnerConfig,
    SecondEncoderConfig,
)
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import red_config
from guardalign_middleware.wire import GuardDescription, check_version

LIMITS = {"max_body_bytes": 1000, "max_images": 2, "max_pixels": 3000, "max_text_characters": 400}


def described(config: GuardAlignConfig) -> GuardDescription:
    told = GuardDescription.of(config, "0" * 64, **LIMITS)
    return GuardDescription.model_validate_json(told.model_dump_json())


def test_a_shipped_preset_is_the_same_on_both_sides() -> None:
    config = GuardAlignConfig.load("mini")
    again = described(config).config()
    assert again == config.model_copy(update={"runner": None, "audit": None})


def test_no_path_of_the_servers_machine_is_told(tmp_path: Path) -> None:
    base = red_config()
    local = EncoderConfig(
        model=f"local-dir:{tmp_path}/clip", precision="int8", int8_cache=tmp_path / "int8"
    )
    config = red_config(
        detection=base.detection.model_copy(
            update={
                "encoder": local,
                "anchors": tmp_path / "anchors.yaml",
                "profile": tmp_path / "profile.json",
                "anchor_cache": tmp_path / "cache",
                "defence": DefenceConfig(
                    second=SecondEncoderConfig(encoder=local, anchors=tmp_path / "second.yaml")
                ),
            }
        ),
        runner=RunnerConfig(model=str(tmp_path / "llava")),
        audit=AuditConfig(log=tmp_path / "audit.jsonl", key_variable="KEY"),
    )
    told = described(config)
    assert str(tmp_path) not in told.model_dump_json()
    assert told.records
    assert not described(base).records
    again = told.config()
    assert again.detection.anchors == Path("anchors.yaml")
    assert again.detection.encoder.model == "local-dir:clip"
    assert again.audit is None
    assert again.runner is None


def test_settings_of_a_newer_version() -> None:
    told = described(red_config())
    newer = told.model_copy(update={"settings": {**told.settings, "levitation": True}})
    with pytest.raises(ConfigError, match=r"levitation.*same version"):
        newer.config()


@pytest.mark.parametrize("body", [{}, [], None, {"version": 2}, {"version": "1"}])
def test_another_version_is_refused_before_anything_is_read(body: Any) -> None:
    with pytest.raises(ConfigError, match=r"The guard speaks .*version 1.*same version"):
        check_version(body, "The guard")
    check_version({"version": 1}, "The guard")
