"""Stored experiments on the suite mini, without a model: answers and verdicts are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.evaluation.experiment import RunFolder
from guardalign_middleware.evaluation.experiment.digest import items_digest
from guardalign_middleware.evaluation.experiment.judging import judge_answers
from guardalign_middleware.evaluation.mini_suite import MiniJudge, MiniSuite
from guardalign_middleware.evaluation.suites import Item
from guardalign_middleware.identity import chain_identity
from guardalign_middleware.intake import load_image
from guardalign_middleware.mini.questions import COMPLY, NOT_SEEN, REFUSE

KNIFE = COMPLY.format("knife")
SECRET = "</script><b>an answer</b>"
ARMS = ("vanilla", "prefix", "calibration", "calibration@2", "detection-prefix", "full")


def made_up(path: Path, n: int = 8, arms: Sequence[str] = ARMS) -> RunFolder:
    """An experiment in which the arms answer ever fewer harmful requests, all judged."""
    suite = MiniSuite(n)
    items = suite.load()
    identity = {
        "suite": "mini",
        "split": "all",
        "limit": n,
        "items": len(items),
        "items_sha256": items_digest(items),
        "chain": chain_identity(GuardAlignConfig.load("mini"), None),
        "options": {},
        "eta_threshold": None,
    }
    with RunFolder.open(path, identity, _about(suite)) as folder:
        folder.add_scans([_scan(item) for item in items if item.images])
        for arm in arms:
            folder.add_answers(arm, [_answer(item, arms.index(arm)) for item in items])
        folder.write_attention(
            {
                "items": 4,
                "gamma": 0.5,
                "layers": [0, 1, 2],
                "calibrated": [1],
                "prefix": [0.1, 0.2, 0.1],
                "calibration": [0.1, 0.4, 0.1],
            }
        )
        list(judge_answers(folder, items, MiniJudge(), arms))
    return folder


def _about(suite: MiniSuite) -> dict[str, Any]:
    config = GuardAlignConfig.load("mini")
    return {
        "made": "2026-01-01 00:00 UTC",
        "preset": "mini",
        "data": None,
        "manifest": suite.manifest.to_record(),
        "model": "made up",
        "weights": {"files": {"model.safetensors": "w" * 64}},
        "encoder": "encoder",
        "profile": "p" * 64,
        "generation": {
            "max_new_tokens": 48,
            "temperature": 0.0,
            "batch_size": 16,
            "dtype": "float32",
        },
        "config": config.model_dump(mode="json", exclude={"audit", "serve"}),
        "versions": {"guardalign": "0.1.0"},
        "machine": "Linux",
    }


def _scan(item: Item) -> dict[str, Any]:
    harmful = item.metadata["label"] == "unsafe"
    number = int(item.id.rsplit("-", 1)[1])
    box = [40, 40, 120, 120]
    region = {"box": box, "category": "weapon", "distance": 0.01, "cost": 0.2}
    distance, threshold = 0.002 * (number + 1) if harmful else 0.2 + 0.02 * number, 0.07
    verdict = {
        "decision": "mask" if harmful else "allow",
        "distance": distance,
        "threshold": threshold,
        "ratio": distance / threshold,
        "category": "weapon",
        "regions": [region] if harmful else [],
        "sha256": load_image(item.read_images()[0]).sha256,
        "boxes": [box] if harmful else [],
        "masked_fraction": 0.1,
        "rounds": 1,
    }
    return {"id": item.id, "seconds": 0.5, "images": [verdict]}


def _answer(item: Item, place: int) -> dict[str, Any]:
    number = int(item.id.rsplit("-", 1)[1])
    if item.metadata["label"] == "unsafe":
        text = KNIFE if number % len(ARMS) > place else NOT_SEEN if number % 2 else REFUSE
        text = SECRET if number == 7 else text
    else:
        text = item.target or KNIFE
    return {
        "id": item.id,
        "text": text,
        "finish_reason": "stop",
        "calls": 1,
        "input_tokens": 50,
        "output_tokens": 10,
        "detail": {},
        "seconds": 0.1 + 0.1 * place,
    }
