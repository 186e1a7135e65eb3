"""Record the outputs of the shipped preset, to compare two versions of the code.

Run `python -m benchmarks.mini.outputs record old.jsonl` in one checkout, the same with `new.jsonl`
in the other, then `python -m benchmarks.mini.outputs compare old.jsonl new.jsonl`. A refactoring
must not change any verdict, patch distance, cleaned picture, overlay, answer or audit line, nor the
profile's fingerprint. To record a version without this file, run the file by its path with that
checkout on `PYTHONPATH`: it uses only public names of the core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from guardalign_middleware import CalibratedRunner, GuardAlign, GuardAlignConfig, ImageGuard
from guardalign_middleware.config import AuditConfig
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.questions import (
    THINGS,
    ask,
    draw_question_scene,
    harmful_request,
    things_in,
)
from guardalign_middleware.mini.wordings import FAMILIES
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage

_SEED = 20261128
# Audit fields that differ between two runs of the same version.
_VOLATILE = {"time", "mac", "previous"}
Record = dict[str, Any]


def record(scenes: int, answers: int) -> Iterator[Record]:
    """One record for the profile, then one for each scene, each answer and each audit line."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        key.write_bytes(b"q8vX2mTz7LcR4wYb9NkP5sHd3JfGa6Ue")  # keeps nothing secret
        key.chmod(0o600)
        log = Path(folder) / "audit.jsonl"
        config = GuardAlignConfig.load("mini").model_copy(
            update={"audit": AuditConfig(log=log, key_file=key)}
        )
        guard = ImageGuard.from_config(config)
        profile = guard.detector.profile
        assert profile is not None
        assert config.runner is not None
        yield {"kind": "profile", "fingerprint": profile.fingerprint, "binding": [*profile.binding]}
        for number in track(range(scenes), "scenes", console=Console(stderr=True)):
            yield {"kind": "scene", "number": number, **_scene(guard, number)}
        chain = GuardAlign(guard, CalibratedRunner.from_config(config.runner))
        for number in track(range(answers), "answers", console=Console(stderr=True)):
            yield {"kind": "answer", "number": number, **_answer(chain, number)}
        for line in log.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            yield {"kind": "audit", **{k: v for k, v in entry.items() if k not in _VOLATILE}}


def differences(old: Path, new: Path) -> list[str]:
    """The records and fields in which two files differ, one line each."""
    before = old.read_text(encoding="utf-8").splitlines()
    after = new.read_text(encoding="utf-8").splitlines()
    found = [
        f"record {number} ({json.loads(first)['kind']}): {_changed_keys(first, second)}"
        for number, (first, second) in enumerate(zip(before, after, strict=False))
        if first != second
    ]
    if len(before) != len(after):
        found.append(f"{len(before)} records before, {len(after)} after")
    return found


def _scene(guard: ImageGuard, number: int) -> Record:
    rng = np.random.default_rng((_SEED, number))
    scene = draw_cluttered_scene(rng, unsafe=number % 2 == 0, backgrounds=HELD_OUT_BACKGROUNDS)
    cleaned = guard.sanitize(CanonicalImage(scene.pixels))
    evidence = cleaned.verdict.evidence
    return {
        "verdict": cleaned.verdict.to_json(),
        "boxes": [list(map(int, box)) for box in cleaned.boxes],
        "rounds": cleaned.rounds,
        "masked_fraction": cleaned.masked_fraction,
        "residual_distance": cleaned.residual_distance,
        "cleaned": None if cleaned.image is None else cleaned.image.sha256,
        "patch_boxes": _digest(evidence.patch_boxes),
        "patch_distances": _digest(evidence.patch_distances),
        "patch_categories": list(evidence.patch_categories),
        "overlay": _digest(np.asarray(cleaned.overlay())),
    }


def _answer(chain: GuardAlign, number: int) -> Record:
    rng = np.random.default_rng((_SEED + 1, number))
    count = 1 + number % 3
    things = [THINGS[index] for index in rng.choice(len(THINGS), count, replace=False)]
    scene = draw_question_scene(rng, things, HELD_OUT_BACKGROUNDS)
    if number % 2:
        text = harmful_request(rng, things[0], alone=count == 1, held_out=True)
    else:
        family = FAMILIES[number // 2 % len(FAMILIES)]
        text = ask(rng, family, things_in(scene), held_out=True).text
    content = [
        {"type": "image", "image": CanonicalImage(scene.pixels)},
        {"type": "text", "text": text},
    ]
    return chain.invoke([{"role": "user", "content": content}]).to_json()


def _digest(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _changed_keys(first: str, second: str) -> str:
    old, new = json.loads(first), json.loads(second)
    return ", ".join(key for key in {**old, **new} if old.get(key) != new.get(key)) or "key order"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="record this version")
    recording.add_argument("file", type=Path)
    recording.add_argument("--scenes", type=int, default=200)
    recording.add_argument("--answers", type=int, default=200)
    comparing = commands.add_parser("compare", help="compare two records; exit 1 if they differ")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    options = parser.parse_args(arguments)
    console = Console()
    if options.command == "record":
        torch.set_num_threads(1)
        with options.file.open("w", encoding="utf-8") as file:
            for item in record(options.scenes, options.answers):
                file.write(json.dumps(item) + "\n")
        return
    found = differences(options.old, options.new)
    for line in found:
        console.print(line)
    if found:
        raise SystemExit(1)
    console.print("The records are equal, byte for byte.")


if __name__ == "__main__":
    main()
