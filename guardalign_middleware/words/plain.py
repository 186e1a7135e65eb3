"""Words as they are compared: without case, look-alike letters, invisible signs and gaps."""

from __future__ import annotations

import re
import unicodedata

from guardalign_middleware.words.disguised import undisguised

# Letters of other scripts that look like Latin ones; small and large letters differ in that.
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝορινακ" + "АВЕКМНОРСТУХІЈЅ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "ıɡℓ",
    "aeopcyxijshdqwopivak" + "ABEKMHOPCTYXIJS" + "ABEZHIKMNOPTYX" + "igl",
)
_DIGITS = str.maketrans("013457@$", "oleastas")
# The @ of an address stays.
_DIGIT_IN_WORD = re.compile(r"(?<=[a-z])(?:[013457$]|@(?![\w.-]*\.[a-z]))(?=[a-z])")
_SPACED = re.compile(r"(?<![a-z0-9])(?:[a-z][ .\-_*]){3,}[a-z](?![a-z0-9])")
_WORD = re.compile(r"\w+")


def plain(text: str) -> str:
    r"""The text in lower case, with Latin letters where it is meant to be read so.

    Compatibility forms (NFKC) and accents are resolved, invisible signs dropped, digits between
    letters and in disguised words read as letters, and words of spaced letters joined. Letters of
    other scripts that look Latin are replaced in words that are Latin then; other words keep them.

    Examples:
        >>> plain("I G N O R E \u200ball previоus")
        'ignore all previous'
    """
    decomposed = unicodedata.normalize("NFKD", text)
    kept = "".join(c for c in decomposed if unicodedata.category(c) not in {"Cf", "Mn"})
    folded = _WORD.sub(_latin, kept).casefold()
    folded = undisguised(folded)
    folded = _DIGIT_IN_WORD.sub(lambda found: found[0].translate(_DIGITS), folded)
    folded = _SPACED.sub(lambda found: re.sub(r"[^a-z]", "", found[0]), folded)
    return " ".join(folded.split())


def _latin(found: re.Match[str]) -> str:
    folded = found[0].translate(_LOOK_ALIKES)
    return folded if folded.isascii() else found[0]
