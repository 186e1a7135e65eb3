"""What an experiment was made with, without the paths of the machine."""

from __future__ import annotations

from typing import Any

from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.report.blocks import Section, Table


def settings(made: Experiment) -> Section:
    """Suite, model, guard, generation, hashes, versions."""
    about, told = made.folder.about, made.folder.identity
    manifest, chain, config = about["manifest"], told["chain"], about.get("config")
    rows = [
        ("suite", f"{manifest['title']}, {manifest['source']}"),
        ("revision of its loader", manifest["revision"] or "none"),
        ("licence", manifest["licence"]),
        ("prompt", manifest["prompt"]),
        ("the authors judge by", manifest["judge"]),
        ("items, SHA-256", told["items_sha256"]),
        ("preset", f"{about['preset']}, fingerprint of the chain {chain['fingerprint']}"),
        ("model", about["model"]),
        ("safety prefix", f"{chain['safety_prefix']} (policy: {chain['prefix_policy']})"),
        (
            "calibration",
            f"γ {chain['gamma']:g}, {chain['calibration_mode']}, band "
            f"{chain['calibration_band'][0]:g} to {chain['calibration_band'][1]:g}",
        ),
        *(() if config is None else _configured(about, config)),
        ("generation", _generation(about["generation"], told["options"])),
        *_eta(made),
        ("versions", _plain(about["versions"])),
        ("machine", about.get("machine", "not in the log")),
    ]
    return Section("Configuration", (Table(("setting", "value"), tuple(rows)),))


def _configured(about: dict[str, Any], config: dict[str, Any]) -> list[tuple[str, str]]:
    """What a run stores besides; a log of Inspect has none of it."""
    runner, detection = config["runner"], config["detection"]
    transport = detection["transport"]
    return [
        ("weights, SHA-256", _digests(about["weights"].get("files", {}))),
        ("encoder", str(about["encoder"])),
        ("threshold profile", str(about["profile"])),
        ("place of the prefix", runner["prefix"]["placement"]),
        ("rows of the calibration", runner["calibration"]["rows"]),
        (
            "transport",
            f"ε {transport['epsilon']:g}, {transport['aggregation']}, contrast "
            f"{transport['contrast']}, weights {transport['patch_weights']}",
        ),
        ("patches", _plain(detection["patches"])),
    ]


def _eta(made: Experiment) -> list[tuple[str, str]]:
    """The threshold of the arm eta, where it has answers."""
    threshold = made.folder.arm_settings.get("eta", {}).get("threshold")
    shown = "ETA's" if threshold is None else f"{threshold:g}"
    return [("threshold of the arm eta", shown)] if "eta" in made.arms else []


def _generation(usual: dict[str, Any], asked: dict[str, Any]) -> str:
    length = asked.get("max_new_tokens") or usual["max_new_tokens"]
    return f"{length} new tokens, temperature {usual['temperature']:g}, {usual['dtype']}"


def _digests(files: dict[str, str]) -> str:
    return ", ".join(f"{name} {digest}" for name, digest in files.items()) or "not from files"


def _plain(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
