"""The texts that stand in an image's place, the same in the chain and in every adapter."""

from __future__ import annotations

from typing import Final

UNSAFE: Final = "[image removed: it was found unsafe]"
"""For an image that was found unsafe and of which nothing may be shown."""

UNREADABLE: Final = "[image removed: it could not be checked]"
"""For bytes inside a text that look like an image and cannot be decoded."""
