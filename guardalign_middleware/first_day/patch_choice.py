"""How many crops to look at: enough for the pictures that are there, and no more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.detection.encoder_source import open_encoder
from guardalign_middleware.detection.forms import configured_forms
from guardalign_middleware.detection.plan import Look
from guardalign_middleware.errors import ConfigError

MOST = 1024
"""More crops than that take a CPU minutes."""
_SHARE = 0.95
_PLENTY = 10**6


@dataclass(frozen=True)
class PatchChoice:
    """The crops for a set of pictures.

    Attributes:
        max_crops: for `patches.max_crops`.
        reason: in words.
    """

    max_crops: int
    reason: str


def choose_crops(
    config: DetectionConfig, sizes: Sequence[tuple[int, int]], most: int | None
) -> PatchChoice:
    """Choose `patches.max_crops` for pictures of these sizes.

    Args:
        config: of the preset to begin with.
        sizes: width and height of pictures.
        most: as the user says; None = what 95% of the pictures need, at most `MOST`.

    Raises:
        ConfigError: so few are not enough for one of the pictures.
        ModelLoadError: the encoder is not there.
    """
    if "model" in config.sees:
        crops = most or config.patches.max_crops
        return PatchChoice(crops, "as the preset has it: its model's frames have fixed sizes")
    if not sizes:
        crops = most or config.patches.max_crops
        return PatchChoice(crops, "as the preset has it: there are no pictures to choose by")
    side = _input_side(config)
    look = Look(
        configured_forms(config.sees),
        None,
        config.patches.model_copy(update={"max_crops": _PLENTY}),
        side if config.patches.layout == "crops" else 2 * side,
    )
    counts = sorted(look.crop_count(*size) for size in sizes)
    wanted = counts[math.ceil(_SHARE * len(counts)) - 1]
    crops = most or min(wanted, MOST)
    tight = Look(
        look.forms, None, look.patches.model_copy(update={"max_crops": crops}), look.input_side
    )
    for width, height in sizes:
        try:
            tight.crop_count(width, height)
        except ConfigError as error:
            raise ConfigError(
                f"{crops} crops are too few for a picture of {width}×{height}: {error.message}",
                remedy="Raise --max-crops, or leave it out.",
            ) from error
    whole = sum(count <= crops for count in counts) / len(counts)
    reason = (
        f"{whole:.0%} of {len(sizes)} pictures are looked at in their full detail; "
        f"the largest would need {counts[-1]} crops"
    )
    return PatchChoice(crops, reason)


def _input_side(config: DetectionConfig) -> int:
    size = open_encoder(config.encoder).settings["vision_cfg"].get("image_size", 224)
    return int(size[0] if isinstance(size, list | tuple) else size)
