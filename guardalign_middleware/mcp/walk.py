"""Where pictures stand in the messages of MCP, and how others are put in their place.

Content blocks, contents of resources and turns of a sampling request are read strictly, because a
client shows them to its model. Descriptions, lists, logs and `_meta` are words, in which only a
complete picture counts. Any other field is read as a block: what is declared a picture, or begins
like one, is cleaned or taken out; a link to one stays a link.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.blank_picture import blank_png
from guardalign_middleware.intake.block_rules import Refusal
from guardalign_middleware.intake.declared import Declared, declared, file_bytes
from guardalign_middleware.intake.dialects import ImageSlot, encode
from guardalign_middleware.intake.extent import picture_format
from guardalign_middleware.intake.hidden_images import may_hide_image
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.text_bytes import read_text, write_text
from guardalign_middleware.intake.type_fields import file_type
from guardalign_middleware.intake.value_walk import Walk
from guardalign_middleware.intake.walk_modes import Mode
from guardalign_middleware.mcp.payloads import may_show
from guardalign_middleware.mcp.structures import (
    are_read,
    holds_file,
    is_structure,
    without_files,
    without_notes,
)

Fields = Mapping[str, Any]

_ENVELOPE = frozenset({"jsonrpc", "id", "method"})
_WORDS = frozenset(
    "_meta action capabilities clientInfo completion cursor description elicitationId"
    " instructions level logger message mode model modelPreferences name nextCursor"
    " progress progressToken prompts protocolVersion reason requestId requestedSchema"
    " resourceTemplates resources role roots serverInfo status statusMessage stopReason"
    " systemPrompt task taskId tasks title toolChoice tools total uri url".split()
)
# Of logs, and of sampling requests.
_WORDS_OF_PARAMS = _WORDS | {"data", "metadata"}
# They say as little as no type at all.
_VAGUE = frozenset({None, "", "application/octet-stream", "binary/octet-stream"})
_WITHHELD = "withheld:guardalign"
_PAGES = "[PDF file: its pages are in the content]"


class McpWalk(Walk):
    """One pass over a message; for the arguments, see `ImageValues`."""

    # How the mapping is read that is looked at.
    _mode: Mode = "block"

    def message(self, message: Any) -> Any:
        """A copy of the message with the replacements; the same object if nothing changes."""
        if not isinstance(message, Mapping):
            return self.value(message, "message", "block")
        return self._each(message, "", self._message_field)

    def _message_field(self, key: str, item: Any, place: str) -> Any:
        if key in _ENVELOPE:
            return item
        if key == "error":
            return self.value(item, place, "words")
        if key in {"result", "params"} and isinstance(item, Mapping):
            return self._each(item, f"{place}.", self._payload_field)
        return self.value(item, place, "block")

    def _payload_field(self, key: str, item: Any, place: str) -> Any:
        if key == "content":
            return self.value(item, place, "strict")
        if key == "messages":
            return self._list(item, place, self._turn_of)
        if key == "contents":
            return self._list(item, place, self._contents)
        words = _WORDS_OF_PARAMS if place.startswith("params.") else _WORDS
        return self.value(item, place, "words" if key in words else "block")

    def _each(self, values: Fields, prefix: str, read: Callable[[str, Any, str], Any]) -> Fields:
        kept: dict[str, Any] = {}
        for key, item in values.items():
            new = read(key, item, f"{prefix}{key}")
            if self._hides_picture(key):
                error = MessageError(f"{prefix} has an image in a key.", remedy="Use a value.")
                if self._refuse(error, prefix) is not None:
                    continue
            kept[key] = new
        same = len(kept) == len(values) and all(new is values[key] for key, new in kept.items())
        return values if same else kept

    def _list(self, items: Any, place: str, read: Callable[[Fields, str], Any]) -> Any:
        """A list of mappings, of which one can become several."""
        if not isinstance(items, list):
            return self.value(items, place, "strict")
        walked: list[Any] = []
        for index, item in enumerate(items):
            spot = f"{place}[{index}]"
            known = isinstance(item, Mapping)
            new = read(item, spot) if known else self.value(item, spot, "strict")
            walked += new if isinstance(new, list) and new is not item else [new]
        same = len(walked) == len(items) and all(map(lambda a, b: a is b, walked, items))
        return items if same else walked

    def _turn_of(self, turn: Fields, place: str) -> Any:
        """A message of a prompt or of a sampling request."""

        def field(key: str, item: Any, spot: str) -> Any:
            if key == "content":
                return self.value(item, spot, "strict")
            return self.value(item, spot, "words" if key in _WORDS else "block")

        new = self._each(turn, f"{place}.", field)
        content = new.get("content")
        if isinstance(content, list) and not isinstance(turn.get("content"), list):
            # A prompt's message holds one block: the pages of a PDF file get one message each.
            return [{**new, "content": block} for block in content]
        return new

    def _contents(self, item: Fields, place: str) -> Any:
        """Contents of a resource, read as the block that embeds them."""
        block = {"type": "resource", "resource": item}
        new = self.value(block, place, "strict")
        if new is block:
            return item
        blocks = new if isinstance(new, list) else [new]
        return [_as_contents(each, _uri_of(item)) for each in blocks]

    def _mapping(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        around, self._mode = self._mode, mode
        new = self._walked(block, place, mode)
        if new is not block and isinstance(new, Mapping) and self._is_own(block, place):
            found = declared(block)
            new = new if found is None else without_notes(block, new, found, blank_png())
        self._mode = around
        if new is not block and isinstance(new, Mapping) and new.get("uri") != block.get("uri"):
            if not str(new.get("uri", "data:")).startswith("data:"):
                # Clients refuse a result in which a notice stands for an address.
                return {**new, "uri": _WITHHELD}
        return new

    def _walked(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        if mode not in {"strict", "block"}:
            return super()._mapping(block, place, mode)
        kind = block_type(block)
        if kind == "resource" and isinstance(block.get("resource"), Mapping):
            return self._resource(block, place, mode)
        if mode == "block" and kind is None and "src" in block:
            # An icon, which clients show to people.
            return super()._mapping(block, place, "words")
        return super()._mapping(block, place, mode)

    def _declared(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Declared | None:
        found = super()._declared(block, place, mode)
        if found is None or mode != "block":
            return found
        if is_structure(place):
            return found if holds_file(found) else None
        return None if found.linked and not found.payloads else found

    def _judged(
        self, block: Mapping[Any, Any], found: Declared | None, place: str, mode: Mode
    ) -> ImageSlot | Refusal | None:
        verdict = super()._judged(block, found, place, mode)
        return self._unless_read(verdict, found, place, mode)

    def _beside(
        self, slot: ImageSlot, found: Declared | None, place: str, mode: Mode
    ) -> ImageSlot | Refusal | None:
        verdict = super()._beside(slot, found, place, mode)
        return self._unless_read(verdict, found, place, mode)

    def _unless_read(
        self, verdict: ImageSlot | Refusal | None, found: Declared | None, place: str, mode: Mode
    ) -> ImageSlot | Refusal | None:
        """None for an object whose pictures are each read as a value by itself."""
        if not isinstance(verdict, Refusal) or mode != "block" or not is_structure(place):
            return verdict
        return None if found is not None and are_read(found) else verdict

    def _address(self, url: str, place: str) -> str:
        if is_structure(place) and not may_show(url):
            return self._text(url, place, "words")
        return super()._address(url, place)

    def _refused(
        self, refusal: Refusal, block: Mapping[Any, Any], changed: Mapping[Any, Any], place: str
    ) -> Any:
        new = super()._refused(refusal, block, changed, place)
        several = isinstance(new, list) and is_structure(place)
        return self._instead(_PAGES, block, {**block, **changed}, place) if several else new

    def _instead(
        self, note: str, block: Mapping[Any, Any], cleaned: Mapping[Any, Any], place: str
    ) -> Any:
        found = declared(block) if self._is_own(block, place) else None
        if found is None or self._in_key(block, found, place) is not None:
            return self._noted(note, block, place)
        new = without_files(block, cleaned, found, blank_png(), note)
        return self._noted(note, block, place) if new is cleaned else new

    def _unshown(self, note: str, slot: ImageSlot, block: Mapping[Any, Any], place: str) -> Any:
        if self._is_own(block, place):
            found = declared(block)
            new = block if found is None else without_files(block, block, found, blank_png(), note)
            return slot.put(blank_png()) if new is block else new
        return super()._unshown(note, slot, block, place)

    def _is_own(self, block: Mapping[Any, Any], place: str) -> bool:
        """Whether a mapping is an object of a structure, of which only a file has to give way."""
        return self._mode == "block" and is_structure(place) and not _is_resource(block)

    def _noted(self, note: str, block: Mapping[Any, Any], place: str) -> Any:
        """Where a schema says what stands here, something of the same shape."""
        if is_structure(place) and _is_resource(block):
            text = {"uri": _uri_of(block["resource"]), "mimeType": "text/plain", "text": note}
            return {"type": "resource", "resource": text}
        if is_structure(place) and block_type(block) == "image":
            return {"type": "image", "data": encode(blank_png()), "mimeType": "image/png"}
        return super()._noted(note, block, place)

    def _resource(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        resource: Fields = block["resource"]
        stated = _with_type(resource)
        typed = block if stated is resource else {**block, "resource": stated}
        found = declared(typed)
        if found is not None and found.media == "text" and not found.holds_pages():
            typed = self._text_file(typed, stated, place)
        new = super()._mapping(typed, place, mode)
        # The type that was only guessed is stated where the guard has written the file.
        return block if new is typed and stated is not resource else new

    def _text_file(self, block: Mapping[Any, Any], resource: Fields, place: str) -> Fields:
        """A text in base64, such as a page with pictures in it."""
        written = read_text(file_bytes(resource.get("blob")) or b"")
        if written is None:
            return block
        text, encoding = written
        new = self._text(text, f"{place}.resource.blob", "words")
        if new is text:
            return block
        blob = base64.b64encode(write_text(new, encoding)).decode("ascii")
        return {**block, "resource": {**resource, "blob": blob}}


def _with_type(resource: Fields) -> Fields:
    """The resource with the type that its first bytes have, where it states none."""
    stated = resource.get("mimeType")
    if not (stated is None or isinstance(stated, str)) or stated not in _VAGUE:
        return resource
    head = file_bytes(resource.get("blob"), 64) or b""
    if picture_format(head) is not None:
        return {**resource, "mimeType": file_type(head)}
    return {**resource, "mimeType": "application/pdf"} if head.startswith(b"%PDF") else resource


def _is_resource(block: Fields) -> bool:
    return block_type(block) == "resource" and isinstance(block.get("resource"), Mapping)


def _uri_of(resource: Fields) -> str:
    uri = resource.get("uri")
    return uri if isinstance(uri, str) and not may_hide_image(uri) else _WITHHELD


def _as_contents(block: Fields, uri: str) -> Fields:
    """A block in the place of one that embedded a resource, as the contents of that resource."""
    resource = block.get("resource")
    if isinstance(resource, Mapping):
        return resource
    if block_type(block) == "image":
        return {"uri": uri, "mimeType": block.get("mimeType"), "blob": block.get("data")}
    return {"uri": uri, "mimeType": "text/plain", "text": block.get("text", "")}
