"""What an experiment was made with, without the paths of the machine."""

from __future__ import annotations

from typing import Any

from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.report.blocks import Section, Table


def settings(made: Experiment) -> Section:
    """Suite, model, guard, generation, hashes, versions."""
    about, told = made.folder.about, made.folder.identity
    config, manifest = about["config"], about["manifest"]
    runner, detection = config["runner"], config["detection"]
    calibration, transport = runner["calibration"], detection["transport"]
    options = told["options"]
    rows = [
        ("suite", f"{manifest['title']}, {manifest['source']}"),
        ("revision of its loader", manifest["revision"] or "none"),
        ("licence", manifest["licence"]),
        ("prompt", manifest["prompt"]),
        ("the authors judge by", manifest["judge"]),
        ("items, SHA-256", told["items_sha256"]),
        ("preset", f"{about['preset']}, fingerprint of the chain {told['chain']['fingerprint']}"),
        ("model", about["model"]),
        ("weights, SHA-256", _digests(about["weights"].get("files", {}))),
        ("encoder", str(about["encoder"])),
        ("threshold profile", str(about["profile"])),
        ("safety prefix", f"{runner['prefix']['text']} ({runner['prefix']['placement']})"),
        (
            "calibration",
            f"γ {calibration['gamma']:g}, {calibration['mode']}, band "
            f"{calibration['band'][0]:g} to {calibration['band'][1]:g}, "
            f"rows: {calibration['rows']}",
        ),
        (
            "transport",
            f"ε {transport['epsilon']:g}, {transport['aggregation']}, contrast "
            f"{transport['contrast']}, weights {transport['patch_weights']}",
        ),
        ("patches", _plain(detection["patches"])),
        (
            "generation",
            f"{options.get('max_new_tokens') or about['generation']['max_new_tokens']} new tokens, "
            f"temperature {about['generation']['temperature']:g}, {about['generation']['dtype']}",
        ),
        (
            "threshold of the arm eta",
            "ETA's" if told["eta_threshold"] is None else f"{told['eta_threshold']:g}",
        ),
        ("versions", _plain(about["versions"])),
        ("machine", about["machine"]),
    ]
    return Section("Configuration", (Table(("setting", "value"), tuple(rows)),))


def _digests(files: dict[str, str]) -> str:
    return ", ".join(f"{name} {digest}" for name, digest in files.items()) or "not from files"


def _plain(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
