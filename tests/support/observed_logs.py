"""Audit logs of guards that observe, of handmade verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from guardalign_middleware.audit import AuditLog
from guardalign_middleware.types import Verdict
from tests.support.audit_logs import KEY
from tests.support.verdicts import grid_evidence, make_verdict, plain_image

ENCODER, BINDING = "fake", "binding"


def observed_verdict(
    distance: float, seed: int = 0, *, encoder: str = ENCODER, binding: str = BINDING, **more: Any
) -> Verdict:
    """On picture number `seed`, whose nearest patch has this distance; without a threshold."""
    image = plain_image(8, 6, seed=seed)
    evidence = grid_evidence(8, 6, [distance] + [1.0] * 15)
    evidence = replace(evidence, encoder=encoder, binding=binding)
    verdict = make_verdict(image, distance=distance, evidence=evidence)
    fields = {"decision": "observe", "would_be": "undecided", "threshold": float("nan")}
    return replace(verdict, **{**fields, "profile": "", **more})


def write_observed(path: Path, distances: Sequence[float], **parts: Any) -> None:
    """A line for each distance, all of different pictures."""
    log = AuditLog(path, KEY)
    for seed, distance in enumerate(distances):
        log.append(observed_verdict(distance, seed, **parts))
