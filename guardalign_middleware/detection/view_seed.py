"""View seeds: unpredictable without the detector's secret, repeatable once known.

A seed is an HMAC of the picture under the detector's secret. An equal picture always gets the same
views, a picture changed in one bit gets different ones, and the seeds of some pictures reveal
nothing about those of others.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from guardalign_middleware.types import CanonicalImage

_SEED = re.compile(r"[0-9a-f]{32}")


def seed_for(secret: bytes, image: CanonicalImage) -> str:
    """The view seed of a picture: 32 hexadecimal digits."""
    return hmac.new(secret, image.sha256.encode(), hashlib.sha256).hexdigest()[:32]


def derived_seed(view_seed: str, image: CanonicalImage) -> str:
    """The view seed of a picture made from another one, derived from that one's seed.

    A replay that knows the first seed thus repeats the scans of all masked copies too.
    """
    return seed_for(view_seed.encode(), image)


def check_view_seed(view_seed: str) -> None:
    """Reject anything but a view seed.

    Raises:
        ValueError: it is not 32 hexadecimal digits.
    """
    if not _SEED.fullmatch(view_seed):
        raise ValueError(f"view_seed should be 32 hexadecimal digits. Received {view_seed!r}.")


def seeded_number(view_seed: str, purpose: str, largest: int) -> int:
    """An integer from 0 to `largest`, the same for the same seed and purpose."""
    digest = hashlib.sha256(f"{view_seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8]) % (largest + 1)
