"""The figures of docs/scale.md about a cluster, which not every machine can measure."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results import RESULTS, read_json
from benchmarks.tables import markdown, unmeasured


def scale_ray() -> str:
    """A scan by actors against processes."""
    return _stored(RESULTS / "ray_scan.json", "scale_ray", "benchmarks.bulk.ray")


def scale_waits() -> str:
    """The waiting times of real servers against the simulation."""
    return _stored(RESULTS / "ray_serve.json", "scale_waits", "benchmarks.scale.replicas")


def _stored(file: Path, name: str, command: str) -> str:
    if not file.is_file():
        return unmeasured(command)
    stored = read_json(file)["tables"][name]
    return f"{markdown(stored['head'], stored['rows'])}\n\n{stored['told']}"
