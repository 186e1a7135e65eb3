"""JSON to plain values, with one meaning: no doubled names, no NaN, no very deep nesting."""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from typing import Any

from guardalign_middleware.strict.files import MAX_DEPTH, Malformed, check_text, decode

# Possessive, and without need of an end: half a string must not be searched again and again.
_STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS = re.compile(r"[][{}]")


def json_value(data: bytes, *, foreign: bool = False, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON.

    Args:
        data: UTF-8.
        foreign: a file that another library reads by its own rules: doubled names, of which the
            last counts for us both, NaN, infinity and any character are left alone.
        max_depth: how deep lists and objects may be nested.

    Raises:
        Malformed: it is no JSON, too deep, or not strict.
    """
    text = decode(data)
    if foreign:
        return _parsed(text, max_depth)
    value = _parsed(text, max_depth, object_pairs_hook=_unique, **_FINITE)
    # Only an escape makes what UTF-8 and JSON refuse: half a surrogate pair, or a NUL. A picture's
    # megabytes have no backslash, and one character is sought many times faster than two.
    if "\\" in text and "\\u" in text:
        _check_texts(value)
    return value


def passing_value(data: bytes, *, max_depth: int) -> Any:
    """Parse JSON that is passed on to another reader, with its own rules.

    Doubled names, of which the last counts, and any character are left alone, half a surrogate pair
    too. NaN and infinity are not: most readers take no text that holds one.

    Args:
        data: UTF-8, with or without a byte order mark.
        max_depth: how deep lists and objects may be nested.

    Raises:
        Malformed: it is no JSON, too deep, or a number is not finite.
    """
    return _parsed(decode(data.removeprefix(BOM_UTF8)), max_depth, **_FINITE)


def _parsed(text: str, max_depth: int, **hooks: Any) -> Any:
    _check_depth(text, max_depth)
    try:
        return json.loads(text, **hooks)
    except Malformed:
        raise
    except ValueError as error:  # also an integer of thousands of digits
        raise Malformed(f"it is not JSON: {error}") from error


def _check_depth(text: str, most: int) -> None:
    """Count brackets before parsing: the parser's own recursion has no limit of ours."""
    if _count("[", text, most) + _count("{", text, most) <= most:
        return  # as in most requests, whose length is a picture's
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > most:
            raise Malformed(f"it is nested more than {most} levels deep")


def _count(char: str, text: str, most: int) -> int:
    """How often a text holds a character, up to `most` + 1; far faster than `count` if rarely."""
    found, place = 0, text.find(char)
    while place >= 0 and found <= most:
        found += 1
        place = text.find(char, place + 1)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise Malformed(f"{name!r} appears twice")
            seen.add(name)
    return values


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise Malformed(f"{number} is not a finite number")
    return value


_FINITE = {"parse_constant": _finite, "parse_float": _finite}


def _check_texts(value: Any) -> None:
    waiting = [("the file", value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, str):
            check_text(item, place)
        elif isinstance(item, dict):
            for name, inner in item.items():
                waiting += [(f"a name in {place}", name), (name, inner)]
        elif isinstance(item, list):
            waiting += [(place, inner) for inner in item]
