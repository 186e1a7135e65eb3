"""The step `preset`: a YAML file with the pinned models, the concepts and the crops."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.config.detection import Precision
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.first_day.downloads import ENCODER, ENCODER_TOKENIZER, MODEL
from guardalign_middleware.first_day.patch_choice import PatchChoice
from guardalign_middleware.first_day.pinned import Pinned
from guardalign_middleware.first_day.plan import Plan
from guardalign_middleware.preset_files import LOCAL_DIR, find_preset, read_preset
from guardalign_middleware.writing import unwritable, write_whole

_NO_PROFILE = "  # profile: the step calibrate adds it here\n"
_PROFILE = re.compile(r"^  profile:.*\n", re.MULTILINE)
_ITS_PLACE = re.compile(r"^  # profile:.*\n", re.MULTILINE)


def write_preset(
    plan: Plan,
    pinned: Sequence[Pinned],
    crops: PatchChoice,
    *,
    precision: Precision | None = None,
) -> None:
    """Write the preset and, unless they are there, the concepts and the key of the log beside it.

    What is there is left as it is: concepts are the user's own by then, and a log has one key.

    Args:
        plan: what is asked for.
        pinned: the repositories that were fetched.
        crops: how many of a picture.
        precision: of the encoder; None = that of the preset to begin with.

    Raises:
        ConfigError: a file cannot be written, or the preset would be invalid.
    """
    start = plan.start()
    fields = _fields(plan, start)
    detection = fields["detection"]
    repositories = {one.need.use: one.need.repository for one in pinned}
    for one in pinned:
        pins = {"revision": one.revision, "sha256": dict(one.sha256)}
        if one.need.use == ENCODER:
            detection["encoder"] |= pins
        elif one.need.use == ENCODER_TOKENIZER and one.need.repository == repositories.get(ENCODER):
            detection["encoder"]["sha256"] |= pins["sha256"]
        elif one.need.use == ENCODER_TOKENIZER:
            detection["encoder"]["tokenizer"] = pins
        elif one.need.use == MODEL:
            fields["runner"] |= pins
    if precision is not None:
        detection["encoder"]["precision"] = precision
    detection["anchors"] = plan.concepts.name
    detection["patches"] = {**detection.get("patches", {}), "max_crops": crops.max_crops}
    if not plan.concepts.exists():
        write_whole(plan.concepts, start.detection.anchors.read_bytes())
    if plan.observe:
        fields |= {"mode": "observe", "audit": {"log": plan.log.name, "key_file": plan.key.name}}
        _write_key(plan.key)
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100)
    later = f"  # profile: {plan.profile.name}\n" if plan.observe else _NO_PROFILE
    text = text.replace("detection:\n", f"detection:\n{later}", 1)
    write_whole(plan.out, f"{_heading(plan, pinned, crops)}{text}".encode())
    GuardAlignConfig.load(plan.out)  # what was written is read as any other preset


def name_profile(plan: Plan) -> None:
    """Name the profile in the preset; all else in the file stays as it is.

    Raises:
        ConfigError: the file cannot be written, or has no place for it.
    """
    text = plan.out.read_text(encoding="utf-8")
    line = f"  profile: {plan.profile.name}\n"
    if place := _PROFILE.search(text) or _ITS_PLACE.search(text):
        text = f"{text[: place.start()]}{line}{text[place.end() :]}"
    else:
        text = text.replace("detection:\n", f"detection:\n{line}", 1)
    write_whole(plan.out, text.encode())
    if plan.written().detection.profile is None:
        raise ConfigError(
            f"The profile could not be named in {plan.out}.",
            remedy=f"Add `profile: {plan.profile.name}` below `detection:`.",
        )


def _fields(plan: Plan, start: GuardAlignConfig) -> dict[str, Any]:
    """Those of the preset to begin with; its paths are not relative to it any more."""
    fields = read_preset(find_preset(plan.preset))
    fields |= {"name": plan.out.stem, "verified": False}
    fields["notes"] = f"Made by `guardalign init` from {start.name}."
    detection = fields["detection"]
    detection.pop("profile", None)
    if start.detection.encoder.model.startswith(LOCAL_DIR):
        detection["encoder"]["model"] = start.detection.encoder.model
    second = start.detection.defence.second
    if second is not None:
        raise ConfigError(
            f"{start.name} has two encoders, which init does not set up.",
            remedy="Write the preset by hand, and fit it with `guardalign calibrate`.",
        )
    if detection.get("anchor_cache") is not None:
        detection["anchor_cache"] = str(start.detection.anchor_cache)
    if start.runner is not None:
        fields["runner"] = {**(fields.get("runner") or {}), "model": start.runner.model}
        if plan.model is not None:
            fields["runner"].pop("revision", None)
            fields["runner"].pop("sha256", None)
    return fields


def _heading(plan: Plan, pinned: Sequence[Pinned], crops: PatchChoice) -> str:
    if plan.observe:
        after = "begin a new log."
        then = (
            "Once `guardalign calibrate --from-audit` has fitted a threshold, uncomment `profile`."
        )
    else:
        after = "repeat"
        then = f"  guardalign init --step calibrate --step review --out {plan.out.name} …"
    lines = [
        f"# A guard by `guardalign init --preset {plan.preset}`. Edit freely: after a change of",
        f"# the concepts ({plan.concepts.name}), the encoder or the patches, {after}",
        f"# {then}",
    ]
    for one in pinned:
        licence = one.licence or "not declared"
        lines.append(f"# {one.need.use}: {one.need.repository}, licence {licence}")
    lines.append(f"# patches: {crops.reason}")
    return "\n".join(lines) + "\n"


def _write_key(target: Path) -> None:
    with unwritable(target), suppress(FileExistsError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "x", encoding="ascii", opener=_for_its_owner) as file:
            file.write(f"{secrets.token_hex(32)}\n")


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
