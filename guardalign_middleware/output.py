"""How pictures leave one guard, and which files the guards of this process have let out.

A file that was encoded from scanned pixels is known by its digest, and by the identity of the guard
that scanned them. A guard with the same identity, in whatever adapter, neither scans it nor encodes
it again; for any other guard it is a picture like every other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.config import GuardAlignConfig, IntakePolicy, OutputConfig
from guardalign_middleware.encode import (
    Encoded,
    certainly_fits,
    encode,
    fitting_scale,
    mime_type_of,
    scaled,
)
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.load import ImageSource
from guardalign_middleware.types import CanonicalImage, Verdict

if TYPE_CHECKING:
    from guardalign_middleware.detection import Detector
    from guardalign_middleware.words.policy import WordPolicy

_MOST = 8192
_MOST_BYTES = 64 * 2**20
_ENTRY_BYTES = 512
NO_INFLUENCE = {"name", "notes", "verified", "audit", "runner", "serve", "blocked_reply"}
"""Fields of a config without influence on what a guard finds or lets out, such as its name."""


class Passed:
    """Verdicts by the digest of the file that they let out; threads may share it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing: at the start, and in a forked process, whose copy of a lock may be held."""
        self._verdicts: BoundedCache[Verdict] = BoundedCache(
            _MOST, _MOST_BYTES, lambda verdict: verdict.nbytes
        )

    def remember(self, identity: str, file: bytes, verdict: Verdict) -> None:
        """Note the verdict by which a guard lets a file out."""
        self._verdicts.put(f"{identity}:{hashlib.sha256(file).hexdigest()}", verdict)

    def verdict_on(self, identity: str, file_sha256: str | None) -> Verdict | None:
        """The verdict by which a guard of this identity let a file out; None if none did."""
        return None if file_sha256 is None else self._verdicts.get(f"{identity}:{file_sha256}")


PASSED = Passed()
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PASSED.forget)


def identity_of(
    config: GuardAlignConfig, detector: Detector, words: WordPolicy | None = None
) -> str:
    """A digest of everything that decides what a guard lets out, and how."""
    profile = detector.profile
    record = [
        config.model_dump(mode="json", exclude=NO_INFLUENCE),
        None if profile is None else profile.fingerprint,
        [[dict(meter.binding), dict(meter.anchors.actions)] for meter in detector.meters],
        None if words is None else words.fingerprint,
    ]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def load_as_scanned(
    source: ImageSource, intake: IntakePolicy, output: OutputConfig
) -> CanonicalImage:
    """Read a picture as a guard scans it: scaled down if it is too large to leave.

    `ImageGuard.load` without a guard. Regions of verdicts lie in this picture.

    Raises:
        ImageRejected: it cannot be read.
        GuardError: stage `output`; a fault of the encoder.
    """
    limits = _limits(intake, output)
    return _fitted(
        load_image(source, intake),
        limits,
        lambda image: fitting_scale(image, limits, intake.formats),
    )


def _fitted(
    image: CanonicalImage, limits: OutputConfig, scale_of: Callable[[CanonicalImage], float]
) -> CanonicalImage:
    if certainly_fits(image, limits):
        return image
    with typed_faults("output"):
        return scaled(image, scale_of(image))


def _limits(intake: IntakePolicy, output: OutputConfig) -> OutputConfig:
    """A guard's own cap must never refuse what it has let out."""
    return output.model_copy(update={"max_bytes": min(output.max_bytes, intake.max_bytes)})


class GuardOutput:
    """How pictures leave one guard; threads may share it.

    Args:
        config: of the guard.
        identity: gives the digest of everything that decides what the guard lets out; asked for
            the first file.
    """

    def __init__(self, config: GuardAlignConfig, identity: Callable[[], str]) -> None:
        self._config = config
        self._asked_identity = identity
        self._limits = _limits(config.intake, config.output)
        self._formats = config.intake.formats
        kept = config.detection.remembered_verdicts
        self._encoded: BoundedCache[Encoded] = BoundedCache(
            kept, _MOST_BYTES, lambda item: len(item.data) + _ENTRY_BYTES
        )
        self._scales: BoundedCache[float] = BoundedCache(kept)

    @cached_property
    def _identity(self) -> str:
        return self._asked_identity()

    def fitted(self, image: CanonicalImage) -> CanonicalImage:
        """The image, scaled down if it is too large to leave.

        This comes before the scan, so that what is scanned is what leaves.

        Raises:
            GuardError: stage `output`; a fault of the encoder.
        """
        return _fitted(image, self._limits, self._scale)

    def _scale(self, image: CanonicalImage) -> float:
        key = f"{image.sha256}:{image.encoding}"
        return self._scales.get_many(
            {key: image},
            lambda images: [fitting_scale(each, self._limits, self._formats) for each in images],
        )[key]

    def passed(self, images: Sequence[CanonicalImage]) -> list[Verdict | None]:
        """The verdicts by which these very files left a guard like this one; None for others."""
        return [self._as_decided(self._passed(image)) for image in images]

    def _as_decided(self, verdict: Verdict | None) -> Verdict | None:
        """Turn an observed verdict back into its decision, because the turn is judged as a whole.

        None if something was found: then the picture is scanned anew.
        """
        judged = self._config.words.mode == "guard"
        if verdict is None or verdict.decision != "observe" or not judged:
            return verdict
        allowed = verdict.would_be == "allow"
        return replace(verdict, decision="allow", would_be=None) if allowed else None

    def encode(self, image: CanonicalImage, passed: Verdict | None) -> Encoded:
        """Encode a picture; for arguments and errors, see `ImageGuard.encode`."""
        if image.file is not None and image.encoding is not None and self._passed(image):
            kind = mime_type_of(image.encoding.image_format)
            return Encoded(image.file, kind, image.width, image.height)
        key = f"{image.sha256}:{image.encoding}:{image.scaled_from}"
        if self._limits.original:
            key = f"{key}:{image.file_sha256}"
        with typed_faults("output"):
            encoded = self._encoded.get_many(
                {key: image},
                lambda images: [encode(each, self._limits, self._formats) for each in images],
            )[key]
        if passed is not None and self._lets_out(passed, image):
            PASSED.remember(self._identity, encoded.data, passed)
        return encoded

    def _passed(self, image: CanonicalImage) -> Verdict | None:
        if image.file is None or self._config.detection.remembered_verdicts == 0:
            return None
        verdict = PASSED.verdict_on(self._identity, image.file_sha256)
        return None if verdict is None else verdict.about(image)

    def _lets_out(self, verdict: Verdict, image: CanonicalImage) -> bool:
        """Whether a verdict is one by which this guard lets this picture out."""
        by = "observe" if self._config.mode == "observe" else "allow"
        about_it = verdict.sha256 == image.sha256
        return about_it and verdict.decision == by and verdict.fault is None
