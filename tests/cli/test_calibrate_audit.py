"""`guardalign calibrate --from-audit`: from a log of an observing guard to one that enforces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from guardalign_middleware import ImageGuard
from guardalign_middleware.audit import AuditLog
from guardalign_middleware.cli import calibrate_audit
from guardalign_middleware.cli.app import app
from guardalign_middleware.cli.calibrate_audit import change_over_time
from guardalign_middleware.config import AuditConfig
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.testing import all_red, picture, red_config, red_detector
from tests.support.audit_logs import KEY, write_key
from tests.support.observed_logs import observed_verdict, write_observed

BARE = Detector(red_detector().meters, red_config().detection)
PARTS = {"encoder": BARE.encoder, "binding": BARE.binding}


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_audit, "load_unfitted", lambda config: BARE)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_key(tmp_path, KEY)
    path = tmp_path / "audit.jsonl"
    write_observed(path, np.random.default_rng(1).uniform(0.3, 1.0, 150).tolist(), **PARTS)
    return path


def calibrate(log: Path, *options: str) -> Result:
    key, out = log.with_name("audit.key"), log.with_name("profile.json")
    args = ["calibrate", "--from-audit", str(log), "--key-file", str(key), "--out", str(out)]
    return CliRunner().invoke(app, [*args, *options])


def test_a_threshold_is_proposed_with_what_it_assumes(log: Path) -> None:
    done = calibrate(log, "--unsafe-share", "0.1", "--max-false-alarm", "0.1", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    fit = told["calibrated_on"]
    assert (fit["safe_images"], fit["max_false_alarm"]) == (0, 0.1)
    assert fit["traffic"]["unsafe_share"] == 0.1
    assert fit["traffic"]["images"] + fit["traffic"]["held_out"][1] == 150
    assert told["log"]["lines"] == told["log"]["images"] == 150
    assert told["log"]["change_p_value"] > 0.01
    assert "warning" not in done.stderr
    profile = ThresholdProfile.load(log.with_name("profile.json"))
    assert 0.3 < profile.threshold < 0.4
    assert Detector(BARE.meters, BARE.config, profile)


def test_people_are_told_as_well(log: Path) -> None:
    AuditLog(log, KEY).append(observed_verdict(0.5, 0, **PARTS))
    done = calibrate(log, "--unsafe-share", "0", "--max-false-alarm", "0.1")
    assert done.exit_code == 0
    assert "151 lines from" in done.stderr
    assert "150 different images" in done.stderr
    assert "left out: 1 on an image that came before" in done.stderr
    assert "images flagged" in done.stdout
    assert "not labelled" in done.stdout
    assert "No promise on misses" in " ".join(done.stdout.split())


def test_from_observing_to_enforcing(tmp_path: Path) -> None:
    """What a guard without thresholds recorded lets one enforce that stops what stood out."""
    log, key = tmp_path / "audit.jsonl", write_key(tmp_path, KEY)
    config = red_config(mode="observe", audit=AuditConfig(log=log, key_file=key))
    watching = ImageGuard(config, Detector(BARE.meters, config.detection))
    rng = np.random.default_rng(2)
    for shade in rng.permutation(np.linspace(0, 250, 60)).astype(int).tolist():
        watching.scan(picture(colour=(0, shade, 128)))
    watching.scan(all_red())
    done = calibrate(log, "--unsafe-share", "0.02", "--max-false-alarm", "0.05")
    assert done.exit_code == 0, done.output
    profile = ThresholdProfile.load(tmp_path / "profile.json")
    enforcing = red_config()
    guard = ImageGuard(enforcing, Detector(BARE.meters, enforcing.detection, profile))
    assert guard.sanitize(all_red()).image is None
    assert guard.scan(picture(colour=(0, 77, 128))).decision == "allow"


def test_traffic_that_changed_is_told(log: Path) -> None:
    AuditLog(log, KEY)
    for seed in range(150, 300):
        AuditLog(log, KEY).append(observed_verdict(0.1, seed, **PARTS))
    done = calibrate(log, "--unsafe-share", "0.01")
    assert done.exit_code == 0
    assert "later half of the images differs" in " ".join(done.stderr.split())
    assert change_over_time([]) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--from-audit needs --unsafe-share"),
        (["--unsafe-share", "0.1", "--max-false-alarm", "0.001"], "To flag at most 0.09%"),
        (["--unsafe-share", "0.1", "--held-out", "1"], "--held-out should be in"),
        (["--unsafe-share", "0.1", "--safe", "."], "--safe cannot be combined"),
        (["--unsafe-share", "0.1", "--max-miss", "0.1"], "--max-miss cannot be combined"),
        (["--unsafe-share", "0.1", "--since", "2999-01-01"], "To flag at most"),
        (["--unsafe-share", "0.1", "--anchor", "x"], "is not an anchor"),
    ],
)
def test_what_does_not_go_is_one_line_and_writes_nothing(
    log: Path, options: list[str], message: str
) -> None:
    done = calibrate(log, *options)
    assert done.exit_code == 3
    assert message in " ".join(done.stderr.split())
    assert not log.with_name("profile.json").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--safe", ".", "--unsafe-share", "0.1"], "--unsafe-share needs --from-audit"),
        (["--safe", ".", "--key-file", "key"], "--key-file needs --from-audit"),
        ([], "Give safe images with --safe, or a log with --from-audit"),
    ],
)
def test_options_of_a_log_need_one(args: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["calibrate", *args])
    assert done.exit_code == 3
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_another_configuration_and_a_damaged_log_are_refused(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: Any = Detector(BARE.meters, BARE.config)
    monkeypatch.setattr(Detector, "binding", "another")
    monkeypatch.setattr(calibrate_audit, "load_unfitted", lambda config: other)
    done = calibrate(log, "--unsafe-share", "0.1")
    assert (done.exit_code, "different configuration" in done.stderr) == (3, True)
    log.write_bytes(log.read_bytes()[:-200])
    done = calibrate(log, "--unsafe-share", "0.1")
    assert (done.exit_code, "not intact" in done.stderr) == (3, True)
    assert not log.with_name("profile.json").exists()
