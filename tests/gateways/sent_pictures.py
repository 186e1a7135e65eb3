"""The pictures of the tests, and those that arrived somewhere."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from guardalign_middleware.testing import all_red, has_red, open_png, picture, png

SAFE, UNSAFE, HOPELESS = png(picture()), png(picture(red=True)), png(all_red())
# PNG or JPEG, in either alphabet of base64.
_BASE64 = re.compile(r"(?:iVBOR|/9j/|_9j_)[A-Za-z0-9+/_-]{60,}={0,2}")

_ALPHABET = str.maketrans("-_", "+/")


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def url(raw: bytes) -> str:
    return f"data:image/png;base64,{b64(raw)}"


def arrived(*values: Any) -> list[bool]:
    """Whether each picture in JSON values shows something unsafe."""
    texts = _BASE64.findall(json.dumps(values))
    files = [base64.b64decode(text.translate(_ALPHABET)) for text in texts]
    return [has_red(open_png(file)) for file in files]


def leaks(*values: Any) -> int:
    """How many unsafe pictures there are in JSON values."""
    return sum(arrived(*values))
