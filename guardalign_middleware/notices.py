"""The texts that replace an image, the same in the chain and in every adapter."""

from __future__ import annotations

from typing import Final

UNSAFE: Final = "[image removed: it was found unsafe]"
"""For an unsafe image of which nothing may be shown."""

UNREADABLE: Final = "[image removed: it could not be checked]"
"""For an image file beside a message that the intake policy does not accept."""
