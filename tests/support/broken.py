"""Guards and runners with a fault, for tests of fault handling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guardalign_middleware.config import GuardAlignConfig, TransportConfig
from guardalign_middleware.detection import (
    AnchorBank,
    Detector,
    ThresholdFit,
    ThresholdProfile,
)
from guardalign_middleware.generation import TokenStream
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import EchoRunner, FakeEncoder, png, red_config, red_detector
from guardalign_middleware.types import CanonicalImage, Message

CANARY = "canary-of-the-request"


class BrokenEncoder(FakeEncoder):
    """Passes image embeddings through `encode` after some healthy calls; texts are unaffected."""

    def __init__(self, encode: Callable[[Tensor], Tensor], *, healthy_calls: int = 0) -> None:
        super().__init__()
        self._encode = encode
        self._healthy = healthy_calls

    def encode_images(self, pixels: Tensor) -> Tensor:
        if self._healthy > 0:
            self._healthy -= 1
            return super().encode_images(pixels)
        return self._encode(super().encode_images(pixels))


def raising(error: BaseException) -> Callable[[Tensor], Tensor]:
    def encode(rows: Tensor) -> Tensor:
        raise error

    return encode


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "NaN": lambda rows: rows * float("nan"),
    "infinity": lambda rows: rows / 0.0,
    "too few rows": lambda rows: rows[:-1],
    "no matrix": lambda rows: rows[..., None],
    "out of memory on a GPU": raising(torch.OutOfMemoryError("CUDA out of memory.")),
    "out of memory on a CPU": raising(RuntimeError("DefaultCPUAllocator: can't allocate memory")),
    "out of memory in Python": raising(MemoryError()),
    "a time limit of the encoder": raising(TimeoutError(CANARY)),
    "an error of a library": raising(ValueError(CANARY)),
    "a lost file": raising(OSError(CANARY)),
}


def guard_with(
    encode: Callable[[Tensor], Tensor], *, healthy_calls: int = 0, **changes: Any
) -> ImageGuard:
    """A guard that finds red until its encoder breaks."""
    config = red_config(**changes)
    detector = red_detector(config)
    detector.meters[0].encoder = BrokenEncoder(encode, healthy_calls=healthy_calls)
    return ImageGuard(config, detector)


def guard_that_does_not_converge(solver: str, **changes: Any) -> ImageGuard:
    """One iteration is not enough for concepts of two variants."""
    plain: GuardAlignConfig = red_config(**changes)
    transport = TransportConfig.model_validate(
        {"solver": solver, "epsilon": 0.02, "max_iterations": 1, "tolerance": 1e-12}
    )
    config = plain.model_copy(
        update={"detection": plain.detection.model_copy(update={"transport": transport})}
    )
    anchors = AnchorBank(
        categories={"weapon": ("red", "red white")}, neutral={"sky": ("blue", "blue white")}
    )
    bare = Detector.from_parts(FakeEncoder(), anchors, config.detection)
    fit = ThresholdFit(max_false_alarm=0.05, safe_images=100, false_alarm=0.0)
    profile = ThresholdProfile(0.2, "none: made for tests", fit, bare.meters[0].binding)
    return ImageGuard(config, Detector(bare.meters, config.detection, profile))


class BrokenRunner(EchoRunner):
    """Raises instead of answering, or after a few words."""

    def __init__(self, error: Exception, *, words: int = 0) -> None:
        super().__init__()
        self._error = error
        self._words = words

    def generate_batch(self, rows: Sequence[Sequence[Message]], **options: Any) -> list[Generated]:
        raise self._error

    def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
        def produce(emit: Any, cancel: object) -> Generated:
            for _ in range(self._words):
                emit("word ")
            raise self._error

        return TokenStream(produce)


def ask(*images: CanonicalImage, text: str = CANARY) -> list[dict[str, Any]]:
    parts: list[Any] = [{"type": "image", "image": png(image)} for image in images]
    return [{"role": "user", "content": [*parts, text]}]


async def collect(chain: GuardAlign, messages: list[dict[str, Any]]) -> list[Any]:
    return [chunk async for chunk in chain.astream(messages)]


def ways_to_ask(
    chain: GuardAlign, messages: list[dict[str, Any]]
) -> dict[str, Callable[[], object]]:
    """Every way to get an answer, each run to its end."""
    return {
        "invoke": lambda: chain.invoke(messages),
        "batch": lambda: chain.batch([messages]),
        "stream": lambda: list(chain.stream(messages)),
        "finish": lambda: chain.stream(messages).finish(),
        "ainvoke": lambda: asyncio.run(chain.ainvoke(messages)),
        "abatch": lambda: asyncio.run(chain.abatch([messages])),
        "astream": lambda: asyncio.run(collect(chain, messages)),
    }


def save_profile(path: Path, text: str) -> GuardAlignConfig:
    """A config whose threshold profile is a file with the given text."""
    path.write_text(text, encoding="utf-8")
    config = red_config()
    detection = config.detection.model_copy(update={"profile": path})
    return config.model_copy(update={"detection": detection})
