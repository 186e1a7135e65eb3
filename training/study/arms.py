"""The arms of the study: combinations of views, prefix, calibration and guard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from guardalign_middleware import ImageGuard
from guardalign_middleware.config import CalibrationConfig, PrefixConfig, RunnerConfig
from guardalign_middleware.generation import CalibratedRunner, LoadedModel
from guardalign_middleware.mini.answers import Answer
from guardalign_middleware.mini.requests import Request
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart
from training.llava.scenes import SIDE
from training.llava.sweep import PREFIX_ALONE
from training.llava.views import MOST, cut
from training.study.prefixes import SAFE_PREFIX

_BATCH = 32
_BLOCKED = Answer("", blocked=True)

Guarding = Literal["none", "always", "when_flagged"]
"""No detector, or cleaned pictures with the prefix always, or only for flagged pictures."""


@dataclass(frozen=True, eq=False)
class Case:
    """A request, and the guard's result for its picture.

    Attributes:
        request: the request.
        image: its picture.
        cleaned: the cleaned picture; None if it was blocked.
        flagged: whether the guard flagged the picture.
    """

    request: Request
    image: CanonicalImage
    cleaned: CanonicalImage | None
    flagged: bool


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        prefix: before the question; None = no prefix.
        calibration: of the attention to the prefix.
        views: images per picture.
        guarding: whether pictures are cleaned, and when the prefix is used.
    """

    prefix: str | None = SAFE_PREFIX
    calibration: CalibrationConfig = PREFIX_ALONE
    views: int = MOST
    guarding: Guarding = "none"


def screened(requests: Sequence[Request], guard: ImageGuard) -> list[Case]:
    """Scan and clean the picture of each request.

    Raises:
        ValueError: a request has no picture.
    """
    images = [request.image for request in requests if request.image is not None]
    if len(images) != len(requests):
        raise ValueError("screened needs requests with a picture.")
    return [
        Case(request, image, found.image, found.verdict.flagged)
        for request, image, found in zip(requests, images, guard.sanitize_many(images), strict=True)
    ]


def views_of(image: CanonicalImage, count: int) -> tuple[ImagePart, ...]:
    """The images of a message: the picture at the model's size, then pieces of it."""
    small = image.to_pil().resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return tuple(ImagePart(CanonicalImage(part)) for part in cut(np.asarray(small), count))


@dataclass(frozen=True)
class RunnerSetup:
    """The settings of a runner: a prefix, if any, and the calibration of the attention to it."""

    prefix: str | None
    calibration: CalibrationConfig


class CachedModel:
    """A model with a persistent cache of its answers.

    Args:
        model: a model loaded by the product.
        cache: JSON lines with answers; new answers are appended.

    Attributes:
        weights: SHA-256 of each weight file.
    """

    def __init__(self, model: LoadedModel, cache: Path) -> None:
        self._model = model
        files = {} if model.provenance is None else model.provenance.files
        self.weights = dict(files)
        self._cache = cache
        self._runners: dict[RunnerSetup, CalibratedRunner] = {}
        self._answers: dict[str, str] = {}
        if cache.is_file():
            for line in cache.read_text(encoding="utf-8").splitlines():
                self._answers.update(json.loads(line))

    def answers(self, arm: Arm, cases: Sequence[Case]) -> list[Answer]:
        """The answer to each case."""
        found: list[str | None] = []
        new: dict[RunnerSetup, dict[str, tuple[Case, CanonicalImage]]] = {}
        for case in cases:
            image = case.image if arm.guarding == "none" else case.cleaned
            key = None
            if image is not None:
                setup = _setup(arm, case)
                key = self._key(setup, arm.views, image, case.request.text)
                if key not in self._answers:
                    new.setdefault(setup, {})[key] = (case, image)
            found.append(key)
        for setup, group in new.items():
            self._generate(setup, arm.views, group)
        return [_BLOCKED if key is None else Answer(self._answers[key]) for key in found]

    def prefix_attention(self, arm: Arm, cases: Sequence[Case]) -> list[list[float]]:
        """The instruction's share of attention to the prefix, by case and layer."""
        runner = self.runner(RunnerSetup(arm.prefix, arm.calibration))
        found = []
        for case in cases:
            message = _message(case.image, arm.views, case.request.text)
            reply = runner.generate([message], max_new_tokens=1, explain=True)
            found.append([share for _, share in reply.calibration.prefix_attention])
        return found

    def runner(self, setup: RunnerSetup) -> CalibratedRunner:
        """The runner with these settings."""
        if setup not in self._runners:
            config = RunnerConfig(
                model=self._model.name,
                max_new_tokens=24,
                batch_size=_BATCH,
                prefix=PrefixConfig(text=setup.prefix or SAFE_PREFIX),
                calibration=setup.calibration,
            )
            self._runners[setup] = CalibratedRunner(self._model, config)
        return self._runners[setup]

    def _generate(
        self, setup: RunnerSetup, views: int, group: dict[str, tuple[Case, CanonicalImage]]
    ) -> None:
        rows = [[_message(image, views, case.request.text)] for case, image in group.values()]
        replies = self.runner(setup).generate_batch(rows, prefix=setup.prefix is not None)
        new = dict(zip(group, (reply.text for reply in replies), strict=True))
        self._answers.update(new)
        with self._cache.open("a", encoding="utf-8") as file:
            file.write(json.dumps(new) + "\n")

    def _key(self, setup: RunnerSetup, views: int, image: CanonicalImage, text: str) -> str:
        """A digest of everything that an answer depends on, including the weights."""
        calibration = setup.calibration.model_dump()
        content = (self.weights, setup.prefix, calibration, views, image.sha256, text)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _message(image: CanonicalImage, views: int, text: str) -> Message:
    return Message("user", (*views_of(image, views), TextPart(text)))


def _setup(arm: Arm, case: Case) -> RunnerSetup:
    prefix = arm.prefix if arm.guarding != "when_flagged" or case.flagged else None
    return RunnerSetup(prefix, PREFIX_ALONE if prefix is None else arm.calibration)
