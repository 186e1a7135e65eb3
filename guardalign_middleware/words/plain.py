"""Words as they are compared: without case, look-alike letters, invisible signs and gaps."""

from __future__ import annotations

import re
import unicodedata

from guardalign_middleware.words.disguised import undisguised
from guardalign_middleware.words.letters import LATIN, LOOK_ALIKES, SURE

_DIGITS = str.maketrans("013457@$", "oleastas")
# The @ of an address stays.
_DIGIT_IN_WORD = re.compile(r"(?<=[a-z])(?:[013457$]|@(?![\w.-]*\.[a-z]))(?=[a-z])")
_SPACED = re.compile(r"(?<![a-z0-9])(?:[a-z][ .\-_*]){3,}[a-z](?![a-z0-9])")
_WORD = re.compile(r"\w+")


def plain(text: str) -> str:
    r"""The text in lower case, with Latin letters where it is meant to be read so.

    Compatibility forms (NFKC), accents, strokes and hooks are resolved, invisible signs dropped,
    digits between letters and in disguised words read as letters, and words of spaced letters
    joined. Letters of other scripts that look Latin are replaced in words that mix them with Latin
    ones, in words that only they can spell beside as many that mix, and in words that are Latin
    then beyond doubt; other words keep them.

    Examples:
        >>> plain("I G N O R E \u200ball previоus")
        'ignore all previous'
    """
    folded = (text if text.isascii() else _in_latin(_resolved(text))).casefold()
    folded = undisguised(folded)
    folded = _DIGIT_IN_WORD.sub(lambda found: found[0].translate(_DIGITS), folded)
    folded = _SPACED.sub(lambda found: re.sub(r"[^a-z]", "", found[0]), folded)
    return " ".join(folded.split())


def _resolved(text: str) -> str:
    """The text without compatibility forms, accents and invisible signs."""
    decomposed = unicodedata.normalize("NFKD", text.translate(LATIN))
    return "".join(c for c in decomposed if unicodedata.category(c) not in {"Cf", "Mn"})


def _in_latin(text: str) -> str:
    """The text with Latin letters for their look-alikes; words of another script stay."""
    foreign = {word for word in _WORD.findall(text) if not word.isascii()}
    mixed = {word for word in foreign if _mixes(word)}
    sure, whole = (
        {word: latin for word in foreign if (latin := word.translate(letters)).isascii()}
        for letters in (SURE, LOOK_ALIKES)
    )
    latin = sure | {word: word.translate(LOOK_ALIKES) for word in mixed}
    if len(mixed) >= len(whole.keys() - latin.keys()):
        latin |= whole
    return _WORD.sub(lambda found: latin.get(found[0], found[0]), text)


def _mixes(word: str) -> bool:
    return any("a" <= letter <= "z" or "A" <= letter <= "Z" for letter in word) and any(
        ord(letter) in LOOK_ALIKES for letter in word
    )
