"""Random numbers that nobody can foresee, and anybody who was told the draw can repeat.

A draw is made from a secret of the detector and the picture. So an equal picture is looked at
equally, as often as it comes; a picture changed in one bit is not; and to know the draws of some
pictures helps with no other.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from guardalign_middleware.types import CanonicalImage

_DRAW = re.compile(r"[0-9a-f]{32}")


def draw_for(secret: bytes, image: CanonicalImage) -> str:
    """The draw of a picture: 32 hexadecimal digits."""
    return hmac.new(secret, image.sha256.encode(), hashlib.sha256).hexdigest()[:32]


def following(draw: str, image: CanonicalImage) -> str:
    """The draw of a picture that was made of another one, from the other one's draw.

    A replay that knows the first draw so repeats the scans of all masked copies too.
    """
    return draw_for(draw.encode(), image)


def check_draw(draw: str) -> None:
    """Refuse what is no draw.

    Raises:
        ValueError: it is not 32 hexadecimal digits.
    """
    if not _DRAW.fullmatch(draw):
        raise ValueError(f"draw should be 32 hexadecimal digits. Received {draw!r}.")


def drawn_number(draw: str, purpose: str, largest: int) -> int:
    """A whole number from 0 to `largest`, the same for the same draw and purpose."""
    digest = hashlib.sha256(f"{draw}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8]) % (largest + 1)
