"""What is tried on the cluster before the servers that run there take it over."""

from __future__ import annotations

import importlib.util

import pytest

from guardalign_middleware import detector_loading
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale.serving import try_preset
from guardalign_middleware.testing import red_config, red_detector
from guardalign_middleware.words import models


def test_what_the_servers_could_not_serve_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without thresholds and without a model, as a preset may be that only observes."""
    config = red_config().model_copy(update={"runner": None})
    monkeypatch.setattr(GuardAlignConfig, "load", lambda preset: config)
    monkeypatch.setattr(detector_loading, "load_detector", red_detector)
    try_preset("red", "observe", answers=False)
    with pytest.raises(ConfigError, match="no runner"):
        try_preset("red", "observe", answers=True)
    with pytest.raises(ConfigError, match="no threshold profile"):
        try_preset("red", "enforce", answers=False)


def test_words_that_the_servers_could_not_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config, find = red_config(words={"mode": "report"}), importlib.util.find_spec
    monkeypatch.setattr(GuardAlignConfig, "load", lambda preset: config)
    monkeypatch.setattr(detector_loading, "load_detector", red_detector)
    try_preset("red", "observe", answers=False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "rapidocr" else find(name)
    )
    models.shared_models.cache_clear()
    with pytest.raises(ConfigError, match=r"guardalign-core\[words\]"):
        try_preset("red", "observe", answers=False)
