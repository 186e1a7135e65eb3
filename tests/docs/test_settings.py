"""Settings on the pages are settings: what is printed is a valid preset with them in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection.anchor_file import read_entries
from guardalign_middleware.preset_files import find_preset, read_preset
from guardalign_middleware.scale.application import Arguments
from tests.docs.pages import Block, all_blocks

# Files of other programs; tests/gateways starts LiteLLM with these.
FOREIGN = {"model_list", "guardrails"}
ANCHORS = {"categories", "neutral"}
# A block with "…" for a digest is an outline.
OUTLINE = "…"


def merged(base: Any, over: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    return over


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_the_settings_of_a_page(block: Block, tmp_path: Path) -> None:
    found = yaml.safe_load(block.code)
    if ANCHORS <= set(found):
        (tmp_path / "anchors.yaml").write_text(block.code)
        assert read_entries(tmp_path / "anchors.yaml")
        return
    if FOREIGN & set(found):
        return
    if "applications" in found:  # of Ray Serve
        for application in found["applications"]:
            assert Arguments.read(application["args"]).options
        return
    preset = find_preset("mini")
    whole = merged(dict(read_preset(preset)), found)
    fields = (section for section in found if section in GuardAlignConfig.model_fields)
    assert set(fields) == set(found)
    if OUTLINE in block.code:
        return
    GuardAlignConfig.model_validate(whole, context={"folder": preset.parent})
