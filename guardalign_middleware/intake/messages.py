"""Parsing role/content dictionaries of chat APIs into typed messages with loaded images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.part import ACCEPTED_PARTS, load_part
from guardalign_middleware.types import ImagePart, Message, Role, TextPart

_ROLES: tuple[Role, ...] = get_args(Role)
_DEFAULT_POLICY = IntakePolicy()


def parse_messages(
    messages: str | Sequence[Mapping[str, Any] | Message], policy: IntakePolicy = _DEFAULT_POLICY
) -> tuple[Message, ...]:
    """Turn a conversation into typed messages, loading images in every position.

    A bare string is one user message. `content` is a string or a list of parts. Unknown parts are
    errors, because dropping or forwarding them could carry an image past the guard. A file with
    several frames is rejected; with `policy.frames="scan_all"`, its frames take its place, each as
    a separate image.

    Args:
        messages: dictionaries with `role` and `content`, `Message` objects, or a mix.
        policy: caps and formats for the images, and whether a part may name a local file.

    Raises:
        MessageError: a wrong role, an empty message, an unknown part, or no user message.
        ImageRejected: an image that the policy does not accept.
            Both errors name the place, as in `messages[0].content[1]`.
    """
    parsed = tuple(
        _parse_message(message, f"messages[{index}]", policy)
        for index, message in enumerate(_as_list(messages))
    )
    if not any(message.role == "user" for message in parsed):
        raise MessageError(
            "There is no user message to answer.",
            remedy='Add {"role": "user", "content": …}.',
        )
    return parsed


def _as_list(messages: object) -> Sequence[object]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, bytes | bytearray) or not isinstance(messages, Sequence):
        raise MessageError(
            f"messages should be a list. Received {type(messages).__name__}.",
            remedy='Pass [{"role": "user", "content": …}].',
        )
    return messages


def _parse_message(message: object, place: str, policy: IntakePolicy) -> Message:
    if isinstance(message, Message):
        role: object = message.role
        content: object = message.parts
    elif isinstance(message, Mapping):
        missing = [key for key in ("role", "content") if key not in message]
        if missing:
            raise MessageError(
                f"{place} has no {' and no '.join(missing)}.",
                remedy='Write {"role": "user", "content": …}.',
            )
        role, content = message["role"], message["content"]
    else:
        raise MessageError(
            f"{place} should be a mapping with role and content. Received {type(message).__name__}."
        )
    checked_role = _check_role(role, place)
    parts = _parse_content(content, f"{place}.content", policy)
    # Tools and assistants may answer with nothing; an empty question is a mistake.
    if checked_role in {"user", "system"} and not any(map(_says_something, parts)):
        raise MessageError(
            f"{place} is empty.", remedy="Add text or an image, or leave the message out."
        )
    return Message(checked_role, parts)


def _check_role(role: object, place: str) -> Role:
    for known in _ROLES:
        if role == known:
            return known
    raise MessageError(
        f"{place} has the unknown role {role!r}.", remedy=f"Use one of: {', '.join(_ROLES)}."
    )


def _parse_content(
    content: object, place: str, policy: IntakePolicy
) -> tuple[TextPart | ImagePart, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        raise MessageError(
            f"{place} should be a string or a list of parts. Received {type(content).__name__}.",
            remedy=ACCEPTED_PARTS,
        )
    if not content:
        raise MessageError(f"{place} has no parts.", remedy=ACCEPTED_PARTS)
    return tuple(
        parsed
        for index, part in enumerate(content)
        for parsed in _parse_part(part, f"{place}[{index}]", policy)
    )


def _parse_part(
    part: object, place: str, policy: IntakePolicy
) -> tuple[TextPart] | tuple[ImagePart, ...]:
    if isinstance(part, TextPart):
        return (part,)
    if isinstance(part, str):
        return (TextPart(part),)
    if isinstance(part, Mapping) and part.get("type") == "text":
        if not isinstance(part.get("text"), str):
            raise MessageError(f"{place} has no string under 'text'.", remedy=ACCEPTED_PARTS)
        return (TextPart(part["text"]),)
    frames = load_part(part, place, policy)
    if frames is not None:
        return tuple(map(ImagePart, frames))
    if isinstance(part, Mapping):
        kind = part.get("type")
        found = f"the unknown type {kind!r}" if isinstance(kind, str) else "no type"
        raise MessageError(f"{place} has {found}.", remedy=ACCEPTED_PARTS)
    raise MessageError(f"{place} is a {type(part).__name__}.", remedy=ACCEPTED_PARTS)


def _says_something(part: TextPart | ImagePart) -> bool:
    return isinstance(part, ImagePart) or bool(part.text.strip())
