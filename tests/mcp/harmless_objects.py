"""Objects in the structured answers of tools that sound like files and hold none."""

from __future__ import annotations

import base64
from typing import Any

from guardalign_middleware.testing import picture, png

_SVG = "<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0h9v9'/></svg>"
_SVG_B64 = base64.b64encode(_SVG.encode()).decode()

HARMLESS: dict[str, Any] = {
    "a size in bytes": {"name": "a.png", "mimeType": "image/png", "bytes": 1234},
    "no bytes": {"name": "a.png", "mimeType": "image/png", "bytes": 0, "data": None},
    "a film's size": {"url": "https://e.org/a.mp4", "mime_type": "video/mp4", "bytes": 4},
    "a stored file": {"id": "file-1", "object": "file", "bytes": 120, "filename": "a.png"}
    | {"mime_type": "image/png"},
    "an image's width": {"type": "image", "data": {"width": 3, "height": 2}},
    "an image and whether": {"content_type": "image/png", "image": True},
    "a film's title": {"type": "video", "data": {"title": "x", "views": 3}},
    "films": {"type": "video", "data": [{"title": "x"}, {"title": "y"}]},
    "a name as a file": {"mimeType": "application/pdf", "file": "a.pdf"},
    "a path as a file": {"content_type": "image/png", "file": "/home/me/pictures/2026/logo.png"},
    "a result": {"mimeType": "image/png", "result": "ok"},
    "a result in words": {
        "mimeType": "image/png",
        "result": "The image shows a cat that sits on a mat, and a dog that looks at the cat.",
    },
    "an archive's text": {"content_type": "application/zip", "document": "abc", "bytes": 55},
    "short data": {"type": "file_data", "data": "abc"},
    "an id": {"type": "image", "data": "d41d8cd98f00b204e9800998ecf8427e"},
    "a body of a mail": {"mimeType": "image/png", "filename": "a.png"}
    | {"body": {"attachmentId": "x", "size": 4}},
    "a block of a page": {"object": "block", "type": "image"}
    | {"image": {"type": "file", "file": {"url": "https://e.org/x.png"}, "caption": []}},
    "a long path of words": {"type": "image"}
    | {"image": "assets/images/products/2024/catalogue/summer/blue-shirt"},
    "a digest": {"type": "image", "mimeType": "image/png"}
    | {"data": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    "an icon in SVG": {"favicon": "data:image/svg+xml,<svg/>"},
    "an icon in escaped SVG": {
        "favicon": "data:image/svg+xml,%3Csvg%20viewBox%3D'0%200%209%209'/%3E"
    },
    "an icon in SVG as base64": {"icon": f"data:image/svg+xml;base64,{_SVG_B64}"},
    "words about a data URL": {"help": "data:image/png;base64,... is how a picture begins"},
    "the start of a data URL": {"prefix": "data:image/png;base64,"},
    "a safe picture's size": {"type": "image", "alt": "x", "size": {"data": 3}},
}


def _file(**fields: Any) -> dict[str, Any]:
    return {"name": "a.png", "mimeType": "image/png", "url": "https://e.org/a.png", **fields}


WITH_FILE: dict[str, Any] = {
    "beside its address": lambda data: _file(data=data),
    "beside its size": lambda data: _file(data=data, bytes=1234),
    "in a wrapper": lambda data: {
        "type": "image",
        "source": {"data": data, "media_type": "image/png"},
    },
    "as a data URL": lambda data: {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{data}", "width": 3},
    },
    "as a file": lambda data: {"type": "file", "file": {"file_data": data, "filename": "a.png"}},
    "as a result": lambda data: {"type": "x", "mime_type": "image/png", "result": data, "id": 3},
    "of any type": lambda data: {"type": "file", "mimeType": "application/x-own", "blob": data},
}
"""Objects that hold a picture, by its base64."""

SAFE = base64.b64encode(png(picture())).decode()
