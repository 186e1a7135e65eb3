"""A detector that looks at what the runner's model sees loads that model's processor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detector_loading import load_detector
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.identity import detector_key, guard_identity
from guardalign_middleware.types import CanonicalImage
from tests.support.tiny.models import save_tiny_model


def config(sees: Any, **runner: Any) -> GuardAlignConfig:
    mini = GuardAlignConfig.load("mini")
    assert mini.runner is not None
    detection = mini.detection.model_copy(update={"sees": sees, "profile": None})
    update = {"detection": detection, "runner": mini.runner.model_copy(update=runner)}
    return mini.model_copy(update=update)


def test_its_forms_are_the_frames_of_the_processor() -> None:
    detector = load_detector(config(("model", "any")))
    (meter,) = detector.meters
    picture = CanonicalImage(np.full((200, 300, 3), 90, dtype=np.uint8))
    forms = meter.look.forms_of(picture)
    assert {form.name for form in forms} == {"model", "squashed", "native"}
    assert meter.look.model_forms is not None
    assert meter.binding["form:model"] == meter.look.model_forms.fingerprint
    levels = {level.form for level in meter.distances(picture).evidence.levels}
    assert "model" in levels


def test_without_a_runner_it_is_refused() -> None:
    alone = config(("model",)).model_copy(update={"runner": None})
    with pytest.raises(ConfigError, match=r"no runner.*detection\.sees"):
        load_detector(alone)


def test_without_the_form_no_processor_is_loaded() -> None:
    (meter,) = load_detector(config(("any",), model="/nowhere")).meters
    assert meter.look.model_forms is None


def test_the_runner_counts_only_where_its_model_is_looked_at(tmp_path: Path) -> None:
    others = [str(save_tiny_model(tmp_path / name, name)) for name in ("llava", "gemma3")]
    for sees, different in ((("model",), True), (("any",), False)):
        configs = [config(sees, model=model) for model in others]
        assert (len({detector_key(each) for each in configs}) == 2) == different
        identities = {guard_identity(each, None)["fingerprint"] for each in configs}
        assert (len(identities) == 2) == different
