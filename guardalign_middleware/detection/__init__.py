"""Patches against concepts: from a canonical image to a verdict with its evidence."""

from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.category_threshold import calibrate_by_category
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.detection.encoder import ImageTextEncoder, OpenClipEncoder
from guardalign_middleware.detection.meter import PatchDistances
from guardalign_middleware.detection.pair_threshold import calibrate_pair
from guardalign_middleware.detection.profile import (
    Calibration,
    ThresholdProfile,
    calibrate_threshold,
)

__all__ = [
    "AnchorBank",
    "Calibration",
    "Detector",
    "ImageTextEncoder",
    "OpenClipEncoder",
    "PatchDistances",
    "ThresholdProfile",
    "calibrate_by_category",
    "calibrate_pair",
    "calibrate_threshold",
]
