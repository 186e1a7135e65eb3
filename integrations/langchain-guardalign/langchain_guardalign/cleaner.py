"""The core's cleaner for LangChain values.

The runnable, the agent middleware and the document transformer share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guardalign_middleware.cleaning.cleaner import ImageCleaner
from guardalign_middleware.cleaning.groups import ToldWith
from guardalign_middleware.intake.found_images import FoundImage, Replacement
from guardalign_middleware.intake.request import Sizes
from langchain_guardalign.message_walk import put_images, walk_images
from langchain_guardalign.turns import told_with


class MessageCleaner(ImageCleaner):
    """Cleans messages, lists of messages, and plain containers with images in them."""

    def _find(self, value: Any, place: str, sizes: Sizes) -> tuple[list[FoundImage], Any]:
        return walk_images(value, place, sizes)

    def _told_with(self, value: Any, place: str) -> ToldWith:
        return told_with(value, place)

    def _put(self, value: Any, replacements: Sequence[Replacement], place: str) -> Any:
        return put_images(value, replacements, place)
