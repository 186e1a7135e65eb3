"""The guard for single images: load, scan, clean, record."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from guardalign_middleware.async_forms import AsyncForms
from guardalign_middleware.audit_loading import load_audit
from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.detector import distinct_images
from guardalign_middleware.detection.view_seed import check_view_seed, derived_seed
from guardalign_middleware.detector_loading import load_detector
from guardalign_middleware.encode import Encoded
from guardalign_middleware.errors import GuardError
from guardalign_middleware.faults import is_lost_device, typed_faults
from guardalign_middleware.intake import load_frames, load_image
from guardalign_middleware.intake.load import ImageSource
from guardalign_middleware.observing import Conclusion
from guardalign_middleware.output import GuardOutput, identity_of
from guardalign_middleware.sanitize import Cleaning, SanitizedImage, sanitize
from guardalign_middleware.start_checks import require_profile
from guardalign_middleware.turn_words import TurnWords
from guardalign_middleware.turns import Turn, in_turns, of_frames
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.unscanned import fails_open, unscanned, worst
from guardalign_middleware.words_loading import load_words

if TYPE_CHECKING:
    from guardalign_middleware.words.policy import WordPolicy

_LOGGER = logging.getLogger(__name__)


class ImageGuard(AsyncForms):
    """Scans images and cleans them; threads may share one.

    Images are scanned in order of arrival, each with the scans that cleaning it takes: one at a
    time, or together with other callers' on a device that gains by it.
    Results are remembered by the pixels: an equal image is not scanned again, in any thread or
    call. See `DetectionConfig.remembered_verdicts`.

    In the mode `observe` every image passes as it is, and its verdict says what would have been
    done; see `guardalign_middleware.observing`. Detectors without thresholds then only measure.

    Where the config names an audit log, each image is recorded in it before its verdict is
    returned, once for every call it was passed to.

    Args:
        config: intake limits, handling of unsafe regions and of faults, and the audit log.
        detector: scans the images; must hold a threshold profile, unless the guard only observes.
        words: reads and judges words, made for `config.words`; None = what that names.

    Attributes:
        device_lost: whether the accelerator failed, so that images pass unscanned until a restart.

    Raises:
        ConfigError: words are to be read, and what reads or judges them is not installed, or was
            made for another config.
        ModelLoadError: what reads words cannot be loaded.
        AuditError: the audit log cannot be written, or its key cannot be read.
    """

    def __init__(
        self, config: GuardAlignConfig, detector: Detector, words: WordPolicy | None = None
    ) -> None:
        self.config = config
        self.detector = detector
        self.words = load_words(config, words)
        self._concluded = Conclusion(config, load_audit(config))
        # Without thresholds, only a guard that observes may ask.
        observes = config.mode == "observe" and detector.profile is None
        self._asked = {"undecided": True} if observes else {}
        self._output = GuardOutput(config, partial(identity_of, config, detector, self.words))
        self._cleanings: BoundedCache[Cleaning] = BoundedCache(
            config.detection.remembered_verdicts,
            config.detection.remembered_bytes,
            lambda cleaning: cleaning.nbytes,
            lambda cleaning: cleaning.verdict.fault is None,
        )
        parts = (config, detector, self._scan_one, self._count_failed_open)
        self._turn_words = None if self.words is None else TurnWords(self.words, *parts)
        self._failed_open = 0
        self.device_lost = False
        self._lock = threading.Lock()

    @classmethod
    def from_preset(cls, preset: str | Path) -> Self:
        """Load a shipped preset by name, or a YAML file by path.

        Raises:
            ConfigError: unknown or invalid preset, or one without a threshold profile.
            ModelLoadError: the encoder cannot be loaded safely and completely.
            AuditError: the audit log cannot be written, or its key cannot be read.
        """
        return cls.from_config(GuardAlignConfig.load(preset))

    @classmethod
    def from_config(cls, config: GuardAlignConfig) -> Self:
        """Load the encoder, the anchors and the threshold profile that the config names.

        Raises:
            ConfigError: there is no threshold profile, or it was fitted for other parts.
            ModelLoadError: an encoder or a processor cannot be loaded safely and completely.
            AuditError: the audit log cannot be written, or its key cannot be read.
        """
        require_profile(config)
        return cls(config, load_detector(config))

    @property
    def failed_open(self) -> int:
        """How many images this guard has allowed unscanned so far, by `on_fault="allow"`."""
        with self._lock:
            return self._failed_open

    def load(self, source: ImageSource) -> CanonicalImage:
        """Load an image under this guard's intake policy; paths are allowed here.

        An image that is too large to leave is scaled down, once, to what is then scanned; see
        `OutputConfig`.

        Raises:
            ImageRejected: the policy does not accept it, or it has several frames.
        """
        return self._output.fitted(load_image(source, self.config.intake))

    def load_frames(self, source: ImageSource) -> tuple[CanonicalImage, ...]:
        """Load every frame of a file where the policy says `scan_all`; otherwise like `load`.

        PDF files are loaded page by page where the policy says `pdf="pages"`.

        `scan_many` and `sanitize_many` return one result for each frame passed to them.

        Raises:
            ImageRejected: the policy does not accept it; either all frames are loaded or none.
        """
        return tuple(map(self._output.fitted, load_frames(source, self.config.intake)))

    def encode(self, image: CanonicalImage, passed: Verdict | None = None) -> Encoded:
        """Encode a picture that leaves the guard, in its source's format; see `OutputConfig`.

        Args:
            image: from `load`, or the `image` of a `SanitizedImage`.
            passed: the verdict by which it may leave, of a scan or of the `SanitizedImage`. Guards
                of this process with the same configuration then let the file through unscanned.

        Raises:
            GuardError: stage `output`; no file within `output.max_bytes` shows the picture.
        """
        return self._output.encode(image, passed)

    def scan(self, source: ImageSource, *, view_seed: str | None = None) -> Verdict:
        """Scan one image; nothing is changed.

        The decision is the detector's: `mask` may still become `block` in `sanitize`, which scans
        the masked picture again. The verdict on a file of several frames is that of its worst
        frame, whose number ends the verdict's source, as in "party.gif#2"; so it is with the pages
        of a PDF file, as in "report.pdf#page2".

        Args:
            source: the image.
            view_seed: `evidence.view_seed` of an earlier verdict, to repeat its random views.

        Raises:
            ImageRejected: the policy does not accept it.
            GuardError: the detector gave no trustworthy number.
            AuditError: the verdict cannot be recorded.
        """
        return self._scan_files([source], view_seed)[0]

    def scan_many(
        self, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[Verdict]:
        """Scan several images together, equal pictures once; raises as `scan` does.

        Args:
            sources: the images.
            turns: as for `sanitize_many`.
        """
        return self._scan_files(sources, None, turns)

    def _scan_files(
        self, sources: Sequence[ImageSource], view_seed: str | None, turns: Sequence[Turn] = ()
    ) -> list[Verdict]:
        files = [self.load_frames(source) for source in sources]
        frames = [frame for file in files for frame in file]
        scanned = self._scan(frames, view_seed)
        if self._turn_words is not None and turns:
            scanned = self._turn_words.scan(frames, scanned, of_frames(turns, files))
        return worst(files, self._concluded(list(map(self._as_configured, scanned))))

    def sanitize(self, source: ImageSource, *, view_seed: str | None = None) -> SanitizedImage:
        """Scan one image and mask its unsafe regions until it passes; otherwise block it.

        Args:
            source: the image.
            view_seed: as for `scan`; the seeds of the masked copies derive from it.

        Raises:
            ImageRejected: the policy does not accept it, or it has several frames; clean those
                with `sanitize_many(load_frames(…))`.
            GuardError: the detector gave no trustworthy number, or its regions cannot be masked.
            AuditError: the verdict cannot be recorded.
        """
        return self._sanitize_files([source], view_seed)[0]

    def sanitize_many(
        self, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[SanitizedImage]:
        """Scan several images together and clean each; raises as `sanitize` does.

        Args:
            sources: the images.
            turns: the turns that they belong to, in order. With `words.mode: guard`, the words
                of the images of a turn are then judged once more as one, with its text.
        """
        return self._sanitize_files(sources, None, turns)

    def _sanitize_files(
        self, sources: Sequence[ImageSource], view_seed: str | None, turns: Sequence[Turn] = ()
    ) -> list[SanitizedImage]:
        self._check(view_seed)
        if not sources:
            return []  # most turns of most conversations have no image
        images = [self.load(source) for source in sources]
        known = self._passed(images, view_seed)
        new = [image for image, verdict in zip(images, known, strict=True) if verdict is None]
        cleaned = self._cleaned(distinct_images(new), view_seed)
        items = [
            cleaned[image.sha256].about(image)
            if verdict is None
            else SanitizedImage(image, image, verdict, 0, 0.0, verdict.distance, passed=verdict)
            for image, verdict in zip(images, known, strict=True)
        ]
        if self._turn_words is not None and turns:
            items = in_turns(items, turns, self._turn_words.clean)
        return self._concluded([replace(item, encoder=self._output.encode) for item in items])

    def _count_failed_open(self, images: int, error: GuardError) -> None:
        with self._lock:
            self._failed_open += images
            self.device_lost = self.device_lost or is_lost_device(error)

    def _cleaned(
        self, images: list[CanonicalImage], view_seed: str | None
    ) -> dict[str, SanitizedImage]:
        """The result for each of several different images, by digest."""
        cleaned: dict[str, SanitizedImage] = {}

        def clean(new: list[CanonicalImage]) -> list[Cleaning]:
            made = [
                self._clean(image, self._as_configured(verdict))
                for image, verdict in zip(new, self._scan_all(new, view_seed), strict=True)
            ]
            cleaned.update({item.original.sha256: item for item in made})
            return [Cleaning.of(item) for item in made]

        for turn in self.detector.turns(images):
            keys = {f"{image.sha256}:{view_seed}": image for image in turn}
            crops = self.detector.crops_of(turn)
            found = self.detector.queue.get_many(keys, clean, self._cleanings, crops)
            for image, cleaning in zip(turn, found.values(), strict=True):
                if image.sha256 not in cleaned:
                    cleaned[image.sha256] = cleaning.repeat(image, self.config.sanitize)
        return cleaned

    def _passed(
        self, images: Sequence[CanonicalImage], view_seed: str | None
    ) -> list[Verdict | None]:
        """The verdicts on files that left a guard like this one; a seed asks for a new scan."""
        return self._output.passed(images) if view_seed is None else [None] * len(images)

    def _check(self, view_seed: str | None) -> None:
        """Refuse what is no fault of the detector, and so must not be let through as one."""
        self.detector.queue.check_process()
        if view_seed is not None:
            check_view_seed(view_seed)

    def _scan(self, images: Sequence[CanonicalImage], view_seed: str | None) -> list[Verdict]:
        self._check(view_seed)
        known = self._passed(images, view_seed)
        new = [image for image, verdict in zip(images, known, strict=True) if verdict is None]
        scanned = self._scan_all(distinct_images(new), view_seed)
        verdicts = {verdict.sha256: verdict for verdict in scanned}
        return [
            verdict or verdicts[image.sha256].about(image)
            for image, verdict in zip(images, known, strict=True)
        ]

    def _scan_all(self, images: list[CanonicalImage], view_seed: str | None) -> list[Verdict]:
        try:
            if view_seed is not None:
                return [self._scan_one(image, view_seed) for image in images]
            with typed_faults("detection"):
                verdicts = self.detector.scan_many(images, **self._asked)
            return [self._read(*pair) for pair in zip(images, verdicts, strict=True)]
        except GuardError as error:
            if not fails_open(self.config, error):
                raise
        # One by one: a fault in one picture must not let the others through unscanned.
        return [self._scan_or_allow(image, view_seed) for image in images]

    def _scan_or_allow(self, image: CanonicalImage, view_seed: str | None) -> Verdict:
        verdict = None
        try:
            verdict = self._detect(image, view_seed)
            return self._read(image, verdict)
        except GuardError as error:
            if verdict is not None and verdict.flagged:
                return verdict  # what was found is there, whatever the words say
            if not fails_open(self.config, error):
                raise
            self._count_failed_open(1, error)
            _LOGGER.warning("An image is allowed unscanned after a fault at %s.", error.stage)
            return unscanned(image, self.detector, error)

    def _scan_one(self, image: CanonicalImage, view_seed: str | None = None) -> Verdict:
        return self._read(image, self._detect(image, view_seed))

    def _detect(self, image: CanonicalImage, view_seed: str | None) -> Verdict:
        with typed_faults("detection"):
            return self.detector.scan(image, view_seed=view_seed, **self._asked)

    def _read(self, image: CanonicalImage, verdict: Verdict) -> Verdict:
        """The verdict, with the words of the image where they are read."""
        if self.words is None:
            return verdict
        return self.words.verdict(image, verdict, self.detector.queue)

    def _clean(self, image: CanonicalImage, verdict: Verdict) -> SanitizedImage:
        if verdict.fault is not None or not verdict.decided:
            return SanitizedImage(image, image, verdict, 0, 0.0, verdict.distance)
        seed = verdict.evidence.view_seed

        def rescan(masked: CanonicalImage) -> Verdict:
            return self._scan_one(masked, None if seed is None else derived_seed(seed, masked))

        with typed_faults("sanitize"):
            return sanitize(image, verdict, rescan, self.config.sanitize)

    def _as_configured(self, verdict: Verdict) -> Verdict:
        if verdict.decision == "mask" and self.config.sanitize.method == "block":
            return replace(verdict, decision="block")
        return verdict
