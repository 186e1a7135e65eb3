"""The first use of every model, before the first client pays for it."""

from __future__ import annotations

import numpy as np

from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.types import CanonicalImage, Message, TextPart

_SIDE = 64


def warm_up(served: GuardAlign | ImageGuard) -> None:
    """Scan a grey square and generate one token; nothing is recorded.

    Raises:
        GuardAlignError: what would have failed at the first request.
    """
    guard = served.guard if isinstance(served, GuardAlign) else served
    square = CanonicalImage(np.full((_SIDE, _SIDE, 3), 128, np.uint8), "<warm-up>")
    if isinstance(guard, ImageGuard):  # a server has no other
        guard.detector.distances(square)
    if isinstance(served, GuardAlign):
        served.runner.generate([Message("user", (TextPart("Hello."),))], max_new_tokens=1)
