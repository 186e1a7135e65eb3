"""The detector: an image in, a verdict with its evidence out."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Self

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.config import DetectionConfig, TransportConfig
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.decision import measured_only, verdict_from
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.detection.encoder_protocol import ImageTextEncoder
from guardalign_middleware.detection.forms import ModelForms
from guardalign_middleware.detection.measured import PatchDistances
from guardalign_middleware.detection.meter import Meter
from guardalign_middleware.detection.profile import REFIT, ThresholdProfile
from guardalign_middleware.detection.scan_queue import ScanQueue
from guardalign_middleware.detection.view_seed import check_view_seed, seed_for
from guardalign_middleware.detection.views import is_random
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import CanonicalImage, Verdict

Parts = tuple[ImageTextEncoder, AnchorBank]
"""An encoder, and what it looks for."""


class Detector:
    """One meter for each encoder, and the thresholds; threads may share it.

    The random views of a picture follow from the picture and a secret that each detector draws from
    the operating system: unpredictable from outside, and equal pictures get equal verdicts.

    Callers scan in order of arrival, one at a time, or on a device that gains by it together; see
    `ScanQueue`. Verdicts are cached by the picture, at most `config.remembered_verdicts` of them
    and `config.remembered_bytes`.

    Args:
        meters: one for each encoder.
        config: number of encoders, views, patches and how many verdicts to remember; its paths are
            not read.
        profile: the thresholds; without them only `distances` and scans with `undecided` work.

    Attributes:
        meters: as given.
        profile: as given.
        queue: whose turn it is to scan.

    Raises:
        ConfigError: the profile was fitted for other parts, or the meters are not those of the
            config.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        config: DetectionConfig,
        profile: ThresholdProfile | None = None,
    ) -> None:
        if len(meters) != (1 if config.defence.second is None else 2):
            raise ConfigError("A second encoder should be both configured and given, or neither.")
        if any(meter.views != config.defence.views for meter in meters):
            raise ConfigError("Every encoder should look at the configured views.")
        self.meters = tuple(meters)
        self.config = config
        self.profile = profile
        if profile is not None:
            _check_profile(profile, self.meters)
        self._secret = secrets.token_bytes(32)
        shared = min(getattr(meter.encoder, "shared_crops", 1) for meter in self.meters)
        self.queue = ScanQueue(shared, config.max_queue)
        self._verdicts: BoundedCache[Verdict] = BoundedCache(
            config.remembered_verdicts, config.remembered_bytes, lambda verdict: verdict.nbytes
        )

    @classmethod
    def from_config(cls, config: DetectionConfig, model_forms: ModelForms | None = None) -> Self:
        """Load encoders, anchors and, where configured, the threshold profile.

        Args:
            config: what to load.
            model_forms: what the runner's processor makes of a picture; required where
                `config.sees` names the model.

        Raises:
            ModelLoadError: an encoder cannot be loaded.
            ConfigError: anchors or profile are wrong or do not belong together.
        """
        anchors = AnchorBank.load(config.anchors)
        profile = None if config.profile is None else ThresholdProfile.load(config.profile)
        other = config.defence.second
        second = None
        if other is not None:
            words = anchors if other.anchors is None else AnchorBank.load(other.anchors)
            second = OpenClipEncoder.load(other.encoder), words
        encoder = OpenClipEncoder.load(config.encoder)
        return cls.from_parts(
            encoder, anchors, config, profile, second=second, model_forms=model_forms
        )

    @classmethod
    def from_parts(
        cls,
        encoder: ImageTextEncoder,
        anchors: AnchorBank,
        config: DetectionConfig,
        profile: ThresholdProfile | None = None,
        *,
        second: Parts | None = None,
        model_forms: ModelForms | None = None,
    ) -> Self:
        """Build the meters from loaded parts; patches, transport, views and forms are the config's.

        Args:
            encoder: embeds crops and words.
            anchors: what it looks for.
            config: as for the class.
            profile: as for the class.
            second: the second encoder and its anchors, where the config has one.
            model_forms: as for `from_config`.

        Raises:
            ConfigError: as for the class, or the contrast needs a neutral bank and there is none,
                or the config names a model's forms and there are none.
        """

        def meter(parts: Parts, transport: TransportConfig | None) -> Meter:
            return Meter(
                *parts,
                config.patches,
                transport or config.transport,
                config.defence.views,
                sees=config.sees,
                model_forms=model_forms,
                anchor_cache=config.anchor_cache,
            )

        meters = [meter((encoder, anchors), None)]
        if second is not None:
            other = config.defence.second
            meters.append(meter(second, None if other is None else other.transport))
        return cls(meters, config, profile)

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder, as in `Evidence.encoder`; of several, joined by "+"."""
        return "+".join(dict.fromkeys(meter.encoder.fingerprint for meter in self.meters))

    @property
    def binding(self) -> str:
        """Fingerprint of all that distances depend on, as in `Evidence.binding`."""
        return "+".join(dict.fromkeys(meter.fingerprint for meter in self.meters))

    def scan(
        self, image: CanonicalImage, *, view_seed: str | None = None, undecided: bool = False
    ) -> Verdict:
        """Scan one image; see `scan_many`.

        Args:
            image: the image.
            view_seed: from the evidence of an earlier verdict, to repeat its random views.
            undecided: as for `scan_many`.
        """
        if view_seed is None and not undecided:
            return self.scan_many([image])[0]
        if view_seed is not None:
            check_view_seed(view_seed)
        return self._scan([image], view_seed, undecided)[0]

    def scan_many(
        self, images: Sequence[CanonicalImage], *, undecided: bool = False
    ) -> list[Verdict]:
        """Scan images turn by turn; see `turns`. Other callers get theirs in between.

        A patch is unsafe when its distance is at most the threshold of its category (paper
        eq. 10), and an image when any patch of any view is, to any encoder. The category's action
        says what follows: the image is masked, blocked or only reported. Verdicts for an explicit
        seed are cached under that seed.

        Args:
            images: the images.
            undecided: whether a detector without a threshold profile measures them all the same;
                its verdicts then have the decision `observe`.

        Raises:
            ConfigError: there is no threshold profile, and `undecided` is not set.
            DetectionError: encoder or transport gave no trustworthy number.
        """
        return self._scan(images, None, undecided)

    def distances(
        self, image: CanonicalImage, *, view_seed: str | None = None
    ) -> tuple[PatchDistances, ...]:
        """Measure one image by each encoder, without a decision; needs no threshold profile.

        Args:
            image: the image.
            view_seed: 32 hexadecimal digits from which the random views follow.

        Raises:
            DetectionError: encoder or transport gave no trustworthy number.
        """
        if view_seed is not None:
            check_view_seed(view_seed)
        (seed,) = self._view_seeds([image], view_seed)
        return self.queue.run(lambda: tuple(meter.distances(image, seed) for meter in self.meters))

    def turns(self, images: Sequence[CanonicalImage]) -> list[list[CanonicalImage]]:
        """Divide the images of one call into those that are scanned in one turn.

        An image has a turn of its own, so that a caller with many images does not keep others
        waiting. Only images of very few crops share one, and their encoder batch, because an
        encoder needs some crops at once to be fast. The division follows from the images alone.

        Raises:
            ConfigError: an image needs more patches than the config allows.
        """
        if len(images) < 2:
            return [list(images)] if images else []
        most = min(getattr(meter.encoder, "crops_together", 1) for meter in self.meters)
        turns: list[list[CanonicalImage]] = []
        taken = math.inf
        for image in images:
            crops = self.meters[0].crop_count(image)
            if taken + crops > most:
                turns.append([])
                taken = 0
            turns[-1].append(image)
            taken += crops
        return turns

    def crops_of(self, images: Sequence[CanonicalImage]) -> int | None:
        """About how many crops a turn of these images encodes at a time, for the queue.

        None where no turn is shared, and so nothing has to be counted.

        Raises:
            ConfigError: an image needs more patches than the config allows.
        """
        if not self.queue.shares:
            return None
        return sum(self.meters[0].crop_count(image) for image in images)

    def _scan(
        self, images: Sequence[CanonicalImage], view_seed: str | None, undecided: bool
    ) -> list[Verdict]:
        if self.profile is None and not undecided:
            raise ConfigError(
                "The detector has no threshold profile.",
                remedy="Set detection.profile, or fit a threshold with `guardalign calibrate`.",
            )
        verdicts: dict[str, Verdict] = {}

        def scan(new: list[CanonicalImage]) -> list[Verdict]:
            return self._measured(new, view_seed)

        for turn in self.turns(distinct_images(images)):
            keys = {f"{image.sha256}:{view_seed}": image for image in turn}
            found = self.queue.get_many(keys, scan, self._verdicts, self.crops_of(turn))
            verdicts |= {verdict.sha256: verdict for verdict in found.values()}
        return [verdicts[image.sha256].about(image) for image in images]

    def _measured(self, images: list[CanonicalImage], view_seed: str | None) -> list[Verdict]:
        seeds = self._view_seeds(images, view_seed)
        banks = [meter.anchors for meter in self.meters]
        by_meter = [meter.distances_many(images, seeds) for meter in self.meters]
        verdicts = []
        for image, *measured in zip(images, *by_meter, strict=True):
            if self.profile is None:
                verdict = measured_only(image, measured)
            else:
                verdict = verdict_from(image, measured, self.profile, banks)
            # Shared by all who send this picture.
            for array in verdict.evidence.arrays:
                array.flags.writeable = False
            verdicts.append(verdict)
        return verdicts

    def _view_seeds(
        self, images: Sequence[CanonicalImage], view_seed: str | None
    ) -> list[str | None]:
        if not is_random(self.config.defence.views):
            return [None] * len(images)
        return [view_seed or seed_for(self._secret, image) for image in images]


def distinct_images(images: Sequence[CanonicalImage]) -> list[CanonicalImage]:
    """The first of all equal images, in order."""
    first = {image.sha256: image for image in reversed(images)}
    return [first[digest] for digest in dict.fromkeys(image.sha256 for image in images)]


def _check_profile(profile: ThresholdProfile, meters: Sequence[Meter]) -> None:
    """Reject thresholds that were fitted for something else.

    Raises:
        ConfigError: the parts, the categories or the number of encoders differ.
    """
    if len(profile.members) != len(meters):
        raise ConfigError(
            f"The threshold profile was fitted for {len(profile.members)} encoder(s), but "
            f"the detector has {len(meters)}.",
            remedy=REFIT,
        )
    for own, meter in zip(profile.members, meters, strict=True):
        own.check_binding(meter.binding)
        if own.by_category and set(own.by_category) != set(meter.anchors.categories):
            raise ConfigError(
                "The categories of the threshold profile differ from those of the anchors.",
                remedy=REFIT,
            )
