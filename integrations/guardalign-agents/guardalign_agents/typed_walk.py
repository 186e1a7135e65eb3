"""The walk over the messages of a framework that has classes for its pictures.

Each object that could hold a picture is read as the block of a known kind, so that the core judges
it as it judges all blocks, and what comes back is put into the framework's own class.
"""

from __future__ import annotations

import base64
import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from guardalign_middleware.conversation.tools import Kinds
from guardalign_middleware.conversation.walk import ConversationWalk, Fields
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.walk_modes import Mode

Object = TypeVar("Object")


class TypedWalk(ConversationWalk):
    """One pass over `{"messages": […]}`; a subclass knows the classes.

    Attributes:
        files: the classes of pictures and files, wherever they stand.
    """

    turns_key = "messages"
    body_fields: ClassVar[Fields] = {"instructions": "words"}
    stored_fields = frozenset()
    message_fields: ClassVar[Fields] = {}
    tools: ClassVar[Kinds] = {}
    files: ClassVar[tuple[type, ...]]

    @abstractmethod
    def _block(self, item: Any) -> dict[str, Any]:
        """A picture, sound or file as a block, with the type that it states."""

    @abstractmethod
    def _shown(self, item: Any, block: Mapping[str, Any]) -> Any:
        """The object for a block that came back: one with a picture, or a text."""

    @abstractmethod
    def _turn_item(self, turn: Any, place: str) -> Any:
        """A message; the same object if nothing in it changes."""

    def _dispatch(self, value: Any, place: str, mode: Mode) -> Any:
        if not isinstance(value, self.files):
            return super()._dispatch(value, place, mode)
        block = self._block(value)
        new = self.value(block, place, "strict")
        if new is block:
            return value
        if isinstance(new, list):  # The pages of a file.
            return type(new)(self._shown(value, each) for each in new)
        return self._shown(value, new)

    def _contents(self, items: Sequence[Any], place: str, mode: Mode) -> Sequence[Any]:
        """What a model reads, one after the other."""
        new: Sequence[Any] = self.value(list(items), place, mode)
        same = len(new) == len(items) and all(a is b for a, b in zip(new, items, strict=True))
        return items if same else list(new)

    def _with(self, item: Object, place: str, modes: Mapping[str, Mode]) -> Object:
        """A dataclass with its fields read; the same object if none changes."""
        changed = {}
        for name, mode in modes.items():
            value = getattr(item, name)
            new = self.value(value, f"{place}.{name}", mode)
            if new is not value:
                changed[name] = new
        return dataclasses.replace(item, **changed) if changed else item  # type: ignore[type-var]


def block_of(data: str, mime_type: str) -> dict[str, Any]:
    """A file as a block of the kind that its type states.

    Args:
        data: base64.
        mime_type: as the framework states it.
    """
    family = mime_type.partition("/")[0]
    kind = family if family in {"image", "video", "audio"} else "file"
    return {"type": kind, "base64": data, "mime_type": mime_type}


def file_of(block: Mapping[str, Any]) -> tuple[bytes, str] | None:
    """The picture of a block that came back, and its type; None if a text took its place.

    Raises:
        ValueError: it is neither.
    """
    if block_type(block) == "text":
        return None
    if block_type(block) == "image_url":
        head, _, data = block["image_url"]["url"].partition(";base64,")
        return base64.b64decode(data), head.removeprefix("data:")
    return base64.b64decode(block["base64"]), block["mime_type"]
