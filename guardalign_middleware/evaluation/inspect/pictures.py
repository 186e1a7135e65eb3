"""Pictures of items that are asked in this process, by a name that stands in for them in logs.

Inspect writes the pictures of messages into its logs. So a message of ours has their names only,
in its metadata, and the model provider looks them up.
"""

from __future__ import annotations

from collections.abc import Sequence

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites import Item

KEY = "guardalign_pictures"
"""Of a message's metadata."""
_ITEMS: dict[str, Item] = {}


def note(suite: str, split: str, items: Sequence[Item]) -> None:
    """Make the pictures of a task's items known."""
    _ITEMS.update({_name(suite, split, item.id): item for item in items})


def name_of(suite: str, split: str, item: Item) -> str:
    """The name that stands for the pictures of an item."""
    return _name(suite, split, item.id)


def pictures_of(name: str) -> tuple[bytes, ...]:
    """The files of an item's pictures.

    Raises:
        ConfigError: the item belongs to no task of this process.
        OSError: a file is gone since the suite was loaded.
    """
    if name not in _ITEMS:
        raise ConfigError(
            f"The pictures of {name} are not known in this process.",
            remedy="Ask the item by a task of guardalign_middleware.",
        )
    return _ITEMS[name].read_images()


def _name(suite: str, split: str, item: str) -> str:
    return f"{suite}/{split}/{item}"
