"""How much attention the instruction pays to the safety prefix, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.evaluation.suites import Item
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.replies import CalibrationReport
from guardalign_middleware.types import ImagePart, Message, TextPart

_ITEMS = 16


def attention_to_prefix(chain: GuardAlign, items: Sequence[Item]) -> dict[str, Any] | None:
    """Mean share by layer over the first items with a picture, with and without calibration.

    Items that cannot be answered are left out: the arms say of each what is wrong with it.

    Returns:
        `items`, `layers`, `calibrated` (the layers), and the rows `prefix` and `calibration`; None
        where the model cannot be calibrated, or none of these items has a picture and an answer.
    """
    runner = chain.runner
    if not isinstance(runner, CalibratedRunner):
        return None
    rows: dict[str, list[list[float]]] = {"prefix": [], "calibration": []}
    layers: list[int] = []
    calibrated: tuple[int, ...] = ()
    for item in [item for item in items if item.images][:_ITEMS]:
        try:
            reports = _reports(chain, runner, item)
        except GuardAlignError:
            continue
        layers = [layer for layer, _ in reports["calibration"].prefix_attention]
        calibrated = reports["calibration"].layers
        for name, report in reports.items():
            rows[name].append([share for _, share in report.prefix_attention])
    if not layers:
        return None
    means = {
        name: [sum(column) / len(found) for column in zip(*found, strict=True)]
        for name, found in rows.items()
    }
    return {
        "items": len(rows["prefix"]),
        "gamma": runner.config.calibration.gamma,
        "layers": layers,
        "calibrated": list(calibrated),
        **means,
    }


def _reports(
    chain: GuardAlign, runner: CalibratedRunner, item: Item
) -> dict[str, CalibrationReport]:
    """What was paid to the prefix in an answer of one token, without and with calibration."""
    pictures = [chain.guard.load(data) for data in item.read_images()]
    asked = [Message("user", (*map(ImagePart, pictures), TextPart(item.prompt)))]
    return {
        name: runner.generate(
            asked, prefix=True, calibrate=name == "calibration", explain=True, max_new_tokens=1
        ).calibration
        for name in ("prefix", "calibration")
    }
