"""How the models of the study are asked: views, prefix, calibration, guard and policy."""

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
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart
from training.answers import Answer
from training.llava.scenes import SIDE
from training.llava.sweep import PREFIX_ALONE
from training.llava.views import MOST, cut
from training.requests import Request
from training.study.prefixes import SAFE_PREFIX

_BATCH = 32
_BLOCKED = Answer("", blocked=True)

Guarding = Literal["none", "always", "when_flagged"]
"""No detector, or cleaned pictures with the prefix always or where something was found."""


@dataclass(frozen=True, eq=False)
class Case:
    """A request with what the guard made of its picture.

    Attributes:
        request: as it was drawn.
        image: its picture.
        cleaned: the picture after the guard; None where it was blocked.
        flagged: whether the guard found something.
    """

    request: Request
    image: CanonicalImage
    cleaned: CanonicalImage | None
    flagged: bool


@dataclass(frozen=True)
class Arm:
    """One way to ask.

    Attributes:
        prefix: before the question; None for none.
        calibration: of the attention to the prefix.
        views: images made of each picture.
        guarding: whether pictures are cleaned, and when the prefix is used.
    """

    prefix: str | None = SAFE_PREFIX
    calibration: CalibrationConfig = PREFIX_ALONE
    views: int = MOST
    guarding: Guarding = "none"


def screened(requests: Sequence[Request], guard: ImageGuard) -> list[Case]:
    """Requests with pictures, each scanned and cleaned once.

    Raises:
        ValueError: a request has no picture.
    """
    images = [request.image for request in requests if request.image is not None]
    if len(images) != len(requests):
        raise ValueError("screened takes requests that have a picture.")
    return [
        Case(request, image, found.image, found.verdict.flagged)
        for request, image, found in zip(requests, images, guard.sanitize_many(images), strict=True)
    ]


def views_of(image: CanonicalImage, count: int) -> tuple[ImagePart, ...]:
    """The picture at the model's size, then pieces of it: what the message shows."""
    small = image.to_pil().resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return tuple(ImagePart(CanonicalImage(part)) for part in cut(np.asarray(small), count))


@dataclass(frozen=True)
class How:
    """What a runner is made for: a prefix, if any, and the calibration of the attention to it."""

    prefix: str | None
    calibration: CalibrationConfig


class Asked:
    """One model, and every answer that it has given; nothing is asked twice.

    Args:
        model: as it is loaded by the product.
        memo: JSON lines of answers already given, which is added to.

    Attributes:
        weights: SHA-256 of each weight file.
    """

    def __init__(self, model: LoadedModel, memo: Path) -> None:
        self._model = model
        files = {} if model.provenance is None else model.provenance.files
        self.weights = dict(files)
        self._memo = memo
        self._runners: dict[How, CalibratedRunner] = {}
        self._answers: dict[str, str] = {}
        if memo.is_file():
            for line in memo.read_text(encoding="utf-8").splitlines():
                self._answers.update(json.loads(line))

    def answers(self, arm: Arm, cases: Sequence[Case]) -> list[Answer]:
        """One answer a case."""
        found: list[str | None] = []
        new: dict[How, dict[str, tuple[Case, CanonicalImage]]] = {}
        for case in cases:
            image = case.image if arm.guarding == "none" else case.cleaned
            key = None
            if image is not None:
                how = _how(arm, case)
                key = self._key(how, arm.views, image, case.request.text)
                if key not in self._answers:
                    new.setdefault(how, {})[key] = (case, image)
            found.append(key)
        for how, group in new.items():
            self._ask(how, arm.views, group)
        return [_BLOCKED if key is None else Answer(self._answers[key]) for key in found]

    def prefix_attention(self, arm: Arm, cases: Sequence[Case]) -> list[list[float]]:
        """For each case and layer, the share of its attention that the instruction pays."""
        runner = self.runner(How(arm.prefix, arm.calibration))
        found = []
        for case in cases:
            message = _message(case.image, arm.views, case.request.text)
            told = runner.generate([message], max_new_tokens=1, explain=True)
            found.append([share for _, share in told.calibration.prefix_attention])
        return found

    def runner(self, how: How) -> CalibratedRunner:
        """The runner of one prefix and calibration."""
        if how not in self._runners:
            config = RunnerConfig(
                model=self._model.name,
                max_new_tokens=24,
                batch_size=_BATCH,
                prefix=PrefixConfig(text=how.prefix or SAFE_PREFIX),
                calibration=how.calibration,
            )
            self._runners[how] = CalibratedRunner(self._model, config)
        return self._runners[how]

    def _ask(self, how: How, views: int, group: dict[str, tuple[Case, CanonicalImage]]) -> None:
        rows = [[_message(image, views, case.request.text)] for case, image in group.values()]
        replies = self.runner(how).generate_batch(rows, prefix=how.prefix is not None)
        new = dict(zip(group, (reply.text for reply in replies), strict=True))
        self._answers.update(new)
        with self._memo.open("a", encoding="utf-8") as file:
            file.write(json.dumps(new) + "\n")

    def _key(self, how: How, views: int, image: CanonicalImage, text: str) -> str:
        """A digest of everything an answer depends on, the weights included."""
        facts = (self.weights, how.prefix, how.calibration.model_dump(), views, image.sha256, text)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _message(image: CanonicalImage, views: int, text: str) -> Message:
    return Message("user", (*views_of(image, views), TextPart(text)))


def _how(arm: Arm, case: Case) -> How:
    told = arm.prefix if arm.guarding != "when_flagged" or case.flagged else None
    return How(told, PREFIX_ALONE if told is None else arm.calibration)
