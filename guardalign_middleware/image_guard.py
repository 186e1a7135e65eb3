"""The guard for single images: take in, scan, clean, record."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from PIL import Image

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.view_seed import check_draw, following
from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.intake import load_frames, load_image
from guardalign_middleware.processes import OneProcess
from guardalign_middleware.sanitize import SanitizedImage, sanitize
from guardalign_middleware.types import CanonicalImage, Decision, Evidence, Verdict

if TYPE_CHECKING:
    from guardalign_middleware.audit import AuditLog

ImageSource = bytes | str | os.PathLike[str] | Image.Image | CanonicalImage
CALIBRATION_REMEDY = (
    "Calibrate one on images of your own with `guardalign calibrate`, and name its file as "
    "detection.profile."
)
_SEVERITY: tuple[Decision, ...] = ("allow", "mask", "block")
_LOGGER = logging.getLogger(__name__)
Result = TypeVar("Result", Verdict, SanitizedImage)


class ImageGuard:
    """Scans images and cleans them.

    Threads may share one. Where the config names an audit log, each image is recorded in it before
    its verdict is given, once for every call in which it was handed in.

    Args:
        config: intake caps, what happens to unsafe regions and on faults, and the audit log.
        detector: what scans; must hold a threshold profile.

    Raises:
        AuditError: the key of the audit log cannot be read.
    """

    def __init__(self, config: GuardAlignConfig, detector: Detector) -> None:
        self.config = config
        self.detector = detector
        self._audit = _audit_log(config)
        self._process = OneProcess()
        self._failed_open = 0
        self._lock = threading.Lock()

    @classmethod
    def from_preset(cls, preset: str | Path) -> Self:
        """Load a shipped preset by name, or a YAML file by path.

        Raises:
            ConfigError: unknown or invalid preset, or one without a threshold profile.
            ModelLoadError: the encoder cannot be loaded safely and completely.
            AuditError: the key of the audit log cannot be read.
        """
        return cls.from_config(GuardAlignConfig.load(preset))

    @classmethod
    def from_config(cls, config: GuardAlignConfig) -> Self:
        """Load the encoder, the anchors and the threshold profile that the config names.

        Raises:
            ConfigError: there is no threshold profile, or it was calibrated for something else.
            ModelLoadError: the encoder cannot be loaded safely and completely.
            AuditError: the key of the audit log cannot be read.
        """
        require_profile(config)
        return cls(config, Detector.from_config(config.detection))

    @property
    def failed_open(self) -> int:
        """How many images this guard has allowed unscanned so far, by `on_fault="allow"`."""
        with self._lock:
            return self._failed_open

    def load(self, source: ImageSource) -> CanonicalImage:
        """Take an image in by this guard's policy; a path is fine, because the program names it.

        Raises:
            ImageRejected: no image that the policy accepts, or one of several frames.
        """
        return load_image(source, self.config.intake)

    def load_frames(self, source: ImageSource) -> tuple[CanonicalImage, ...]:
        """Take in every frame of a file, where the policy says `scan_all`; else as `load` does.

        `scan_many` and `sanitize_many` then give one result a frame.

        Raises:
            ImageRejected: no image that the policy accepts; all frames are taken in, or none.
        """
        return load_frames(source, self.config.intake)

    def scan(self, source: ImageSource, *, draw: str | None = None) -> Verdict:
        """Measure one image against the unsafe concepts; nothing is changed.

        The decision is that of the detector: `mask` may still become `block` in `sanitize`, where
        the masked picture is scored again. A file of several frames is judged by its worst frame,
        whose number ends the verdict's source, as in "party.gif#2".

        Args:
            source: the image.
            draw: of an earlier verdict (`evidence.draw`), to look where its random views looked.

        Raises:
            ImageRejected: no image that the policy accepts.
            GuardError: the detector gave no trustworthy number.
            AuditError: the verdict cannot be recorded.
        """
        return self._scan_files([source], draw)[0]

    def scan_many(self, sources: Sequence[ImageSource]) -> list[Verdict]:
        """Scan several images together, equal pictures only once; errors are those of `scan`."""
        return self._scan_files(sources, None)

    def _scan_files(self, sources: Sequence[ImageSource], draw: str | None) -> list[Verdict]:
        files = [self.load_frames(source) for source in sources]
        frames = [frame for file in files for frame in file]
        verdicts = iter(self._recorded(self._scan(frames, draw)))
        return [max(islice(verdicts, len(file)), key=_severity) for file in files]

    def sanitize(self, source: ImageSource, *, draw: str | None = None) -> SanitizedImage:
        """Scan one image and hide what is unsafe in it, until the rest passes; else block it.

        Args:
            source: the image.
            draw: as of `scan`; what the scans of masked copies draw follows from it.

        Raises:
            ImageRejected: no image that the policy accepts; also one of several frames, which
                `sanitize_many(load_frames(…))` cleans.
            GuardError: the detector gave no trustworthy number.
            AuditError: the verdict cannot be recorded.
        """
        return self._sanitize_files([source], draw)[0]

    def sanitize_many(self, sources: Sequence[ImageSource]) -> list[SanitizedImage]:
        """Scan several images together and clean each; errors are those of `sanitize`."""
        return self._sanitize_files(sources, None)

    def _sanitize_files(
        self, sources: Sequence[ImageSource], draw: str | None
    ) -> list[SanitizedImage]:
        images = [self.load(source) for source in sources]
        cleaned: dict[str, SanitizedImage] = {}
        for image, verdict in zip(images, self._scan(images, draw), strict=True):
            if image.sha256 not in cleaned:
                cleaned[image.sha256] = self._clean(image, verdict)
        return self._recorded([_named(cleaned[image.sha256], image) for image in images])

    def _scan(self, images: Sequence[CanonicalImage], draw: str | None) -> list[Verdict]:
        self._process.check()
        if draw is not None:
            check_draw(draw)  # here, because a wrong argument is no fault of the detector
        distinct = {image.sha256: image for image in images}
        verdicts = dict(zip(distinct, self._judge(list(distinct.values()), draw), strict=True))
        return [
            self._as_configured(replace(verdicts[image.sha256], source=image.source))
            for image in images
        ]

    def _judge(self, images: list[CanonicalImage], draw: str | None) -> list[Verdict]:
        try:
            if draw is not None:
                return [self._rescan(image, draw) for image in images]
            with typed_faults("detection"):
                return self.detector.scan_many(images)
        except GuardError:
            if self.config.on_fault == "raise":
                raise
        # One by one: a fault in one picture is no reason to let the others through unscanned.
        return [self._judge_or_allow(image, draw) for image in images]

    def _judge_or_allow(self, image: CanonicalImage, draw: str | None) -> Verdict:
        try:
            return self._rescan(image, draw)
        except GuardError as error:
            with self._lock:
                self._failed_open += 1
            _LOGGER.warning("An image is allowed unscanned after a fault at %s.", error.stage)
            return _unscanned(image, self.detector, f"{error.stage}: {error.message}")

    def _rescan(self, image: CanonicalImage, draw: str | None) -> Verdict:
        with typed_faults("detection"):
            return self.detector.scan(image, draw=draw)

    def _clean(self, image: CanonicalImage, verdict: Verdict) -> SanitizedImage:
        if verdict.fault is not None:
            return SanitizedImage(image, image, verdict, 0, 0.0, verdict.distance)
        draw = verdict.evidence.draw

        def rescan(masked: CanonicalImage) -> Verdict:
            return self._rescan(masked, None if draw is None else following(draw, masked))

        return sanitize(image, verdict, rescan, self.config.sanitize)

    def _as_configured(self, verdict: Verdict) -> Verdict:
        if verdict.decision == "mask" and self.config.sanitize.method == "block":
            return replace(verdict, decision="block")
        return verdict

    def _recorded(self, results: list[Result]) -> list[Result]:
        if self._audit is not None:
            for result in results:
                self._audit.append(result)
        return results


def require_profile(config: GuardAlignConfig) -> None:
    """Refuse a config of which nobody knows what distance is unsafe.

    Raises:
        ConfigError: it names no threshold profile.
    """
    if config.detection.profile is None:
        raise ConfigError(
            f"The preset {config.name!r} has no threshold profile, so nobody knows which distance "
            "is unsafe.",
            remedy=CALIBRATION_REMEDY,
        )


def _audit_log(config: GuardAlignConfig) -> AuditLog | None:
    if config.audit is None:
        return None
    # Imported on use: the log needs POSIX locks, and the guard alone does not.
    from guardalign_middleware.audit import AuditLog

    return AuditLog.from_config(config.audit)


def _severity(verdict: Verdict) -> tuple[int, bool, float]:
    """Larger = worse; of two that are allowed, the one that nobody has seen is worse."""
    unseen = verdict.fault is not None
    below = 0.0 if unseen else verdict.threshold - verdict.distance
    return _SEVERITY.index(verdict.decision), unseen, below


def _unscanned(image: CanonicalImage, detector: Detector, fault: str) -> Verdict:
    profile = detector.profile
    assert profile is not None  # without one the detector raises no fault but a ConfigError
    nothing = Evidence(
        patch_boxes=np.empty((0, 4), dtype=np.int64),
        patch_distances=np.empty(0),
        patch_categories=(),
        marginal_error=float("nan"),
        iterations=0,
        solver="",
        encoder=detector.encoders,
    )
    return Verdict(
        decision="allow",
        distance=float("nan"),
        threshold=profile.threshold,
        category="",
        regions=(),
        profile=profile.fingerprint,
        width=image.width,
        height=image.height,
        source=image.source,
        sha256=image.sha256,
        evidence=nothing,
        fault=fault,
    )


def _named(cleaned: SanitizedImage, image: CanonicalImage) -> SanitizedImage:
    """The result for an equal picture that came from elsewhere."""
    if cleaned.original is image:
        return cleaned
    return replace(cleaned, original=image, verdict=replace(cleaned.verdict, source=image.source))
