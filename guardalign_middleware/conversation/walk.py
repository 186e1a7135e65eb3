"""The walk over the JSON body of a request to a model's API, common to all dialects.

A field that the dialect knows is read as its table says. Any other field is refused if anything in
it could lead to a picture: the service behind might understand it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from guardalign_middleware.conversation.tools import CALLED, Kinds, tool_fault
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.block_rules import Refusal
from guardalign_middleware.intake.declared import Declared
from guardalign_middleware.intake.found_images import FoundImage
from guardalign_middleware.intake.media_types import MediaKind
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.picture_traces import Depth, picture_trace
from guardalign_middleware.intake.value_walk import Walk
from guardalign_middleware.intake.walk_modes import Mode

Fields = Mapping[str, Mode]
Body = Mapping[str, Any]

SEND_IT = "Send it in the request, as base64 or a data URL."
# What to send instead of what lies with a service.
_INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(
        ("previous_response_id", "conversation"), "Send the earlier turns in the request."
    ),
    "prompt": "Send its text as instructions and input.",
    "prompt_embeds": "Send its text.",
    "background": "Leave it out, and wait for the answer or stream it.",
    "mcp_servers": "Call their tools in your program, and send the results.",
}
# How the model's server decodes and scales pictures: at another size, or with other brightness, the
# model sees a picture that this guard did not.
_PROCESSING = frozenset({"mm_processor_kwargs", "media_io_kwargs"})
_GONE: Any = object()
# A service that does not tell capitals apart would read these, and this guard would not.
_RESERVED = frozenset(
    "type role content text parts input output messages source url uri path data base64 file image"
    " images image_url file_data file_id file_url media_type mime_type document video".split()
)
# Fields that name what lies with the service, in small letters: some do not tell capitals apart.
# Gateways hand them from one dialect to another. In embeddings, a picture was encoded.
_STORED = frozenset(
    {"previous_response_id", "container", "mcp_servers", "prompt_embeds"}
    | {"cached_content", "cachedcontent"}
)
# The older name is that of Chat Completions; LiteLLM reads both for Gemini.
_TOOL_FIELDS = frozenset({"tools", "functions"})
# They say what a server has, and offer nothing.
_LISTINGS = frozenset({"mcp_list_tools", "mcp_tool_listing"})
# LiteLLM and Google read what stands in these as fields of a request.
_MERGED = frozenset({"extra_body", "google", "fallbacks"})
_SCHEMA_KEYS = ("function", "parameters", "input_schema", "output_schema", "input_examples")


def fields(mode: Mode, names: str) -> dict[str, Mode]:
    """Field names, separated by spaces, with one mode for all."""
    return dict.fromkeys(names.split(), mode)


class ConversationWalk(Walk):
    """One pass over the body of a request; a subclass for each dialect has its tables.

    Attributes:
        turns_key: the field with the turns of the conversation.
        body_fields: other fields that the dialect knows, and how they are read.
        prose_fields: fields of requests without a conversation, whose texts may speak of pictures.
        stored_fields: fields that name what lies with the service, beside those of every dialect.
        message_fields: the fields of a message.
        tools: those that show a model no picture from elsewhere.
    """

    turns_key: ClassVar[str]
    body_fields: ClassVar[Fields]
    prose_fields: ClassVar[frozenset[str]] = frozenset()
    stored_fields: ClassVar[frozenset[str]] = frozenset()
    message_fields: ClassVar[Fields]
    tools: ClassVar[Kinds]

    _in_json = 0

    def body(self, body: Body) -> Body:
        """A copy of the body with the replacements; the same object if nothing changes."""
        return self._each(body, "", self._body_field)

    def _body_field(self, key: str, item: Any, place: str) -> Any:
        if key == self.turns_key:
            return self._turns(item, place)
        if str(key).lower() in _TOOL_FIELDS:
            return self._tools(item, place, self.tools)
        if self._is_stored(key, item):
            return self._stored(item, place)
        if key in self.prose_fields:
            reason = picture_trace(item, "prose", place)
            return self._words(item, place, None if reason is None else _no_words(place, reason))
        if str(key).lower() in _PROCESSING:
            return self._words(item, place, None if is_unset(item) else _reprocessed(place))
        return self._read(item, self.body_fields.get(key), key, place)

    def _mapping(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        if mode in {"strict", "block"}:
            for key in block:
                if key not in _RESERVED and str(key).lower() in _RESERVED:
                    return self._refused(Refusal(_capitals(str(key), place)), block, {}, place)
            if block_type(block) == "tool_addition" and isinstance(block.get("tool"), Mapping):
                return self._tool_addition(block, block["tool"], place)
        return super()._mapping(block, place, mode)

    def _fields(
        self, block: Mapping[Any, Any], found: Declared | None, place: str, mode: Mode
    ) -> dict[Any, Any]:
        tools = None if block_type(block) in _LISTINGS else block.get("tools")
        offers = isinstance(tools, list | tuple | dict) and not _is_words(tools)
        if mode not in {"strict", "block"} or self._in_json or not offers:
            return self._inner(block, found, place, mode)
        rest = {key: item for key, item in block.items() if key != "tools"}
        changed = self._inner(rest, found, place, mode)
        new = self._tools(tools, f"{place}.tools", self.tools)
        if new is not tools:
            changed["tools"] = [] if new is _GONE else new
        return changed

    def _inner(
        self, block: Mapping[Any, Any], found: Declared | None, place: str, mode: Mode
    ) -> dict[Any, Any]:
        """The values of a block that change; a result in JSON offers nothing."""
        kind = kind_of(block_type(block) or ("json" if list(block) == ["json"] else None))
        in_json = kind is not None and kind.fate == "json"
        self._in_json += in_json
        try:
            return super()._fields(block, found, place, mode)
        finally:
            self._in_json -= in_json

    def _tool_addition(self, block: Body, tool: Body, place: str) -> Any:
        """A block that offers a tool from here on, at Anthropic."""
        fault = None
        if "definition" in tool:
            fault = tool_fault(tool["definition"], self.tools, f"{place}.tool.definition")

        def read(key: str, item: Any, spot: str) -> Any:
            if key == "definition":
                return self._walked_tool(item, spot, self.tools)
            return self.value(item, spot, "block")

        def read_block(key: str, item: Any, spot: str) -> Any:
            if item is tool:
                return self._each(tool, f"{spot}.", read)
            return self.value(item, spot, "block")

        new = self._each(block, f"{place}.", read_block)
        return new if fault is None else self._refused(Refusal(fault, "file"), new, {}, place)

    def _turns(self, turns: Any, place: str) -> Any:
        if not isinstance(turns, list):
            return self.value(turns, place, "strict")
        walked = []
        for index, turn in enumerate(turns):
            with self._in_turn(index):
                walked.append(self._turn_item(turn, f"{place}[{index}]"))
        return _same_or(turns, walked)

    def _turn_item(self, turn: Any, place: str) -> Any:
        if not isinstance(turn, Mapping):
            return self.value(turn, place, "strict")
        return self._message(turn, place)

    def _message(self, message: Body, place: str) -> Body:
        return self._each(message, f"{place}.", self._message_field)

    def _message_field(self, key: str, item: Any, place: str) -> Any:
        # Some templates read them there.
        if str(key).lower() in _TOOL_FIELDS and not _is_words(item):
            return self._tools(item, place, self.tools)
        return self._read(item, self.message_fields.get(key), key, place)

    def _tools(self, tools: Any, place: str, kinds: Kinds) -> Any:
        if isinstance(tools, list | tuple):
            walked = [
                self._tool(tool, f"{place}[{index}]", kinds) for index, tool in enumerate(tools)
            ]
            return _same_or(tools, walked)
        if is_unset(tools):
            return tools
        return self._kept(self.value(tools, place, "block"), _no_list(place), place)

    def _tool(self, tool: Any, place: str, kinds: Kinds) -> Any:
        # Walked first in any case, so that each pass meets the same pictures.
        walked = self._walked_tool(tool, place, kinds)
        fault = tool_fault(tool, kinds, place)
        return walked if fault is None else self._kept(walked, fault, place)

    def _walked_tool(self, tool: Any, place: str, kinds: Kinds) -> Any:
        if not isinstance(tool, Mapping):
            return self.value(tool, place, "words")
        return self._each(tool, f"{place}.", partial(self._tool_field, kinds))

    def _tool_field(self, kinds: Kinds, key: str, item: Any, place: str) -> Any:
        if key == "tools" and "namespace" in kinds:
            return self._tools(item, place, CALLED)  # no namespace holds another
        schema = key in _SCHEMA_KEYS or isinstance(item, str)
        return self.value(item, place, "words" if schema else "block")

    def _elements(self, items: Sequence[Any], place: str, read: Any) -> Any:
        walked = [read(item, f"{place}[{index}]") for index, item in enumerate(items)]
        return _same_or(items, walked)

    def _kept(self, item: Any, error: MessageError, place: str) -> Any:
        """What works or lies with the service, if it may pass unseen."""
        return _GONE if self._withhold(error, place, "file") else item

    def _read(
        self, item: Any, mode: Mode | None, key: str, place: str, depth: Depth = "unknown"
    ) -> Any:
        if mode is not None:
            return self.value(item, place, mode)
        reason = picture_trace({key: item}, depth, place) or self._merged_field(key, item)
        return self._words(item, place, None if reason is None else _unknown_field(place, reason))

    def _merged_field(self, key: str, item: Any) -> str | None:
        """A field inside another one that would be judged outside, where some services write it."""
        if key not in _MERGED:
            return None
        bodies = [body for body in _listed(item) if isinstance(body, Mapping)]
        for name, inner in (field for body in bodies for field in body.items()):
            if self._is_judged(name, inner):
                return f"it holds the field {str(name)[:64]!r}"
            if (reason := self._merged_field(name, inner)) is not None:
                return reason
        return None

    def _is_judged(self, key: str, item: Any) -> bool:
        """Whether a field of the request leads to pictures elsewhere, or changes those in it."""
        named = str(key).lower() in _TOOL_FIELDS | _PROCESSING
        return self._is_stored(key, item) or (named and not is_unset(item))

    def _words(self, item: Any, place: str, error: MessageError | None) -> Any:
        if error is not None:
            return _GONE if self._withhold(error, place, None) else item
        return self.value(item, place, "words")

    def _is_stored(self, key: str, item: Any) -> bool:
        """Whether a field names what lies with the service, where this guard cannot look."""
        return str(key).lower() in _STORED | self.stored_fields and not is_unset(item)

    def _stored(self, item: Any, place: str) -> Any:
        error = MessageError(
            f"{place} names something that lies with the service, where this guard cannot look.",
            remedy=_INSTEAD.get(place.lower(), "Leave it out."),
        )
        return self._kept(item, error, place)

    def _withhold(self, error: MessageError, place: str, media: MediaKind | None) -> bool:
        """Hand over what cannot be looked at; whether it may not go on."""
        found = FoundImage({}, place, True, complete=False, refused=error, media=media)
        return self._replace(found).note is not None

    def _each(self, values: Body, prefix: str, read: Any) -> Body:
        changed: dict[str, Any] = {}
        for key, item in values.items():
            new = read(key, item, f"{prefix}{key}")
            if new is not item:
                changed[key] = new
        if not changed:
            return values
        rest = {**values, **changed}
        return {key: item for key, item in rest.items() if item is not _GONE}


def is_unset(item: Any) -> bool:
    """Whether a field is not set; other objects may refuse to be asked for their truth."""
    plain = isinstance(item, str | bytes | int | float | list | tuple | Mapping)
    return item is None or (plain and not item)


def _is_words(tools: Any) -> bool:
    """Whether a list holds only texts, which define no tool."""
    return isinstance(tools, list | tuple) and all(isinstance(each, str) for each in tools)


def _listed(item: Any) -> list[Any]:
    return item if isinstance(item, list) else [item]


def _same_or(old: Sequence[Any], new: list[Any]) -> Sequence[Any]:
    if all(a is b for a, b in zip(old, new, strict=True)):
        return old
    return [item for item in new if item is not _GONE]


def _unknown_field(place: str, reason: str) -> MessageError:
    return MessageError(
        f"{place} is a field that this guard does not know: {reason}.", remedy="Leave it out."
    )


def _reprocessed(place: str) -> MessageError:
    return MessageError(
        f"{place} could change what the model sees of a picture that this guard has looked at.",
        remedy="Leave it out, and set it where the model's server is started.",
    )


def _no_words(place: str, reason: str) -> MessageError:
    return MessageError(
        f"{place} should be words: {reason}.",
        remedy="Send pictures in the messages of a conversation.",
    )


def _capitals(key: str, place: str) -> MessageError:
    return MessageError(
        f"{place} has the key {key!r}, which some services read as {key.lower()!r}.",
        remedy="Write it in small letters.",
    )


def _no_list(place: str) -> MessageError:
    return MessageError(f"{place} should be a list of tools.", remedy="Send a list.")
