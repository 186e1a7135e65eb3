"""Conversations that an attacker could send: known dialects, mutated in every way.

Plain values only, so that a failing one can be written down; `random` decides everything.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from random import Random
from typing import Any

from PIL import Image

from guardalign_middleware.testing.dialects import blocks_of
from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import in_mode, plain_png, seed_files

ROLES = ("user", "user", "assistant", "system", "tool", "developer", "human", "")
_TYPES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml", "IMAGE/PNG ", "text/html", "")
_KEYS = ("type", "text", "image", "image_url", "url", "path", "base64", "data", "source", "content")
_KEYS += ("mime_type", "file", "file_id", "value", "bytes", "media_type", "role", "images")
_URLS = ("https://images.example/a.png", "file:///etc/passwd", "/etc/passwd", "//x", "s3://b/k")
_WORDS = (
    "",
    " ",
    "a",
    "\0",
    "\ud800",
    "…",
    "data:",
    "data:image/png;base64,",
    "9j/" * 20,
    "{",
    "[[",
)
_MODES = ("1", "L", "P", "RGBA", "CMYK", "I;16", "F", "YCbCr")


def some_file(random: Random) -> bytes:
    """A valid file, a damaged one, or noise."""
    kind = random.random()
    if kind < 0.4:
        return plain_png()
    files = seed_files()
    if kind < 0.9:
        return mutate(random, random.choice(files), files)
    return bytes(random.randrange(256) for _ in range(random.randint(0, 40)))


def some_url(random: Random) -> str:
    """A valid, damaged or nested data URL, or an address."""
    kind = random.random()
    if kind < 0.15:
        return random.choice(_URLS)
    body = base64.b64encode(some_file(random)).decode("ascii")
    url = f"data:{random.choice(_TYPES[:4])};base64,{body}"
    if kind < 0.5:
        return url
    if kind < 0.65:
        return f"data:image/png;base64,{base64.b64encode(url.encode()).decode('ascii')}"
    if kind < 0.75:
        return f"data:image/png;base64,{url}"
    return _bent_text(random, url)


def some_text(random: Random) -> str:
    """Words, words around an image, or JSON that contains blocks."""
    kind = random.random()
    if kind < 0.3:
        return random.choice(_WORDS) * random.choice((1, 3, 200))
    if kind < 0.6:
        return f"before ![]({some_url(random)}) after"
    if kind < 0.8:
        raw = base64.encodebytes(some_file(random)).decode("ascii")
        return f"before {raw} after"
    if kind < 0.85:
        return "[" * 5_000 + some_url(random)
    return _bent_text(random, json.dumps(_jsonable(some_block(random))))


def some_block(random: Random) -> Any:
    """A content block in one of the dialects, usually mutated."""
    kind = random.random()
    block: Any
    if kind < 0.2:
        block = {"type": "text", "text": some_text(random)}
    elif kind < 0.3:
        block = {"type": "image_url", "image_url": {"url": some_url(random)}}
    elif kind < 0.4:
        block = {"type": "image", "image": some_value(random)}
    else:
        forms = blocks_of(some_file(random), random.choice(_TYPES))
        block = random.choice(list(forms.values()))
    return bend(random, block) if random.random() < 0.6 else block


def some_content(random: Random) -> Any:
    """The content of a message: a string, or a list of blocks."""
    if random.random() < 0.2:
        return some_text(random)
    return [some_block(random) for _ in range(random.randint(0, 4))]


def some_messages(random: Random) -> Any:
    """Role/content mappings, rarely something else."""
    messages: Any = [
        {"role": random.choice(ROLES), "content": some_content(random)}
        for _ in range(random.randint(1, 3))
    ]
    messages[0]["role"] = "user"
    return bend(random, messages) if random.random() < 0.2 else messages


def some_value(random: Random) -> Any:
    """Any value of a mapping."""
    return random.choice(_VALUES)(random)


def bend(random: Random, value: Any) -> Any:
    """A copy of the value with one thing changed somewhere inside."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        if random.random() < 0.5:
            return {**value, key: bend(random, value[key])}
        return _bent_mapping(random, value, key)
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        return [*value[:at], bend(random, value[at]), *value[at + 1 :]]
    if isinstance(value, str) and random.random() < 0.5:
        return _bent_text(random, value)
    if random.random() < 0.3:
        return _nested(random, value)
    return some_value(random)


def _bent_mapping(random: Random, value: dict[Any, Any], key: Any) -> dict[Any, Any]:
    kind = random.randrange(4)
    if kind == 0:
        return {name: item for name, item in value.items() if name != key}
    if kind == 1:
        return {random.choice(_KEYS) if name == key else name: value[name] for name in value}
    if kind == 2:
        return {**value, random.choice(_KEYS): some_value(random)}
    return {**value, random.choice(_KEYS): value[key]}


def _bent_text(random: Random, text: str) -> str:
    """The text with characters inserted, removed or moved, wrapped, or in another case."""
    at = random.randint(0, len(text))
    kind = random.randrange(6)
    if kind == 0:
        return (
            text[:at] + random.choice(("\n", " ", ",", "=", "%3D", "\0", "é", "\ud800")) + text[at:]
        )
    if kind == 1:
        return text[:at]
    if kind == 2:
        return text[:at] + text[at + random.randint(1, 5) :]
    if kind == 3:
        return "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    if kind == 4:
        return text.swapcase()
    return text + text


def _nested(random: Random, value: Any) -> Any:
    for _ in range(random.choice((1, 3, 30, 70, 200))):
        value = [value] if random.random() < 0.5 else {random.choice(_KEYS): value}
    return value


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


_VALUES: tuple[Callable[[Random], Any], ...] = (
    lambda random: None,
    lambda random: random.choice((True, 0, -1, 10**30, float("nan"), float("inf"), 1.5)),
    lambda random: random.choice(_WORDS),
    lambda random: some_url(random),
    lambda random: some_file(random),
    lambda random: bytearray(some_file(random)),
    lambda random: random.choice(([], {}, (), set(), object, [[]], {"type": None})),
    lambda random: in_mode(random.choice(_MODES)),
    lambda random: Image.new("RGB", random.choice(((0, 0), (1, 1), (1, 300), (200, 200)))),
)
