"""What lmms-eval registers: `--model guardalign --model_args preset=llava-1.5-7b,arm=full`."""

from __future__ import annotations

from typing import Any

MODEL_ID = "guardalign"
CLASS_PATH = "guardalign_middleware.evaluation.lmms.model.GuardAlignModel"


def manifest() -> Any:
    """The manifest of lmms-eval >= 0.7."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=MODEL_ID, chat_class_path=CLASS_PATH)
