"""What the walk over a value hands over, and what it takes back."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from guardalign_middleware.errors import GuardError, ImageRejected, MessageError
from guardalign_middleware.intake.dialects import Part
from guardalign_middleware.intake.media_types import MediaKind

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class FoundImage:
    """An image that was found.

    Attributes:
        part: the image as a part of the core; of a refused file, `{"type": "file", "payload": …}`
            with its bytes, base64 or data URL, if the block holds them; otherwise empty.
        place: its position, as in `messages[0].content[1]`.
        declared: whether a block or a type declares it an image; otherwise its bytes look like one.
        words: whether it stands in a text, where no model sees it: it stays unless it is unsafe.
        complete: whether its file reaches its end.
        shown: whether a block that a model sees holds it: if it cannot be read, it is taken out.
        refused: why it cannot be read; then a note takes the place of the whole block.
        media: what a refused block is (`pdf`, `video` or `file`), if a setting may let it pass;
            None for what holds a picture, or could be one.
        block: what is refused, if it is a mapping.
        turn: the index of the message in which it stands; None outside messages.
    """

    part: Part
    place: str
    declared: bool
    words: bool = False
    complete: bool = True
    shown: bool = False
    refused: ImageRejected | MessageError | None = None
    media: MediaKind | None = None
    block: Mapping[Any, Any] | None = None
    turn: int | None = None


@dataclass(frozen=True)
class Replacement:
    """What replaces one image; with neither `file`, `blocks` nor `note`, the image stays.

    Attributes:
        file: a picture as an encoded file.
        blocks: content blocks in the place of a refused block.
        note: a text, used if there is nothing else.
        record: plain JSON values for the metadata of the message; no pixels.
        records: the same for each of several blocks.
    """

    file: bytes | None = None
    note: str | None = None
    blocks: Sequence[Mapping[str, Any]] | None = None
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = ()


def listing(found: list[FoundImage]) -> Callable[[FoundImage], Replacement]:
    """A `visit` that only writes down what it is shown."""

    def visit(image: FoundImage) -> Replacement:
        found.append(image)
        return Replacement()

    return visit


@contextmanager
def in_order(items: Sequence[Item]) -> Iterator[Callable[[], Item]]:
    """Put one item in the place of each image, in reading order, while a value is walked again.

    The second walk has to find what the first one found: otherwise a cleaned picture would stand in
    a wrong place, and another one would stay as it was.

    Yields:
        What gives the next item.

    Raises:
        GuardError: stage `intake`; there are more or fewer images than items.
    """
    rest = deque(items)

    def following() -> Item:
        if not rest:
            raise _other_count("more", len(items))
        return rest.popleft()

    yield following
    if rest:
        raise _other_count("fewer", len(items))


def _other_count(than: str, count: int) -> GuardError:
    return GuardError(
        f"There are {than} images than the {count} replacements.",
        stage="intake",
        remedy="Nothing is forwarded. Report this, with the types of the blocks in the value.",
    )
