"""Reads content blocks: text, pictures, and what is dropped because it holds neither.

`block_kinds.py` has the table of kinds. A block of an unknown kind is dropped only if nothing in it
could be a picture or lead to one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.block_kinds import ARGUMENTS, UNTYPED, Kind, kind_of
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.picture_traces import Depth, is_encoded_picture, picture_trace
from guardalign_middleware.replies import Dropped

P = TypeVar("P")
Block = Mapping[str, Any]

_MAX_DEPTH = 64
_NAME = re.compile(r"[\w.:/-]{1,64}")


class BlockReader(Generic[P]):
    """Reads the content of one message by `KINDS`.

    Args:
        picture: reads a picture block of any dialect that the caller knows; None for other blocks.
        text: makes a part of a text.
        accepted: what the caller accepts, as the remedy of errors.
        calls: ids of calls that are shown elsewhere; their blocks are not noted as dropped.
        refused: makes a part of an error, what was being read, and its place. It stands in the
            place of the innermost block that cannot be read. Without it, the error is raised.

    Attributes:
        dropped: the blocks without text and without a picture, in reading order.
    """

    def __init__(
        self,
        picture: Callable[[Block, str], Sequence[P] | None],
        text: Callable[[str], P],
        accepted: str,
        *,
        calls: Collection[str] = (),
        refused: Callable[[ImageRejected | MessageError, object, str], P] | None = None,
    ) -> None:
        self._picture = picture
        self._refusal = refused
        self._text = text
        self._accepted = accepted
        self._calls = calls
        self._depth = 0
        self.dropped: list[Dropped] = []

    def read(self, content: object, place: str, *, known: bool = False) -> list[P]:
        """Read a text, a block, or a list of them.

        Args:
            content: of a message or of a block.
            place: where it is, for errors and notes.
            known: whether it stands in a result of a known kind. There an address that no model
                is shown may be dropped, and a text that is nothing but a picture is the picture.

        Raises:
            MessageError: a block that could hold a picture and cannot be read, or no content.
            ImageRejected: an image that the caller does not accept.
        """
        if self._refusal is None:
            return self._read(content, place, known)
        noted = len(self.dropped)
        try:
            return self._read(content, place, known)
        except (ImageRejected, MessageError) as error:
            del self.dropped[noted:]
            return [self._refusal(error, content, place)]

    def _read(self, content: object, place: str, known: bool) -> list[P]:
        if self._depth >= _MAX_DEPTH:
            raise MessageError(
                f"{place} is nested deeper than {_MAX_DEPTH} levels.", remedy="Flatten it."
            )
        self._depth += 1
        try:
            if isinstance(content, str):
                if known and is_encoded_picture(content):
                    return self._encoded(content, place)
                return [self._text(content)]
            if isinstance(content, Mapping):
                return self._block(content, place, known)
            if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
                return [
                    part
                    for index, item in enumerate(content)
                    for part in self.read(item, f"{place}[{index}]", known=known)
                ]
        finally:
            self._depth -= 1
        raise MessageError(f"{place} is a {type(content).__name__}.", remedy=self._accepted)

    def _block(self, block: Block, place: str, known: bool) -> list[P]:
        if len(block) == 2 and block_type(block) == "text" and isinstance(block.get("text"), str):
            return [self._text(block["text"])]  # Most blocks are this.
        pictures = self._picture(block, place)
        if pictures is not None:
            return list(pictures)
        name, block = _named(block)
        kind = kind_of(name)
        if kind is None:
            return self._unknown(block, name, place, known)
        if kind.fate == "text":
            return self._texts(block, kind.keys[0], name, place)
        if kind.fate == "content":
            return self._contents(block, kind, name, place, known)
        if kind.fate == "json":
            return self._json(block, kind.keys[0], name, place)
        if kind.fate == "document":
            return self._document(block, place)
        if kind.fate == "dropped":
            self._require_no_trace(block, "known", name, place, arguments=ARGUMENTS)
            self._note(block, name, place)
            return []
        if name == "image_generation_call" and isinstance(block.get("result"), str):
            return self._drawn(block, place)
        if name == "image_generation_call" and block.get("result") is None:
            # Drawn by another provider's model, which alone can show it.
            self._require_no_trace(_without(block, ["type"]), "known", name, place)
            self._note(block, name, place)
            return []
        raise self._refused(name, place)

    def _texts(self, block: Block, key: str, name: str | None, place: str) -> list[P]:
        text = block.get(key)
        if block.get("thought") is True:  # Google marks reasoning so.
            self._require_no_trace(block, "known", "thought", place)
            self._note(block, "thought", place)
            return []
        self._require_no_trace(_without(block, [key]), "known", name, place)
        if isinstance(text, Mapping):  # OpenAI's Assistants API writes citations beside the words.
            self._require_no_trace(_without(text, ["value"]), "known", name, place)
            text = text.get("value")
        if isinstance(text, str):
            return [self._text(text)]
        # Streams write citations into blocks of their own.
        if key not in block and len(block) > 1:
            self._note(block, name, place)
            return []
        raise self._refused(name, place)

    def _contents(
        self, block: Block, kind: Kind, name: str | None, place: str, known: bool
    ) -> list[P]:
        rest = _without(block, kind.keys)
        self._require_no_trace(rest, "known", name, place, arguments=ARGUMENTS)
        noted, parts = len(self.dropped), []
        for key in kind.keys:
            if block.get(key) is None:
                continue
            spot = f"{place}.{key}"
            parts += self._inside(block[key], spot, known if kind.same_kind else True)
        if not parts and not kind.same_kind:
            del self.dropped[noted:]
            self._note(block, name, place)
        return parts

    def _inside(self, value: object, place: str, known: bool) -> list[P]:
        if isinstance(value, str) and is_encoded_picture(value):
            return self._encoded(value, place)
        if isinstance(value, str | Mapping | list | tuple):
            return self.read(value, place, known=known) if value != "" else []
        self._require_no_trace(value, "known", None, place)
        return []

    def _encoded(self, text: str, place: str) -> list[P]:
        """A result that is nothing but a data URL or base64: its reader would show the picture."""
        if is_data_url(text.lstrip()):
            block: Block = {"type": "image_url", "image_url": {"url": text.strip()}}
        else:
            try:
                block = {"type": "image", "image": base64.b64decode(text)}
            except (binascii.Error, ValueError) as error:
                raise self._refused(None, place, "it is an encoded picture or file") from error
        return list(self._picture(block, place) or ())

    def _drawn(self, block: Block, place: str) -> list[P]:
        self._require_no_trace(_without(block, ["result"]), "known", "image_generation_call", place)
        picture = {
            "type": "image",
            "base64": block["result"],
            "mime_type": f"image/{block.get('output_format') or 'png'}",
        }
        return list(self._picture(picture, place) or ())

    def _json(self, block: Block, key: str, name: str | None, place: str) -> list[P]:
        self._require_no_trace(block, "known", name, place)
        value = block.get(key)
        if value is None or isinstance(value, str):
            if not value:
                self._note(block, name, place)
            return [self._text(value)] if value else []
        try:
            return [self._text(json.dumps(value))]
        except (TypeError, ValueError, RecursionError) as error:
            raise MessageError(
                f"{place} holds values that are not JSON.",
                remedy="Use only strings, numbers, lists and mappings.",
            ) from error

    def _document(self, block: Block, place: str) -> list[P]:
        source = block.get("source")
        if isinstance(source, Mapping):
            keys = {"text": "data", "content": "content"}
            key = keys.get(str(source.get("type")), "text")
            if isinstance(source.get(key), str | list) and set(source) <= {
                "type",
                "media_type",
                key,
            }:
                self._require_no_trace(_without(block, ["source"]), "known", "document", place)
                return self._inside(source[key], f"{place}.source.{key}", True)
        raise self._refused("document", place)

    def _unknown(self, block: Block, name: str | None, place: str, known: bool) -> list[P]:
        if not block or ("type" in block and not isinstance(block["type"], str)):
            raise self._refused(name, place)
        rest = _without(block, ["text", "content"])
        self._require_no_trace(rest, "known" if known else "unknown", name, place)
        noted, parts = len(self.dropped), []
        for key in ("text", "content"):
            if block.get(key) is not None:
                parts += self._inside(block[key], f"{place}.{key}", known)
        if not parts:
            del self.dropped[noted:]
            self._note(block, name or next(map(str, block)), place)
        return parts

    def _note(self, block: Block, name: str | None, place: str) -> None:
        ids = (block.get(key) for key in ("call_id", "id", "toolUseId"))
        if any(isinstance(each, str) and each in self._calls for each in ids):
            return
        # The name goes into logs, and anyone may have written it.
        shown = name if name is not None and _NAME.fullmatch(name) else "unknown"
        self.dropped.append(Dropped(shown, place))

    def _require_no_trace(
        self,
        value: object,
        depth: Depth,
        name: str | None,
        place: str,
        *,
        arguments: Sequence[str] = (),
    ) -> None:
        reason = picture_trace(value, depth, place, arguments=arguments)
        if reason is not None:
            raise self._refused(name, place, reason)

    def _refused(self, name: str | None, place: str, reason: str = "") -> MessageError:
        if name is None:
            found = "no known type"
        else:
            found = f"the {'' if kind_of(name) else 'unknown '}type {name[:64]!r}"
        why = f": {reason}" if reason else ""
        return MessageError(f"{place} has {found}{why}.", remedy=self._accepted)


def _named(block: Block) -> tuple[str | None, Block]:
    """The name of the block's kind, and the block with its fields on one level."""
    name = block_type(block)
    if name is not None:
        return name, block
    name = next((key for key in block if key in UNTYPED), None) if "type" not in block else None
    inner = None if name is None else block[name]
    if name is None or (isinstance(inner, Mapping) and kind_of(block_type(inner)) is not None):
        return None, block
    if name == "guardContent":
        return name, {**_without(block, [name]), "type": name, "value": inner}
    if isinstance(inner, Mapping) and name != "json":
        # Apart, so that neither hides a field of the other.
        beside = {"beside": _without(block, [name]), "subtype": inner.get("type")}
        return name, {**inner, **beside, "type": name}
    return name, {**block, "type": name}


def _without(block: Block, keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key not in keys}
