"""Pictures that are values by themselves: in texts, bytes, arrays, and Pillow's own.

Each is handed over to `visit`, and what it returns is put in its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from guardalign_middleware.intake.arrays import ArrayPictures, like
from guardalign_middleware.intake.dialects import Part, data_url, open_file
from guardalign_middleware.intake.extent import picture_format, picture_size
from guardalign_middleware.intake.found_images import FoundImage, Replacement
from guardalign_middleware.intake.hidden_images import (
    HiddenImage,
    hidden_images,
    may_hide_image,
    replace_hidden,
)
from guardalign_middleware.intake.text_bytes import read_text, write_text
from guardalign_middleware.intake.walk_modes import Mode


class ImageValues:
    """Reads and replaces such values.

    Args:
        visit: returns the replacement for each image.
        heard: is called with each text.

    Attributes:
        turns: number of messages so far.
    """

    def __init__(
        self, visit: Callable[[FoundImage], Replacement], heard: Callable[[str], None] | None = None
    ) -> None:
        self._visit = visit
        self._heard = heard
        self.turns = 0
        self._records: list[Mapping[str, Any]] = []
        self._visits = self._notes = 0
        self._note = ""
        self._turn: int | None = None

    def _text(self, text: str, place: str, mode: Mode) -> str:
        """Clean the complete pictures in a text; all other characters stay."""
        if self._heard is not None:
            self._heard(text)
        if mode == "block" and text[:11].lower() == "data:image/":
            if not any(image.whole for image in hidden_images(text)):
                return self._address(text, place)
        if not may_hide_image(text):
            return text

        def put(image: HiddenImage) -> bytes | str | None:
            # Under a key of its own, in a block or an artifact, a picture is more than words.
            words = mode in {"strict", "words"} or not image.whole
            part: Part = {"type": "image", "image": image.data}
            shown = mode == "block" and not words
            new = self._replace(FoundImage(part, place, False, words, image.complete, shown))
            return new.note if new.file is None else new.file

        return replace_hidden(text, put)

    def _address(self, url: str, place: str) -> str:
        """A data URL as a field of a block, whatever is in it."""
        part: Part = {"type": "image_url", "image_url": {"url": url}}
        new = self._replace(FoundImage(part, place, False, shown=True))
        return (new.note or url) if new.file is None else data_url(new.file)

    def _bytes(self, data: bytes | bytearray, place: str, mode: Mode) -> bytes | bytearray:
        if picture_format(data) is not None:
            picture = bytes(data)
            complete = picture_size(picture) is not None
            part: Part = {"type": "image", "image": picture}
            words, shown = mode == "words", mode == "block"
            new = self._replace(FoundImage(part, place, False, words, complete, shown))
            if new.file is not None:
                return data if data == new.file else _same_bytes(data, new.file)
            return data if new.note is None else _same_bytes(data, new.note.encode())
        written = read_text(data)
        if written is None:
            return data
        text, encoding = written
        walked = self._text(text, place, mode)
        return data if walked is text else _same_bytes(data, write_text(walked, encoding))

    def _arrayed(self, value: Any, found: ArrayPictures, place: str, shown: bool) -> Any:
        """An array of one picture or more."""
        part = FoundImage({}, place, found.sure, complete=found.sure, shown=shown)
        put: list[Image.Image | None] = []
        note = ""
        for picture in found.pictures():
            piece: Part = {"type": "image", "image": picture}
            new = self._replace(dataclasses.replace(part, part=piece))
            if new.file is not None:
                put.append(open_file(new.file))
            else:
                put.append(picture if new.note is None else None)
                note = new.note or note
        if put.count(None) == len(put):
            return note
        changed = found.put(put)
        return value if changed is found.array else like(value, changed)

    def _picture(self, picture: Image.Image, place: str) -> Any:
        new = self._replace(FoundImage({"type": "image", "image": picture}, place, True))
        if new.file is not None:
            return open_file(new.file)
        return picture if new.note is None else new.note

    def _replace(self, found: FoundImage) -> Replacement:
        self._visits += 1
        new = self._visit(dataclasses.replace(found, turn=self._turn))
        if new.file is None and new.note is not None:
            self._notes += 1
            self._note = new.note
        if new.record:
            self._records.append(new.record)
        self._records += new.records
        return new


def _same_bytes(old: bytes | bytearray, new: bytes) -> bytes | bytearray:
    return bytearray(new) if isinstance(old, bytearray) else new
