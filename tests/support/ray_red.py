"""Processes of Ray whose guard finds red; every process imports this, so it loads nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from guardalign_middleware.bulk import pool
from guardalign_middleware.bulk.job import Job

if TYPE_CHECKING:
    from guardalign_middleware.bulk.entry import Entry
    from guardalign_middleware.bulk.job import Outcome
    from guardalign_middleware.config import GuardAlignConfig


class Red:
    """Finds red, and dies of "poison"."""

    def __init__(self, job: Job) -> None:
        from guardalign_middleware.bulk.scanner import Scanner
        from guardalign_middleware.errors import ModelLoadError
        from guardalign_middleware.image_guard import ImageGuard
        from guardalign_middleware.testing import red_guard

        if job.config.name == "broken":
            raise ModelLoadError("It cannot be loaded.", remedy="Get it.")
        guard = red_guard(job.config)
        ImageGuard.from_config = lambda config: guard  # type: ignore[method-assign,assignment]
        self._scanner = Scanner(job)

    def scan(self, entry: Entry) -> Outcome:
        """Scan, or die."""
        if "poison" in entry.source:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._scanner.scan(entry)


def prepare(job: Job) -> int:
    """In place of `pool._prepare`: no models are loaded."""
    pool.take_part(Red(job))
    return os.getpid()


def set_up_worker() -> None:
    """What every process of the cluster does first."""
    pool._prepare = prepare


def config_with_profile(folder: Path, name: str = "red") -> GuardAlignConfig:
    """A config whose profile is a file, as every preset's."""
    from guardalign_middleware.testing import red_config, red_detector

    config = red_config(name=name)
    profile = red_detector(config).profile
    assert profile is not None
    profile.save(folder / "profile.json")
    detection = config.detection.model_copy(update={"profile": folder / "profile.json"})
    return config.model_copy(update={"detection": detection})
