"""A double of a device: every scan takes the same time, and leaves the CPU free."""

from __future__ import annotations

import time

from torch import Tensor

from guardalign_middleware import ImageGuard
from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.testing import FakeEncoder, red_config, red_detector


class SlowEncoder(FakeEncoder):
    """Takes one picture after another.

    Args:
        seconds: of each.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def encode_images(self, pixels: Tensor) -> Tensor:
        """One scan."""
        time.sleep(self._seconds)
        return super().encode_images(pixels)


def slow_guard(seconds: float) -> ImageGuard:
    """A guard whose scans take so long, one after another.

    Args:
        seconds: of each.
    """
    detection = red_config().detection.model_copy(
        update={"patches": PatchConfig(sizes=(1.0,)), "remembered_verdicts": 0}
    )
    config = red_config(detection=detection)
    known = red_detector(config)
    known.meters[0].encoder = SlowEncoder(seconds)
    return ImageGuard(config, Detector(known.meters, detection, known.profile))
