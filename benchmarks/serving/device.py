"""Sixteen requests at once on a double of a device that gains by batches."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
from torch import Tensor

from benchmarks.serving.loopback import listening
from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.bench.timing import comparison
from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.serving import create_app
from guardalign_middleware.testing import (
    EchoRunner,
    FakeEncoder,
    data_url,
    picture,
    red_config,
    red_detector,
)

CALLERS = 16
PASS_SECONDS = 0.1


class DeviceEncoder(FakeEncoder):
    """A pass takes the same time for up to 256 crops, and leaves the CPU free."""

    crops_together = shared_crops = 256

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def encode_images(self, pixels: Tensor) -> Tensor:
        """One pass."""
        self.passes += 1
        time.sleep(PASS_SECONDS)
        return super().encode_images(pixels)


def together(rounds: int) -> dict[str, Any]:
    """Elapsed time of requests one after the other ÷ at once, and the passes of both."""
    encoder = DeviceEncoder()
    detection = red_config().detection.model_copy(
        update={"patches": PatchConfig(sizes=(1.0,)), "remembered_verdicts": 0}
    )
    config = red_config(detection=detection)
    known = red_detector(config)
    known.meters[0].encoder = encoder
    guard = ImageGuard(config, Detector(known.meters, detection, known.profile))
    bodies = [_body(number) for number in range(CALLERS)]
    times, passes = np.empty((rounds, 2)), np.empty((rounds, 2), int)
    with (
        listening(create_app(GuardAlign(guard, EchoRunner()))) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
        ThreadPoolExecutor(CALLERS) as callers,
    ):

        def ask(body: dict[str, Any]) -> None:
            client.post("/v1/chat/completions", json=body, timeout=60).raise_for_status()

        list(callers.map(ask, bodies))
        for index in range(rounds):
            for way in (0, 1) if index % 2 else (1, 0):
                before, start = encoder.passes, time.perf_counter()
                list((callers.map if way else map)(ask, bodies))
                times[index, way] = time.perf_counter() - start
                passes[index, way] = encoder.passes - before
    found = comparison("serial ÷ at once", times[:, 1], times[:, 0])
    serial, at_once = np.median(passes, axis=0).astype(int).tolist()
    return {**vars(found), "serial_passes": serial, "passes": at_once}


def _body(number: int) -> dict[str, Any]:
    url = data_url(picture(colour=(0, 0, 100 + number)))
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return {"model": "red", "messages": [{"role": "user", "content": content}]}
