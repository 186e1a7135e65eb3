"""Find every image in a LangChain value, and return a copy with replacements in their place.

Nothing is loaded, decoded or scanned here. `find_images` and `put_images` walk in the same order,
so the n-th replacement belongs to the n-th image found. Values without images are returned as the
same object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.found_images import FoundImage, Replacement, in_order, listing
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.request import Sizes, check_message_count
from guardalign_middleware.intake.walk_modes import Mode
from langchain_guardalign.value_walk import MessageWalk

Value = TypeVar("Value")


def find_images(value: object, place: str = "messages") -> list[FoundImage]:
    """Find every image in a message, a list of messages, or plain containers.

    What cannot be read is found too, with `refused`: an image without bytes, such as a file id; a
    content block that could hold an image; a block with two images; an image in a key; nesting
    deeper than 64 levels. Images inside it come before it.

    Args:
        value: messages are searched in content, artifact, additional_kwargs and all other fields.
        place: the name of the value in errors.
    """
    return walk_images(value, place)[0]


def walk_images(
    value: Value, place: str = "messages", sizes: Sizes | None = None
) -> tuple[list[FoundImage], Value]:
    """What `find_images` finds, and the value without records that the guard has not written.

    Args:
        value: as for `find_images`.
        place: the name of the value in errors.
        sizes: counts the texts.

    Raises:
        MessageError: more text or more messages than `sizes` has a cap for.
    """
    found: list[FoundImage] = []
    walk = MessageWalk(listing(found), None if sizes is None else sizes.heard)
    rest: Value = walk.value(value, place, _mode(value))
    if sizes is not None:
        check_message_count(walk.turns, sizes.policy)
    return found, rest


def put_images(value: Value, replacements: Sequence[Replacement], place: str = "messages") -> Value:
    """Copy the value with one replacement for each image that `find_images` finds.

    The records of a message's images are in its `response_metadata["guardalign"]["verdicts"]`.

    Raises:
        GuardError: stage `intake`; more or fewer replacements than images.
    """
    with in_order(replacements) as following:
        copy: Value = MessageWalk(lambda _: following()).value(value, place, _mode(value))
    return copy


def note_images(value: Value, note: str) -> Value:
    """Copy plain values with a text in place of every image; URLs and file ids stay.

    Raises:
        MessageError: a block with two images, an image in a key, or nesting deeper than 64 levels.
    """

    def visit(image: FoundImage) -> Replacement:
        if image.refused is not None:
            raise image.refused
        return Replacement(note=note)

    copy: Value = MessageWalk(visit).value(value, "value", "quoted")
    return copy


def _mode(value: object) -> Mode:
    """A content block by itself is read as if it stood in a message."""
    block = isinstance(value, Mapping) and kind_of(block_type(value)) is not None
    return "strict" if block else "loose"
