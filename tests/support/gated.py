"""A guard whose scans wait for the test, so that the order of events is known without clocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor

from guardalign_middleware.detection import Detector
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import FakeEncoder, picture, red_config, red_detector
from guardalign_middleware.types import CanonicalImage

LONG = 300.0
"""Seconds after which a test hangs."""


class GatedEncoder(FakeEncoder):
    """Counts the scans and holds each until the test lets it pass.

    Attributes:
        scanned: the number of the picture of each scan so far, in order; see `numbered`.
        fail: numbers of pictures whose next scan fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scanned: list[int] = []
        self.fail: list[int] = []
        self._changed = threading.Condition()
        self._passes = 0
        self._inside = 0

    def encode_images(self, pixels: Tensor) -> Tensor:
        number = round(float(pixels[0, 2].amin()) * 255)
        with self._changed:
            self._inside += 1
            assert self._inside == 1, "two scans at once"
            self.scanned.append(number)
            self._changed.notify_all()
            passed = self._changed.wait_for(lambda: self._passes >= len(self.scanned), LONG)
            self._inside -= 1
        assert passed
        if number in self.fail:
            self.fail.remove(number)
            raise ValueError("no number")
        return super().encode_images(pixels)

    def let_pass(self, scans: int = 1) -> None:
        """Let some more scans pass, those that have begun included."""
        with self._changed:
            self._passes += scans
            self._changed.notify_all()

    def wait_for_scans(self, scans: int) -> None:
        """Return when so many scans have begun, counted from the start."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.scanned) >= scans, LONG)


class DeviceEncoder(GatedEncoder):
    """A device for which a pass of up to `shared_crops` crops takes one unit of time.

    Attributes:
        passes: for each pass, the numbers of the pictures in it, in order.
    """

    crops_together = shared_crops = 4096

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[list[int]] = []

    def encode_images(self, pixels: Tensor) -> Tensor:
        assert len(pixels) <= self.shared_crops
        # Zero is a crop of what is red.
        numbers = (pixels[:, 2].amin(dim=(1, 2)) * 255).round().int().tolist()
        self.passes.append([number for number in dict.fromkeys(numbers) if number])
        return super().encode_images(pixels)


def gated_guard(
    encoder: GatedEncoder | None = None, **changes: Any
) -> tuple[ImageGuard, GatedEncoder]:
    """A guard that flags red, and its encoder."""
    config = red_config(**changes)
    encoder, known = encoder or GatedEncoder(), red_detector(config)
    known.meters[0].encoder = encoder
    return ImageGuard(config, Detector(known.meters, config.detection, known.profile)), encoder


def device_guard(**changes: Any) -> tuple[ImageGuard, DeviceEncoder]:
    """A guard that flags red, on a device that gains by batches."""
    encoder = DeviceEncoder()
    return gated_guard(encoder, **changes)[0], encoder


def numbered(number: int, *, red: bool = False) -> CanonicalImage:
    """A picture by which `GatedEncoder.scanned` can be read; with `red`, a part of it is unsafe."""
    return picture(red=red, colour=(0, 0, number))


def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; for what offers no event."""
    pause = threading.Event()
    for _ in range(int(LONG * 1000)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it never came to hold")
