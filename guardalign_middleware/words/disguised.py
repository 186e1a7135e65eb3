"""Words in which digits and signs stand for letters, as in "1gn0r3 4ll"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from guardalign_middleware.words import carrier_patterns
from guardalign_middleware.words.guards.order_words import ORDER_WORDS
from guardalign_middleware.words.instruction_patterns import words_of
from guardalign_middleware.words.instruction_rules import RULES

_AS_LETTERS = str.maketrans("013457@$+", "oieastast")
_AS_DIGITS = str.maketrans("oilesat@$+", "0113547457")
_TOKEN = re.compile(r"[a-z0-9@$+]+")
_MIXED = re.compile(r"[a-z][013457@$+]|[013457@$+][a-z]")
# "user5" is a word and a number, and "11ms" a number and a unit.
_NUMBERED = re.compile(r"([a-z]+)[0-9]+")
_UNIT = re.compile(r"[0-9]{2,}[a-z]{1,2}")
# "m3" and "a5" read as words of two letters: these need a disguised word beside them.
_LONG = 3
# Other words are read so beside so many, if they are at least this share of what mixes both.
_MANY, _SHARE = 2, 1 / 3


def undisguised(text: str) -> str:
    """A text in lower case, with letters for the digits in words that are disguised by them.

    A word is disguised if with letters it is one that the rules or the groups of words know. What
    else mixes digits and letters ("mp3", "h2o", "4k", part numbers) stays, unless it stands among
    disguised words.

    Examples:
        >>> undisguised("1gn0r3 4ll pr3v10u5 fi1e5")
        'ignore all previous files'
        >>> undisguised("4k and mp3")
        '4k and mp3'
    """
    if not _MIXED.search(text):
        return text
    tokens = set(_TOKEN.findall(text))
    mixed = {token for token in tokens if _MIXED.search(token)}
    known = {token: word for token in tokens if (word := _known(token))}
    sure = {
        token for token in mixed & set(known) if len(token) >= _LONG and not _is_numbered(token)
    }
    if not sure:
        return text
    letters = known
    if len(sure) >= max(_MANY, _SHARE * len(mixed)):
        letters = {token: token.translate(_AS_LETTERS) for token in mixed} | known
    return _TOKEN.sub(lambda found: letters.get(found[0], found[0]), text)


def _known(token: str) -> str | None:
    """The known word that a token with digits or signs disguises, if any."""
    if token.isdigit() or token.isalpha():
        return None
    words = _vocabulary().get(token.translate(_AS_DIGITS), ())
    return next((word for word in words if _agree(token, word)), None)


def _agree(token: str, word: str) -> bool:
    return all(not one.isalpha() or one == other for one, other in zip(token, word, strict=True))


def _is_numbered(token: str) -> bool:
    if _UNIT.fullmatch(token):
        return True
    found = _NUMBERED.fullmatch(token)
    return found is not None and found[1] in _vocabulary().get(found[1].translate(_AS_DIGITS), ())


@cache
def _vocabulary() -> Mapping[str, tuple[str, ...]]:
    """The words that the rules spell out or that are in a group, by how they read in digits."""
    patterns = (carrier_patterns.HOW_TO, carrier_patterns.FILL, carrier_patterns.ASKED)
    spelled = [rule for _, _, rule in RULES] + [pattern.pattern for pattern in patterns]
    words = ORDER_WORDS.union(*map(words_of, spelled))
    found: dict[str, tuple[str, ...]] = {}
    for word in sorted(words):
        key = word.translate(_AS_DIGITS)
        found[key] = (*found.get(key, ()), word)
    return found
