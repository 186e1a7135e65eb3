"""Parsing role/content dictionaries of chat APIs into typed messages with loaded images.

Conversations that other models and providers wrote are read too: their names for roles, their
blocks (`block_kinds.py`), and the items of OpenAI's Responses API, which are not messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.content_blocks import BlockReader
from guardalign_middleware.intake.part import ACCEPTED_PARTS, load_part
from guardalign_middleware.intake.pdf_blocks import PdfFile, load_pdf_file, pdf_file, pdf_notice
from guardalign_middleware.types import Dropped, ImagePart, Message, Role, TextPart

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
        dropped: what held neither text nor a picture, in reading order.
    """

    messages: tuple[Message, ...]
    dropped: tuple[Dropped, ...] = ()


def parse_messages(
    messages: str | Sequence[Mapping[str, Any] | Message], policy: IntakePolicy = _DEFAULT_POLICY
) -> tuple[Message, ...]:
    """The messages of `read_conversation`, which has the arguments and errors."""
    return read_conversation(messages, policy).messages


def read_conversation(
    messages: str | Sequence[Mapping[str, Any] | Message], policy: IntakePolicy = _DEFAULT_POLICY
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

    Raises:
        MessageError: a wrong role, an empty question, an unreadable part, or no user message.
        ImageRejected: an image that the policy does not accept.
            Both errors name the place, as in `messages[0].content[1]`.
    """
    parsed: list[Message] = []
    dropped: list[Dropped] = []
    for index, message in enumerate(_as_list(messages)):
        turn = _read_turn(message, f"messages[{index}]", policy, dropped)
        if turn is not None:
            parsed.append(turn)
    if not any(turn.role == "user" and _says_something(turn.parts) for turn in parsed):
        raise MessageError(
            "There is no user message to answer.",
            remedy='Add {"role": "user", "content": …}.',
        )
    return ParsedConversation(tuple(parsed), tuple(dropped))


def _as_list(messages: object) -> Sequence[object]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, bytes | bytearray) or not isinstance(messages, Sequence):
        raise MessageError(
            f"messages should be a list. Received {type(messages).__name__}.",
            remedy='Pass [{"role": "user", "content": …}].',
        )
    return messages


def _read_turn(
    message: object, place: str, policy: IntakePolicy, dropped: list[Dropped]
) -> Message | None:
    """One turn; None if it has nothing to show and may be left out."""
    if isinstance(message, Message):
        return _turn(message.role, message.parts, place, policy, dropped)
    if not isinstance(message, Mapping):
        raise MessageError(
            f"{place} should be a mapping with role and content. Received {type(message).__name__}."
        )
    if "role" not in message and kind_of(_item_type(message)) is not None:
        return _read_item(message, place, policy, dropped)
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
    dropped += noted
    turn = _turn(role, message.get("content"), place, policy, dropped, noted=bool(noted))
    if turn is None or turn.role != "assistant":
        return turn
    if _listed(message, "tool_calls"):
        dropped.append(Dropped("tool_calls", f"{place}.tool_calls"))
    said = said_beside(message)
    if said is not None and not _says_something(turn.parts):
        return Message("assistant", (TextPart(said),))
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
    policy: IntakePolicy,
    dropped: list[Dropped],
    *,
    noted: bool = False,
) -> Message | None:
    checked = _check_role(role, place)
    before = len(dropped)
    if content is None and checked != "user":
        parts: tuple[TextPart | ImagePart, ...] = ()
    else:
        parts = _parse_content(content, f"{place}.content", policy, dropped, checked == "user")
    if _says_something(parts):
        return Message(checked, parts)
    if checked == "system":
        return None  # Chat engines without a system prompt send an empty one.
    # Tools and assistants may answer with nothing; an empty question is a mistake.
    if checked == "user" and not noted and len(dropped) == before:
        raise MessageError(
            f"{place} is empty.", remedy="Add text or an image, or leave the message out."
        )
    return Message(checked, parts or (TextPart(""),))


def _item_type(item: Mapping[Any, Any]) -> str | None:
    kind = item.get("type")
    return kind if isinstance(kind, str) and kind not in _PARTS else None


def _read_item(
    item: Mapping[Any, Any], place: str, policy: IntakePolicy, dropped: list[Dropped]
) -> Message | None:
    """An item of OpenAI's Responses API: a call, a tool's answer, reasoning."""
    parts = _parse_content([item], place, policy, dropped, False)
    if not parts:
        return None
    return Message("tool" if str(item["type"]).endswith("_output") else "assistant", parts)


def _check_role(role: object, place: str) -> Role:
    known = ROLES.get(role) if isinstance(role, str) else None
    if known is not None:
        return known
    raise MessageError(
        f"{place} has the unknown role {role!r}.", remedy=f"Use one of: {', '.join(ROLES)}."
    )


def _parse_content(
    content: object, place: str, policy: IntakePolicy, dropped: list[Dropped], required: bool
) -> tuple[TextPart | ImagePart, ...]:
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
        return _pictures(block, spot, policy)

    reader: BlockReader[TextPart | ImagePart] = BlockReader(picture, TextPart, ACCEPTED_PARTS)
    parts: list[TextPart | ImagePart] = []
    for index, part in enumerate(content):
        spot = f"{place}[{index}]"
        if isinstance(part, TextPart):
            parts.append(part)
        elif isinstance(part, ImagePart):
            parts += picture(part, spot) or ()
        else:
            parts += reader.read(part, spot)
    dropped += reader.dropped
    return tuple(parts)


def _pictures(
    block: object, place: str, policy: IntakePolicy
) -> tuple[TextPart | ImagePart, ...] | None:
    """What a picture or a PDF file becomes; None for other blocks."""
    file = pdf_file(block) if isinstance(block, Mapping) else None
    try:
        if file is None:
            frames = load_part(block, place, policy)
        else:
            frames = load_pdf_file(file, place, policy)
    except ImageRejected as error:
        if policy.pdf == "notice" and error.reason == "pdf_not_allowed":
            return (TextPart(pdf_notice(file or PdfFile())),)
        raise
    return None if frames is None else tuple(map(ImagePart, frames))


def _says_something(parts: Sequence[TextPart | ImagePart]) -> bool:
    return any(isinstance(part, ImagePart) or part.text.strip() for part in parts)
