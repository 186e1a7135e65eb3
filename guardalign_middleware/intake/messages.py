"""Role/content dictionaries, as chat APIs write them, to typed messages with loaded images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.load import (
    is_data_url,
    is_remote_url,
    load_base64,
    load_frames,
    url_not_allowed,
)
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, Role, TextPart

Frames = tuple[CanonicalImage, ...]

_ROLES: tuple[Role, ...] = get_args(Role)
_IMAGE_KEYS = ("base64", "image", "url", "path")
_ACCEPTED = (
    'Accepted parts: a string; {"type": "text", "text": …}; '
    '{"type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}; '
    '{"type": "image", "base64": …, "mime_type": "image/png"}; '
    '{"type": "image", "image": bytes or PIL image}; '
    '{"type": "image", "path": …} if intake.allow_paths is set.'
)
_DEFAULT_POLICY = IntakePolicy()


def parse_messages(
    messages: str | Sequence[Mapping[str, Any] | Message], policy: IntakePolicy = _DEFAULT_POLICY
) -> tuple[Message, ...]:
    """Turn a conversation into typed messages and take every image in, wherever it stands.

    A bare string is one user message. `content` is a string or a list of parts. Nothing unknown is
    dropped: a part that is not understood could carry an image past the guard. A file of several
    frames is refused; with `policy.frames="scan_all"` each frame becomes an image of its own, in
    order, in the place of the file.

    Args:
        messages: dictionaries with `role` and `content`, or finished `Message` objects, or a mix.
        policy: caps and formats for the images, and whether a part may name a local file.

    Raises:
        MessageError: a wrong role, an empty message, an unknown part, or no user message.
        ImageRejected: an image that the policy does not accept. Both name the place, as in
            `messages[0].content[1]`.
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
    # Tools and assistants do answer with nothing; a question without words or image is a mistake.
    if checked_role in {"user", "system"} and not any(map(_says_something, parts)):
        raise MessageError(
            f"{place} is empty.", remedy="Give it some text or an image, or leave it out."
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
            remedy=_ACCEPTED,
        )
    if not content:
        raise MessageError(f"{place} has no parts.", remedy=_ACCEPTED)
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
            raise MessageError(f"{place} has no string under 'text'.", remedy=_ACCEPTED)
        return (TextPart(part["text"]),)
    try:
        frames = _parse_image(part, place, policy)
    except ImageRejected as error:
        raise ImageRejected(
            f"{place}: {error.message}",
            reason=error.reason,
            source=error.source,
            remedy=error.remedy,
        ) from error
    if frames is not None:
        return tuple(map(ImagePart, frames))
    if isinstance(part, Mapping):
        kind = part.get("type")
        found = f"the unknown type {kind!r}" if isinstance(kind, str) else "no type"
        raise MessageError(f"{place} has {found}.", remedy=_ACCEPTED)
    raise MessageError(f"{place} is a {type(part).__name__}.", remedy=_ACCEPTED)


def _parse_image(part: object, place: str, policy: IntakePolicy) -> Frames | None:
    """Every frame of an image part; None when the part is of another kind."""
    if isinstance(part, ImagePart):
        return load_frames(part.image, policy)
    if isinstance(part, Mapping) and part.get("type") == "image_url":
        return _from_image_url(part, place, policy)
    if isinstance(part, Mapping) and part.get("type") == "image":
        return _from_image_block(part, place, policy)
    return None


def _from_image_url(part: Mapping[str, Any], place: str, policy: IntakePolicy) -> Frames:
    value = part.get("image_url")
    url = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(url, str):
        raise MessageError(f"{place} has no url string under 'image_url'.", remedy=_ACCEPTED)
    return _from_string(url, policy)


def _from_image_block(part: Mapping[str, Any], place: str, policy: IntakePolicy) -> Frames:
    given = [key for key in _IMAGE_KEYS if part.get(key) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise MessageError(
            f"{place} should have exactly one of {', '.join(_IMAGE_KEYS)}. Received {found}.",
            remedy=_ACCEPTED,
        )
    key = given[0]
    value = part[key]
    if key == "base64":
        mime_type = part.get("mime_type")
        if not isinstance(value, str) or not isinstance(mime_type, str):
            raise MessageError(
                f"{place} should have strings under 'base64' and 'mime_type'.", remedy=_ACCEPTED
            )
        return load_base64(value, mime_type, policy)
    if key == "image" and isinstance(value, bytes | bytearray | Image.Image | CanonicalImage):
        return load_frames(value, policy)
    if key in {"image", "url"} and isinstance(value, str):
        return _from_string(value, policy)
    if key in {"image", "path"} and isinstance(value, str | os.PathLike):
        return _from_path(os.fspath(value), policy)
    raise MessageError(f"{place} has a {type(value).__name__} under {key!r}.", remedy=_ACCEPTED)


def _from_string(text: str, policy: IntakePolicy) -> Frames:
    """A data URL, a file URL or a path; another URL only if the policy names its host."""
    if is_data_url(text):
        return load_frames(text, policy)
    if not is_remote_url(text):
        return _from_path(text, policy)
    if text[:7].lower() != "file://":
        return load_frames(text, policy)
    location = urlsplit(text)
    if location.netloc not in {"", "localhost"}:
        raise url_not_allowed(text)
    return _from_path(unquote(location.path), policy)


def _from_path(path: str | bytes, policy: IntakePolicy) -> Frames:
    if not policy.allow_paths:
        raise ImageRejected(
            "A message may not name a local file.",
            reason="path_not_allowed",
            source="<path>",
            remedy="Read the file and pass its bytes, or set intake.allow_paths.",
        )
    return load_frames(os.fsdecode(path), policy)


def _says_something(part: TextPart | ImagePart) -> bool:
    return isinstance(part, ImagePart) or bool(part.text.strip())
