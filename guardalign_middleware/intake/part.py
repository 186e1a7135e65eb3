"""The only reader of image parts, for messages, nodes and documents of every framework.

A part is an `ImagePart` or a mapping in one of the core's forms. Adapters translate the dialects of
their frameworks into these forms and never decode anything themselves, so a part gets the same
verdict or the same error everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError, ImageRejected, MessageError
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.load import (
    is_remote_url,
    load_base64,
    load_frames,
    read_source,
    url_not_allowed,
)
from guardalign_middleware.types import CanonicalImage, ImagePart

Frames = tuple[CanonicalImage, ...]
Fetch = Callable[[str], bytes]
"""Downloads an http(s) URL; it decides which hosts, sizes and redirects are acceptable."""

ACCEPTED_PARTS = (
    'Accepted parts: a string; {"type": "text", "text": …}; '
    '{"type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}; '
    '{"type": "image", "base64": …, "mime_type": "image/png"}; '
    '{"type": "image", "image": bytes or PIL image}; '
    '{"type": "image", "path": …} if intake.allow_paths is set.'
)
_IMAGE_KEYS = ("base64", "image", "url", "path")


def load_part(
    part: object, place: str, policy: IntakePolicy, *, fetch: Fetch | None = None
) -> Frames | None:
    """Read every frame of an image part.

    Args:
        part: `{"type": "image_url", …}`, `{"type": "image", …}` or an `ImagePart`.
        place: position of the part, as in `messages[0].content[1]`; every error names it.
        policy: caps and formats, and whether a part may name a file or URL.
        fetch: downloads http(s) URLs, replacing the policy's rules for them.

    Returns:
        The frames in order, one for a still image; None if the part is of another kind.

    Raises:
        MessageError: the image part is malformed.
        ImageRejected: the policy does not accept the image.
    """
    with naming(place):
        return _load(part, place, policy, fetch)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Name the place in every error about a file that is read meanwhile.

    Raises:
        ImageRejected: in place of one without the place.
    """
    try:
        yield
    except ImageRejected as error:
        raise ImageRejected(
            f"{place}: {error.message}",
            reason=error.reason,
            source=error.source,
            remedy=error.remedy,
        ) from error


def load_picture(
    part: object, place: str, policy: IntakePolicy, *, fetch: Fetch | None = None
) -> CanonicalImage:
    """Read an image part where there is room for one picture; for the arguments, see `load_part`.

    Raises:
        MessageError: the part is not an image part, or is malformed.
        ImageRejected: the policy does not accept the image; `multiple_frames` for a file with
            several frames, because a model might look at a different one.
    """
    frames = load_part(part, place, policy, fetch=fetch)
    if frames is None:
        raise MessageError(f"{place} is not an image part.", remedy=ACCEPTED_PARTS)
    if len(frames) > 1:
        raise ImageRejected(
            f"{place} holds a file with {len(frames)} frames.",
            reason="multiple_frames",
            source=place,
            remedy="Pass the frames as separate images.",
        )
    return frames[0]


def is_image_part(part: object) -> bool:
    """Whether `load_part` takes it for an image, which may be malformed."""
    if isinstance(part, ImagePart):
        return True
    return isinstance(part, Mapping) and block_type(part) in {"image_url", "image"}


def _load(part: object, place: str, policy: IntakePolicy, fetch: Fetch | None) -> Frames | None:
    if isinstance(part, ImagePart):
        return load_frames(part.image, policy)
    if isinstance(part, Mapping) and block_type(part) == "image_url":
        return _from_image_url(part, place, policy, fetch)
    if isinstance(part, Mapping) and block_type(part) == "image":
        return _from_image_block(part, place, policy, fetch)
    return None


def block_type(block: Mapping[str, Any]) -> str | None:
    """The block's `type`; None if it is absent or not a string."""
    kind = block.get("type")
    return kind if isinstance(kind, str) else None


def _from_image_url(
    part: Mapping[str, Any], place: str, policy: IntakePolicy, fetch: Fetch | None
) -> Frames:
    value = part.get("image_url")
    url = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(url, str):
        raise MessageError(f"{place} has no url string under 'image_url'.", remedy=ACCEPTED_PARTS)
    return _from_string(url, policy, fetch)


def _from_image_block(
    part: Mapping[str, Any], place: str, policy: IntakePolicy, fetch: Fetch | None
) -> Frames:
    given = [key for key in _IMAGE_KEYS if part.get(key) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise MessageError(
            f"{place} should have exactly one of {', '.join(_IMAGE_KEYS)}. Received {found}.",
            remedy=ACCEPTED_PARTS,
        )
    key = given[0]
    value = part[key]
    if key == "base64":
        mime_type = part.get("mime_type")
        if not isinstance(value, str) or not isinstance(mime_type, str):
            raise MessageError(
                f"{place} should have strings under 'base64' and 'mime_type'.",
                remedy=ACCEPTED_PARTS,
            )
        return load_base64(value, mime_type, policy)
    if key == "image" and isinstance(value, bytes | bytearray | Image.Image | CanonicalImage):
        return load_frames(value, policy)
    if key in {"image", "url"} and isinstance(value, str):
        return _from_string(value, policy, fetch)
    if key in {"image", "path"} and isinstance(value, str | os.PathLike):
        return _from_path(os.fspath(value), policy)
    raise MessageError(
        f"{place} has a {type(value).__name__} under {key!r}.", remedy=ACCEPTED_PARTS
    )


def _from_string(text: str, policy: IntakePolicy, fetch: Fetch | None) -> Frames:
    """Read a data URL, a file URL or a path; other URLs only if the policy or `fetch` allows it."""
    if is_data_url(text):
        return load_frames(text, policy)
    path = _local_path(text)
    if path is not None:
        return _from_path(path, policy)
    if fetch is not None and text.lower().startswith(("http://", "https://")):
        return load_frames(_fetched(text, fetch), policy)
    return load_frames(text, policy)


def read_address(text: str, policy: IntakePolicy, fetch: Fetch | None) -> bytes:
    """The bytes of the file at a URL or path, where policy or `fetch` allows it.

    Raises:
        ImageRejected: `path_not_allowed`, `url_not_allowed`, or what reading the file raises.
    """
    path = _local_path(text)
    if path is not None:
        _check_paths_allowed(policy)
        return read_source(path, policy).data
    if fetch is not None and text.lower().startswith(("http://", "https://")):
        return _fetched(text, fetch)
    return read_source(text, policy).data


def _local_path(text: str) -> str | None:
    """The path in a path or `file:` URL of this machine; None for other URLs."""
    if not is_remote_url(text):
        return text
    if text[:7].lower() != "file://":
        return None
    location = urlsplit(text)
    if location.netloc not in {"", "localhost"}:
        raise url_not_allowed(text)
    return unquote(location.path)


def _fetched(url: str, fetch: Fetch) -> bytes:
    data = fetch(url)
    if not isinstance(data, bytes):
        raise ConfigError(
            f"fetch should return bytes. Received {type(data).__name__}.",
            remedy="Return the body of the response.",
        )
    return data


def _from_path(path: str | bytes, policy: IntakePolicy) -> Frames:
    _check_paths_allowed(policy)
    return load_frames(os.fsdecode(path), policy)


def _check_paths_allowed(policy: IntakePolicy) -> None:
    if not policy.allow_paths:
        raise ImageRejected(
            "A message may not name a local file.",
            reason="path_not_allowed",
            source="<path>",
            remedy="Read the file and pass its bytes, or set intake.allow_paths.",
        )
