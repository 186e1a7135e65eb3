"""Patches against concepts: from a canonical image to a verdict with its evidence."""

from guardalign_middleware.local_extra import require_local

require_local()  # before the imports of torch

from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.conformal import (
    fit_by_category,
    fit_by_form,
    fit_pair,
    fit_threshold,
)
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.detection.encoder_protocol import ImageTextEncoder
from guardalign_middleware.detection.fit import fit_profile
from guardalign_middleware.detection.measured import PatchDistances
from guardalign_middleware.detection.meter import Meter
from guardalign_middleware.detection.profile import FormThreshold, ThresholdFit, ThresholdProfile

__all__ = [
    "AnchorBank",
    "Detector",
    "FormThreshold",
    "ImageTextEncoder",
    "Meter",
    "OpenClipEncoder",
    "PatchDistances",
    "ThresholdFit",
    "ThresholdProfile",
    "fit_by_category",
    "fit_by_form",
    "fit_pair",
    "fit_profile",
    "fit_threshold",
]
