"""The files of `deploy/` are sound, as far as tools without a daemon tell, and fit the server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from guardalign_middleware.cli import app
from guardalign_middleware.config import ServeConfig

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
UNIT = (DEPLOY / "guardalign.service").read_text(encoding="utf-8")
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
KEY = "a-key-of-sixteen-characters"
OPTIONS = {option for each in get_command(app).commands["serve"].params for option in each.opts}


def tool(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=DEPLOY, env=environment or None
    )


def test_the_dockerfile_has_no_finding_of_hadolint() -> None:
    done = run(tool("hadolint"), "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_a_user_with_no_rights_and_stops_by_draining() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, flags=re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE
    assert "/ready" in DOCKERFILE


def test_the_image_gets_no_file_that_is_not_named() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    names = {name for each in copied for name in each.split()}
    assert {line[1:] for line in ignored if line.startswith("!")} == names
    assert all((ROOT / name).exists() for name in names)


def test_the_compose_file_is_valid_and_needs_a_key() -> None:
    command = (tool("docker-compose"), "-f", "compose.yaml", "--profile", "upstream", "config")
    done = run(*command, GUARDALIGN_KEY=KEY)
    # Its Python package hides the exit status.
    assert done.stdout, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"guard", "gateway"}
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    without = run(*command, PATH="/usr/bin")
    assert not without.stdout
    assert "GUARDALIGN_KEY" in without.stderr


@pytest.mark.parametrize(
    ("environment", "keys"),
    [
        ({}, []),
        ({"UPSTREAM_KEY": ""}, []),
        ({"UPSTREAM_KEY": "sk-1"}, ["--upstream-key-env", "UPSTREAM_KEY"]),
    ],
)
def test_an_upstream_of_the_compose_file_may_need_no_key(
    environment: dict[str, str], keys: list[str]
) -> None:
    """The option refuses an empty key, so a container with it would start again and again."""
    command = (tool("docker-compose"), "-f", "compose.yaml", "--profile", "upstream", "config")
    asked = {"GUARDALIGN_KEY": KEY, "GUARDALIGN_PRESET": "/presets/my own.yaml", **environment}
    shown = yaml.safe_load(run(*command, **asked).stdout)["services"]["gateway"]["command"]
    service = "https://api.openai.com/v1"
    assert shown == ["--preset", "/presets/my own.yaml", "--upstream", service, *keys]


def test_the_unit_is_valid_and_shut_in(tmp_path: Path) -> None:
    unit = tmp_path / "guardalign.service"
    unit.write_text(UNIT.replace("/opt/guardalign/bin/guardalign", "/bin/true"))
    analyze = tool("systemd-analyze")
    done = run(analyze, "verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")
    safe = run(analyze, "security", "--offline=true", "--threshold=20", str(unit))
    assert safe.returncode == 0, safe.stdout[-200:]


@pytest.mark.parametrize("text", [DOCKERFILE, UNIT, COMPOSE], ids=["image", "unit", "compose"])
def test_every_option_exists(text: str) -> None:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    asked = [
        line for line in lines if re.match(r"ENTRYPOINT|CMD|ExecStart|\s+command|\s+- --", line)
    ]
    options = {option for line in asked for option in re.findall(r"(?<!\w)--[a-z-]+", line)}
    assert options
    assert options <= OPTIONS


def test_an_audit_log_has_a_place_and_a_key() -> None:
    """The root is read-only, so the log of docs/audit.md needs a folder of its own."""
    folder = "/var/log/guardalign"
    assert f"log: {folder}/" in (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    made = rf"install --directory --owner 10001 --group 10001 --mode 700 {folder}$"
    assert re.search(made, DOCKERFILE, flags=re.MULTILINE)
    for service in yaml.safe_load(COMPOSE)["services"].values():
        assert f"logs:{folder}" in service["volumes"]
        assert "GUARDALIGN_AUDIT_KEY" in service["environment"]
    assert re.search(r"^LogsDirectory=guardalign$", UNIT, flags=re.MULTILINE)
    assert "GUARDALIGN_AUDIT_KEY=" in (DEPLOY / "guardalign.env").read_text(encoding="utf-8")


def test_a_server_on_many_cores_may_have_its_threads() -> None:
    """Of every request at once, and OpenMP's of eight scans in one turn and of a model."""
    (limit,) = re.findall(r"pids_limit: (\d+)", COMPOSE)
    cores = 256
    assert int(limit) > ServeConfig().max_requests + (8 + 2) * cores


def test_a_stopped_server_has_time_to_answer() -> None:
    needed = ServeConfig().drain_seconds + 5
    (compose,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    (unit,) = re.findall(r"TimeoutStopSec=(\d+)", UNIT)
    assert int(compose) > needed
    assert int(unit) > needed
