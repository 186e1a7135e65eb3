"""The texts that replace an image, the same in the chain and in every adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from guardalign_middleware.errors import GuardAlignError, ImageRejected

UNSAFE: Final = "[image removed: it was found unsafe]"
"""For an unsafe image of which nothing may be shown."""

FILES: Final[Mapping[str | None, str]] = {"file": "file", "pdf": "PDF file", "video": "video"}
"""What a notice calls a file that is no image, by what it is declared."""

_CAUSES: Mapping[str, str] = {
    "not_found": "the file does not exist",
    "is_directory": "the path is a folder",
    "unreadable": "the file cannot be read",
    "empty": "the file is empty",
    "too_many_bytes": "the file is too large",
    "too_many_pixels": "it has too many pixels",
    "extreme_aspect": "it is too long and narrow",
    "unknown_format": "it is no image in a known format",
    "format_not_allowed": "its image format is not accepted",
    "format_not_installed": "its image format cannot be read here",
    "corrupt": "the file is damaged",
    "multiple_frames": "it is animated or has several pages",
    "too_many_frames": "it has too many frames or pages",
    "too_many_images": "the conversation has too many images",
    "unsupported_mode": "its colour mode is not accepted",
    "bad_data_url": "its data URL is damaged",
    "path_not_allowed": "it is a local file, which may not be opened",
    "unsupported_type": "it holds no image bytes that could be checked",
    "pdf_not_allowed": "it is a PDF file, which is not read",
    "encrypted": "it is encrypted",
    "dynamic_form": "it is a dynamic form, which cannot be drawn",
    "too_many_pages": "it has too many pages",
    "too_complex": "drawing its pages takes too long",
    "url_not_allowed": "it is behind a link, which may not be followed",
    "address_not_allowed": "its link leads to an address that is not allowed",
    "too_many_redirects": "its link redirects too often",
    "timed_out": "its link took too long to answer",
    "unreachable": "its link cannot be reached",
}

_REFUSED = re.compile(r"\[(?:image|part|video|PDF file|file(?: [^][]+)?) not shown: [^][]+\]")


def refused(error: GuardAlignError, what: str = "image") -> str:
    """For an input that the guard refuses; names the cause, so that a model can react to it.

    Args:
        error: why it is refused.
        what: the kind of input: "image", one of `FILES`, or "part" for anything else in a message.
    """
    cause = (
        "it could not be checked" if what in {"image", "part"} else "this guard reads pictures only"
    )
    if isinstance(error, ImageRejected):
        cause = _CAUSES.get(error.reason, cause)
    return f"[{what} not shown: {cause}]"


def is_notice(text: str, unsafe: str = UNSAFE) -> bool:
    """Whether a whole text is one that a guard puts in the place of an input.

    Args:
        text: the text.
        unsafe: the notice for an unsafe image, where it is the user's own. `UNSAFE` counts, too.
    """
    return text in {UNSAFE, unsafe} or _REFUSED.fullmatch(text) is not None
