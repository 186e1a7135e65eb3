"""What a declared media type or a file name says that a file is."""

from __future__ import annotations

import mimetypes
from typing import Literal

MediaKind = Literal["text", "image", "audio", "pdf", "video", "file"]
"""`file` is everything else, such as an archive or an office document, and what says nothing."""

_TEXT = frozenset(
    "application/json application/ld+json application/xml application/xhtml+xml application/yaml"
    " application/x-yaml application/toml application/javascript application/x-javascript"
    " application/typescript application/sql application/x-sh application/x-ndjson"
    " application/jsonl".split()
)
# Bedrock and OpenAI write a bare format.
_FORMATS: dict[str, MediaKind] = {
    **dict.fromkeys("png jpeg jpg gif webp bmp tiff tif avif heic heif".split(), "image"),
    **dict.fromkeys("txt md csv html json xml yaml".split(), "text"),
    **dict.fromkeys("mp3 wav flac ogg opus aac m4a pcm16 g711_ulaw g711_alaw".split(), "audio"),
    **dict.fromkeys("mp4 m4v mov mkv webm flv avi mpeg mpg wmv three_gp".split(), "video"),
    "pdf": "pdf",
}
_FAMILIES: dict[str, MediaKind] = {
    "text": "text",
    "image": "image",
    "audio": "audio",
    "video": "video",
}


def media_kind(declared: object, name: object = None) -> MediaKind:
    """What a file is by its declared type, or by its name if the type says nothing.

    Args:
        declared: a media type such as "image/png", with or without parameters, or a bare format
            such as "png"; anything else says nothing.
        name: a file name, a path or a URL.

    Returns:
        `file` if neither says anything.
    """
    kind = stated_kind(declared)
    if kind is not None:
        return kind
    if not isinstance(name, str):
        return "file"
    return stated_kind(mimetypes.guess_type(name, strict=False)[0]) or "file"


def stated_kind(declared: object) -> MediaKind | None:
    """What a media type or a bare format says that a file is; None if it says nothing."""
    if not isinstance(declared, str):
        return None
    media = declared.split(";", 1)[0].strip().lower()
    if media in _FORMATS:
        return _FORMATS[media]
    # SVG is text that a program has to draw, and no model's converter does.
    if media in _TEXT or media.endswith(("+json", "+xml")):
        return "text"
    if media in {"application/pdf", "application/x-pdf"}:
        return "pdf"
    family = _FAMILIES.get(media.split("/", 1)[0]) if "/" in media else None
    if family is not None:
        return family
    # Uploads of unknown content are declared as streams of bytes: the name may say more.
    return None if media in {"", "application/octet-stream"} else "file"
