"""What is measured: the guard and the model of a preset, such that equal calls do equal work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

import numpy as np

from guardalign_middleware.bench.device import Device, device_of
from guardalign_middleware.config import GuardAlignConfig, RunnerConfig
from guardalign_middleware.detection import Detector, ThresholdFit, ThresholdProfile
from guardalign_middleware.detection.encoder import encoder_device
from guardalign_middleware.detector_loading import load_detector
from guardalign_middleware.generation import CalibratedRunner, load_model
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.preset_files import LOCAL_DIR
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

QUESTION = "Describe the picture in detail."
_BLOCKS = 16


def forgetting(config: GuardAlignConfig) -> GuardAlignConfig:
    """The config of a guard that scans every picture, also one that it has seen before."""
    forgetful = config.detection.model_copy(update={"remembered_verdicts": 0})
    return config.model_copy(update={"detection": forgetful})


def flagging_nothing(detector: Detector) -> Detector:
    """The detector with thresholds below every distance: a clean picture is the common case."""
    fit = ThresholdFit(max_false_alarm=None, safe_images=0, false_alarm=0.0)
    profile: ThresholdProfile | None = None
    for meter in reversed(detector.meters):
        profile = ThresholdProfile(-1.0, "none: for timing", fit, meter.binding, second=profile)
    return Detector(detector.meters, detector.config, profile)


def drawn_picture(width: int, height: int, seed: int = 0) -> CanonicalImage:
    """A picture of smooth patches of colour, different for each seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (_BLOCKS, _BLOCKS, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * _BLOCKS // height, np.arange(width) * _BLOCKS // width
    return CanonicalImage(small[rows][:, columns], f"drawn {width} × {height}")


@dataclass(frozen=True, eq=False)
class Subject:
    """A guard and a model.

    Attributes:
        config: of the preset.
        guard: scans every picture anew and flags none.
        runner: answers with exactly `tokens` tokens; None = the preset has no model, or it is not
            asked for.
        device: on which the model runs, or else the encoder.
        tokens: length of every answer.
    """

    config: GuardAlignConfig
    guard: ImageGuard
    runner: CalibratedRunner | None
    device: Device
    tokens: int

    @classmethod
    def load(
        cls, config: GuardAlignConfig, *, tokens: int, scan_only: bool, device: str | None = None
    ) -> Self:
        """Load what a preset names; it needs no threshold profile.

        Args:
            config: of the preset.
            tokens: length of every answer.
            scan_only: whether to leave the model out.
            device: of encoder and model; None = as the preset says.

        Raises:
            ConfigError, ModelLoadError: as for the guard and the runner.
        """
        config = forgetting(_on(config, device)).model_copy(update={"audit": None})
        bare = config.detection.model_copy(update={"profile": None})
        detector = load_detector(config.model_copy(update={"detection": bare}))
        guard = ImageGuard(config, flagging_nothing(detector))
        if config.runner is None or scan_only:
            used = device_of(encoder_device(config.detection.encoder))
            return cls(config, guard, None, used, tokens)
        loaded = load_model(config.runner)
        # Arms whose answers differ in length could not be compared.
        loaded.model.generation_config.min_new_tokens = tokens
        runner = CalibratedRunner(loaded, config.runner)
        return cls(config, guard, runner, device_of(loaded.device), tokens)

    @property
    def chain(self) -> GuardAlign:
        """The guard in front of the model.

        Raises:
            ValueError: there is no model.
        """
        if self.runner is None:
            raise ValueError("There is no model.")
        return GuardAlign(self.guard, self.runner)

    def crops(self, image: CanonicalImage) -> int:
        """About how many crops of the picture are encoded, by all encoders."""
        return sum(meter.crop_count(image) for meter in self.guard.detector.meters)

    @property
    def encoders(self) -> str:
        """The encoders and their precision, without paths of this machine."""
        second = self.config.detection.defence.second
        first = self.config.detection.encoder
        own = [first] if second is None else [first, second.encoder]
        return " and ".join(f"{_name(each.model)} in {each.precision}" for each in own)

    @property
    def model(self) -> str:
        """The model's name, without paths of this machine; "none" without one."""
        runner = self.config.runner
        return "none" if self.runner is None or runner is None else _name(runner.model)


def conversation(image: CanonicalImage) -> list[Message]:
    """A question about a picture."""
    return [Message("user", (ImagePart(image), TextPart(QUESTION)))]


def _on(config: GuardAlignConfig, device: str | None) -> GuardAlignConfig:
    if device is None:
        return config
    encoder = config.detection.encoder.model_copy(update={"device": device})
    detection = config.detection.model_copy(update={"encoder": encoder})
    second = detection.defence.second
    if second is not None:
        other = second.model_copy(
            update={"encoder": second.encoder.model_copy(update={"device": device})}
        )
        defence = detection.defence.model_copy(update={"second": other})
        detection = detection.model_copy(update={"defence": defence})
    runner: RunnerConfig | None = config.runner
    if runner is not None:
        runner = runner.model_copy(update={"device": device})
    return config.model_copy(update={"detection": detection, "runner": runner})


def _name(model: str) -> str:
    """A model's name; of a folder only its own."""
    path = PurePath(model.removeprefix(LOCAL_DIR))
    return path.name if path.is_absolute() or model.startswith(LOCAL_DIR) else model
