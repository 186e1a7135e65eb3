"""The arguments of the application of Ray Serve."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardalign_middleware import GuardAlignConfig
from guardalign_middleware.cli.serve_ray import _numbers
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale.application import (
    Arguments,
    limits_of,
    options_of,
    user_config_of,
)


@pytest.mark.parametrize(
    "arguments",
    [
        {"replicas": [0, 1]},
        {"replicas": [3, 2]},
        {"replica": [1, 2]},
        {"max_queued": 0},
        {"target_requests": 0},
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        Arguments.read(arguments)


def test_servers_need_a_key_unless_only_this_machine_reaches_them() -> None:
    with pytest.raises(ConfigError, match="needs a key"):
        limits_of(Arguments())
    local = Arguments(options={"host": "127.0.0.1", "max_requests": 3})
    assert limits_of(local).max_requests == 3
    # The key is looked for where the servers are.
    keyed = Arguments(options={"api_key_env": "NOT_SET_HERE"})
    assert limits_of(keyed).api_key_env == "NOT_SET_HERE"
    assert options_of(keyed)["host"] == "0.0.0.0"
    with pytest.raises(ConfigError, match="max_requests"):
        limits_of(Arguments(options={"host": "127.0.0.1", "max_requests": 0}))


def test_replicas_on_the_command_line() -> None:
    assert _numbers(None) == (1, 1)
    assert _numbers("3") == (3, 3)
    assert _numbers("2:8") == (2, 8)
    for wrong in ("two", "2:", ":3", "2-8", "-1"):
        with pytest.raises(ConfigError, match="as in 2:8"):
            _numbers(wrong)


def test_servers_are_told_of_a_preset_that_was_edited_in_place(tmp_path: Path) -> None:
    """Ray hands over nothing that looks like before."""
    detection = GuardAlignConfig.load("mini").detection
    for file in (detection.anchors, detection.profile):
        assert file is not None
        shutil.copy(file, tmp_path)
    assert detection.profile is not None
    preset, anchors = tmp_path / "own.yaml", tmp_path / detection.anchors.name
    fields: dict[str, Any] = {
        "name": "own",
        "detection": {
            "encoder": {"model": "ViT-B-32"},
            "anchors": anchors.name,
            "profile": detection.profile.name,
        },
    }
    told = []
    for write in (
        lambda: preset.write_text(yaml.safe_dump(fields)),
        lambda: anchors.write_bytes(anchors.read_bytes() + b"\n"),
        lambda: preset.write_text(yaml.safe_dump({**fields, "on_fault": "allow"})),
        lambda: preset.write_text(yaml.safe_dump({**fields, "serve": {"max_images": 3}})),
        lambda: (tmp_path / "profile.json").write_text("{}"),
    ):
        write()
        told.append(user_config_of(Arguments(preset=str(preset))))
        assert user_config_of(Arguments(preset=str(preset))) == told[-1]
    assert len({each["contents"] for each in told}) == len(told)
    assert len({str({**each, "contents": ""}) for each in told}) == 1
