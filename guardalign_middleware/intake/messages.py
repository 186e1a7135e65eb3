"""Parsing role/content dictionaries of chat APIs into typed messages with loaded images.

Conversations that other models and providers wrote are read too: their names for roles, their
blocks (`block_kinds.py`), and the items of OpenAI's Responses API, which are not messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.handling import OnRefused
from guardalign_middleware.intake.block_kinds import UNTYPED, kind_of
from guardalign_middleware.intake.content_blocks import BlockReader
from guardalign_middleware.intake.part import ACCEPTED_PARTS, block_type
from guardalign_middleware.intake.reading import (
    Part,
    Reading,
    image_part,
    open_refusal,
    pictures_in,
)
from guardalign_middleware.intake.refused_parts import RefusedPart
from guardalign_middleware.intake.request import Sizes, check_message_count
from guardalign_middleware.intake.unicode_text import check_unicode
from guardalign_middleware.replies import Dropped, Refused
from guardalign_middleware.sent_turns import Refusals, SentTurns
from guardalign_middleware.types import ImagePart, Message, Role, TextPart

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""Every provider's name of a role."""
# A list of these is a message's content, passed in the place of messages.
_PARTS = {"text", "image", "image_url"}
_DEFAULT_POLICY = IntakePolicy()


@dataclass(frozen=True)
class ParsedConversation:
    """A conversation as it was read.

    Attributes:
        messages: its turns, with loaded images; empty system messages are left out.
        sent: which of the turns the user has just sent.
        dropped: what held neither text nor a picture, in reading order.
        refused: what could not be checked, so that a notice stands in its place.
    """

    messages: tuple[Message, ...]
    sent: SentTurns
    dropped: tuple[Dropped, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class _Turn:
    """A turn whose refusals are still open; `sender` is "tool" for a user's message of results."""

    role: Role
    parts: tuple[Part, ...]
    sender: str


def parse_messages(
    messages: str | Sequence[Mapping[str, Any] | Message], policy: IntakePolicy = _DEFAULT_POLICY
) -> tuple[Message, ...]:
    """The messages of `read_conversation`, which has the arguments and errors."""
    return read_conversation(messages, policy).messages


def read_conversation(
    messages: str | Sequence[Mapping[str, Any] | Message],
    policy: IntakePolicy = _DEFAULT_POLICY,
    *,
    on_refused: OnRefused | None = None,
    refusals: Refusals | None = None,
    on_measured: Callable[[Sizes], None] | None = None,
) -> ParsedConversation:
    """Turn a conversation into typed messages, loading images in every position.

    A bare string is one user message. `content` is a string or a list of parts. Blocks of other
    models without text and without a picture are dropped and noted. A block that could hold a
    picture and cannot be read is an error. A file with several frames is rejected; with
    `policy.frames="scan_all"`, its frames take its place, each as a separate image. A PDF file is
    rejected, noted in words, or replaced by the pictures of its pages, as `policy.pdf` says.

    Args:
        messages: dictionaries with `role` and `content`, `Message` objects, or a mix. A dictionary
            may list under `dropped` what its writer left out, as `Dropped` values.
        policy: caps and formats for the images, and whether a part may name a local file.
        on_refused: what happens to a part that is refused, where the user has just sent it; in
            other turns a notice takes its place. None raises the error in every turn.
        refusals: inputs for which the user already got an error or a reply.
        on_measured: called with what the headers and texts say, before any picture is decoded.

    Raises:
        MessageError: a wrong role, an empty question, an unreadable part, no user message, or more
            messages or text than a request may have.
        ImageRejected: an image that the policy does not accept.
            Both errors name the place, as in `messages[0].content[1]`.
    """
    given = _as_list(messages)
    sizes = _measured(given, policy, on_refused is not None)
    if on_measured is not None:
        on_measured(sizes)
    reading = Reading(policy, on_refused is not None, sizes.room())
    read = [_read_turn(each, f"messages[{index}]", reading) for index, each in enumerate(given)]
    for index, turn in enumerate(read):
        for part in () if turn is None else turn.parts:
            if isinstance(part, TextPart):
                check_unicode(part.text, f"messages[{index}]")
    turns = [turn for turn in read if turn is not None]
    if not any(turn.role == "user" and _says_something(turn.parts) for turn in turns):
        raise MessageError(
            "There is no user message to answer.",
            remedy='Add {"role": "user", "content": …}.',
        )
    sent = SentTurns([turn.sender for turn in turns], given[-1], refusals or Refusals())
    refused = [
        (index, part)
        for index, turn in enumerate(turns)
        for part in turn.parts
        if isinstance(part, RefusedPart)
    ]
    # Every one of them is remembered, not only the first.
    new = [part.error for index, part in refused if sent.is_new(part.digest, index)]
    if new and on_refused == "raise":
        raise new[0]
    return ParsedConversation(
        tuple(Message(turn.role, tuple(map(_shown, turn.parts))) for turn in turns),
        sent,
        tuple(reading.dropped),
        tuple(part.record for _, part in refused),
    )


def _measured(given: Sequence[object], policy: IntakePolicy, refuses: bool) -> Sizes:
    """Texts and pictures of a conversation; errors other than of the caps are left to reading it.

    Raises:
        MessageError: there are more messages or more text than a request may have.
    """
    check_message_count(len(given), policy)
    sizes = Sizes(policy)
    reading = Reading(policy, refuses, sizes)
    for index, each in enumerate(given):
        sizes.turn, sizes.sent = index, -1
        try:
            turn = _read_turn(each, f"messages[{index}]", reading)
        except (MessageError, ImageRejected):
            continue
        for part in turn.parts if turn is not None else ():
            if isinstance(part, TextPart):
                sizes.text(part.text)
        if turn is not None and turn.sender == "user":
            sizes.sent = index
    return sizes


def _shown(part: Part) -> TextPart | ImagePart:
    return part.notice if isinstance(part, RefusedPart) else part


def _as_list(messages: object) -> Sequence[object]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, bytes | bytearray) or not isinstance(messages, Sequence):
        raise MessageError(
            f"messages should be a list. Received {type(messages).__name__}.",
            remedy='Pass [{"role": "user", "content": …}].',
        )
    return messages


def _read_turn(message: object, place: str, reading: Reading) -> _Turn | None:
    """One turn; None if it has nothing to show and may be left out."""
    if isinstance(message, Message):
        return _turn(message.role, message.parts, place, reading)
    if not isinstance(message, Mapping):
        raise MessageError(
            f"{place} should be a mapping with role and content. Received {type(message).__name__}."
        )
    if "role" not in message and kind_of(_item_type(message)) is not None:
        return _read_item(message, place, reading)
    # An assistant that calls a tool may say nothing at all.
    role = message.get("role")
    silent = isinstance(role, str) and ROLES.get(role) == "assistant"
    missing = [key for key in ("role", "content") if key not in message]
    if silent and missing == ["content"]:
        missing = []
    if missing:
        raise MessageError(
            f"{place} has no {' and no '.join(missing)}.",
            remedy='Write {"role": "user", "content": …}.',
        )
    noted = [each for each in _listed(message, "dropped") if isinstance(each, Dropped)]
    reading.dropped.extend(noted)
    turn = _turn(role, message.get("content"), place, reading, noted=bool(noted))
    if turn is None or turn.role != "assistant":
        return turn
    if _listed(message, "tool_calls"):
        reading.dropped.append(Dropped("tool_calls", f"{place}.tool_calls"))
    said = said_beside(message)
    if said is not None and not _says_something(turn.parts):
        return _Turn("assistant", (TextPart(said),), "assistant")
    return turn


def _listed(message: Mapping[Any, Any], key: str) -> Sequence[Any]:
    value = message.get(key)
    return value if isinstance(value, list | tuple) else ()


def said_beside(fields: Mapping[str, Any]) -> str | None:
    """What an assistant said outside its content: OpenAI's refusals and transcripts of speech."""
    audio = fields.get("audio")
    transcript = audio.get("transcript") if isinstance(audio, Mapping) else None
    for text in (fields.get("refusal"), transcript):
        if isinstance(text, str) and text.strip():
            return text
    return None


def _turn(
    role: object,
    content: object,
    place: str,
    reading: Reading,
    *,
    noted: bool = False,
) -> _Turn | None:
    checked = _check_role(role, place)
    before = len(reading.dropped)
    if content is None and checked != "user":
        parts: tuple[Part, ...] = ()
    else:
        parts = _parse_content(content, f"{place}.content", reading, checked == "user")
    sender = "tool" if holds_results(content) else checked
    if _says_something(parts):
        return _Turn(checked, parts, sender)
    if checked == "system":
        return None  # Chat engines without a system prompt send an empty one.
    # Tools and assistants may answer with nothing; an empty question is a mistake.
    if checked == "user" and not noted and len(reading.dropped) == before:
        raise MessageError(
            f"{place} is empty.", remedy="Add text or an image, or leave the message out."
        )
    return _Turn(checked, parts or (TextPart(""),), sender)


def holds_results(content: object) -> bool:
    """Whether this is how Anthropic, Bedrock and Google write results of tools: as the user."""
    return isinstance(content, list | tuple) and any(
        _is_result(block) for block in content if isinstance(block, Mapping)
    )


def _is_result(block: Mapping[Any, Any]) -> bool:
    name = block_type(block)
    if name is None:
        name = next((key for key in block if key in UNTYPED), "")
    return name.replace("_", "").lower().endswith(("toolresult", "functionresponse"))


def _item_type(item: Mapping[Any, Any]) -> str | None:
    kind = item.get("type")
    return kind if isinstance(kind, str) and kind not in _PARTS else None


def _read_item(item: Mapping[Any, Any], place: str, reading: Reading) -> _Turn | None:
    """An item of OpenAI's Responses API: a call, a tool's answer, reasoning."""
    parts = _parse_content([item], place, reading, False)
    if not parts:
        return None
    role: Role = "tool" if str(item["type"]).endswith("_output") else "assistant"
    return _Turn(role, parts, role)


def _check_role(role: object, place: str) -> Role:
    known = ROLES.get(role) if isinstance(role, str) else None
    if known is not None:
        return known
    raise MessageError(
        f"{place} has the unknown role {role!r}.", remedy=f"Use one of: {', '.join(ROLES)}."
    )


def _parse_content(
    content: object, place: str, reading: Reading, required: bool
) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        raise MessageError(
            f"{place} should be a string or a list of parts. Received {type(content).__name__}.",
            remedy=ACCEPTED_PARTS,
        )
    if required and not content:
        raise MessageError(f"{place} has no parts.", remedy=ACCEPTED_PARTS)

    def picture(block: object, spot: str) -> tuple[TextPart | ImagePart, ...] | None:
        return pictures_in(block, spot, reading)

    refused = RefusedPart.of if reading.refuses else None
    reader: BlockReader[Part] = BlockReader(picture, TextPart, ACCEPTED_PARTS, refused=refused)
    parts: list[Part] = []
    for index, part in enumerate(content):
        spot = f"{place}[{index}]"
        if isinstance(part, TextPart):
            parts.append(part)
        elif isinstance(part, RefusedPart):
            parts.append(open_refusal(part, reading))
        elif isinstance(part, ImagePart):
            parts += image_part(part, spot, reading)
        else:
            parts += reader.read(part, spot)
    reading.dropped.extend(reader.dropped)
    return tuple(parts)


def _says_something(parts: Sequence[Part]) -> bool:
    return any(not isinstance(part, TextPart) or part.text.strip() for part in parts)
