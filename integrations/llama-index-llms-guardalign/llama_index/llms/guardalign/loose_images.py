"""The pictures in `additional_kwargs["images"]`, where older programs put them.

LlamaIndex makes a block of each when a message is constructed with them, so a picture that a block
shows, at any depth, is not shown again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from llama_index.core.base.llms.types import BaseRecursiveContentBlock, ChatMessage

from llama_index.llms.guardalign.images import Found, in_anything, in_block

KEY = "images"
_EMPTY = (str, bytes, list, tuple, dict)


@dataclass(frozen=True)
class LooseImages:
    """What stands under the key in one message.

    Attributes:
        items: whatever was put there; one value counts as a list of one.
        shown: base64 of the pictures in the message's blocks.
        place: for errors.
    """

    items: tuple[Any, ...]
    shown: frozenset[str]
    place: str

    @classmethod
    def of(cls, message: ChatMessage, place: str) -> Self:
        """Those of a message whose position is `place`."""
        spot = f'{place}.additional_kwargs["{KEY}"]'
        given = message.additional_kwargs.get(KEY)
        if given is None or (isinstance(given, _EMPTY) and not given):
            return cls((), frozenset(), spot)
        items = tuple(given) if isinstance(given, list | tuple) else (given,)
        own = [in_block(block, spot) for block in _leaves(message.blocks)]
        shown = frozenset(found.data for found in own if found and found.data is not None)
        return cls(items, shown, spot)

    def found(self, item: Any) -> Found | None:
        """The picture of an item; None if a block shows it already.

        Raises:
            MessageError: the item carries no picture.
        """
        found = in_anything(item, self.place)
        return None if found.data is not None and found.data in self.shown else found

    def all_found(self) -> list[Found]:
        """The pictures that no block shows; errors are those of `found`."""
        return [found for item in self.items if (found := self.found(item)) is not None]


def _leaves(blocks: Iterable[Any]) -> Iterator[object]:
    for block in blocks:
        if isinstance(block, BaseRecursiveContentBlock):
            yield from _leaves(block.nested_blocks)
        else:
            yield block
