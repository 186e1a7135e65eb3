"""What `guardalign init` is asked for, and the files that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError

Step = Literal["download", "preset", "calibrate", "review", "ask"]
STEPS: tuple[Step, ...] = ("download", "preset", "calibrate", "review", "ask")


@dataclass(frozen=True)
class Plan:
    """What `guardalign init` is asked for.

    Attributes:
        preset: a shipped preset, or the path of a .yaml file, to begin with.
        model: a model that answers, on the hub or in a folder; None = that of the preset.
        out: the preset to write.
        safe: sets of safe pictures.
        unsafe: sets of unsafe pictures.
        max_false_alarm: the promise about safe pictures, or None.
        max_miss: the promise about unsafe pictures, or None.
        held_out: share of the pictures that is left out of the fit.
        most: pictures of each set that are taken at most; None = all.
        max_crops: crops of a picture at most; None = chosen for the pictures.
        seed: of everything that is drawn.
        observe: whether the guard begins by recording what it finds, without a threshold.
    """

    preset: str
    out: Path
    safe: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()
    model: str | None = None
    max_false_alarm: float | None = 0.05
    max_miss: float | None = None
    held_out: float = 0.3
    most: int | None = None
    max_crops: int | None = None
    seed: int = 0
    observe: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix not in {".yaml", ".yml"}:
            raise ConfigError(f"--out should be a .yaml file. Received {self.out}.")
        if not 0.0 < self.held_out < 1.0:
            raise ConfigError(f"--held-out should be in (0, 1). Received {self.held_out}.")

    @property
    def profile(self) -> Path:
        """The threshold profile."""
        return self._beside("-profile.json")

    @property
    def concepts(self) -> Path:
        """What is looked for: a copy of the preset's, to be edited."""
        return self._beside("-concepts.yaml")

    @property
    def log(self) -> Path:
        """The audit log of a guard that observes."""
        return self._beside("-audit.jsonl")

    @property
    def key(self) -> Path:
        """Its key."""
        return self._beside("-audit.key")

    @property
    def distances(self) -> Path:
        """What was measured of each picture, from which a broken measurement goes on."""
        return self._beside("-distances.jsonl")

    @property
    def review(self) -> Path:
        """The contact sheet."""
        return self._beside("-review.html")

    @property
    def answers(self) -> Path:
        """The questions with the plain and the guarded answers."""
        return self._beside("-answers.json")

    def start(self) -> GuardAlignConfig:
        """The preset to begin with, and with the model that is asked for.

        Raises:
            ConfigError: there is no such preset, or it is invalid.
        """
        config = GuardAlignConfig.load(self.preset)
        if self.model is None:
            return config
        runner = {} if config.runner is None else config.runner.model_dump()
        if runner.get("model") != self.model:
            runner |= {"model": self.model, "revision": None, "sha256": {}}
        fields = config.model_dump() | {"runner": runner}
        return GuardAlignConfig.model_validate(fields)

    def written(self) -> GuardAlignConfig:
        """The preset that the step `preset` wrote.

        Raises:
            ConfigError: it did not, or the file is invalid.
        """
        if not self.out.is_file():
            raise ConfigError(
                f"There is no {self.out} yet.", remedy="Run `guardalign init --step preset` first."
            )
        return GuardAlignConfig.load(self.out)

    def _beside(self, ending: str) -> Path:
        return self.out.with_name(f"{self.out.stem}{ending}")
