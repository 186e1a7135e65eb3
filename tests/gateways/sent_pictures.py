"""The pictures of the tests, and those that arrived somewhere."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from guardalign_middleware.testing import all_red, has_red, open_png, picture, png

SAFE, UNSAFE, HOPELESS = png(picture()), png(picture(red=True)), png(all_red())
_BASE64 = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}")


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def url(raw: bytes) -> str:
    return f"data:image/png;base64,{b64(raw)}"


def arrived(*values: Any) -> list[bool]:
    """Whether each picture in JSON values shows something unsafe."""
    texts = _BASE64.findall(json.dumps(values))
    return [has_red(open_png(base64.b64decode(text))) for text in texts]


def leaks(*values: Any) -> int:
    """How many unsafe pictures there are in JSON values."""
    return sum(arrived(*values))
