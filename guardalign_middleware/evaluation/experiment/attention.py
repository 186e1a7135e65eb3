"""How much attention the instruction pays to the safety prefix, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guardalign_middleware.evaluation.suites import Item
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.types import ImagePart, Message, TextPart

_ITEMS = 16


def attention_to_prefix(chain: GuardAlign, items: Sequence[Item]) -> dict[str, Any] | None:
    """Mean share by layer over the first items with a picture, with and without calibration.

    Returns:
        `items`, `layers`, `calibrated` (the layers), and the rows `prefix` and `calibration`; None
        where the model cannot be calibrated, or no item has a picture.

    Raises:
        GuardAlignError: an item cannot be answered.
    """
    runner = chain.runner
    shown = [item for item in items if item.images][:_ITEMS]
    if not isinstance(runner, CalibratedRunner) or not shown:
        return None
    rows: dict[str, list[list[float]]] = {"prefix": [], "calibration": []}
    layers: list[int] = []
    calibrated: tuple[int, ...] = ()
    for item in shown:
        pictures = [chain.guard.load(data) for data in item.read_images()]
        asked = [Message("user", (*map(ImagePart, pictures), TextPart(item.prompt)))]
        for name in rows:
            report = runner.generate(
                asked,
                prefix=True,
                calibrate=name == "calibration",
                explain=True,
                max_new_tokens=1,
            ).calibration
            layers = [layer for layer, _ in report.prefix_attention]
            rows[name].append([share for _, share in report.prefix_attention])
            calibrated = report.layers if name == "calibration" else calibrated
    means = {
        name: [sum(column) / len(found) for column in zip(*found, strict=True)]
        for name, found in rows.items()
    }
    return {
        "items": len(shown),
        "gamma": runner.config.calibration.gamma,
        "layers": layers,
        "calibrated": list(calibrated),
        **means,
    }
