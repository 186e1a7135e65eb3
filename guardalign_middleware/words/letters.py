"""Letters that stand for Latin ones: with strokes and hooks, small capitals, Greek and Cyrillic."""

from __future__ import annotations

import re
import unicodedata

# "LATIN SMALL LETTER O WITH STROKE", "LATIN LETTER SMALL CAPITAL G", "LATIN SMALL LETTER TURNED E".
_NAMED = re.compile(
    r"LATIN (?:CAPITAL |SMALL )?(?:LETTER|LIGATURE) (?:[A-Z]+ )*?(?P<base>[A-Z]{1,2})"
    r"(?: BAR| DIGRAPH| PRECEDED BY APOSTROPHE)?(?: WITH .*)?"
)
# Latin-1 to the phonetic alphabet, with the later blocks of Latin letters.
_BLOCKS = (
    range(0x00C0, 0x02B0),
    range(0x1D00, 0x1D26),
    range(0x1D6B, 0x1D9B),
    range(0x1E00, 0x1F00),
    range(0x2C60, 0x2C80),
    range(0xA722, 0xA7CE),
)
# Their names hold no Latin letter, or not the one that they look like. Case does not matter.
_UNNAMED = {
    letter: latin
    for latin, letters in {
        "a": "ƛɑɒ", "b": "Ƅƅ", "d": "Ðð", "dz": "ʤ", "e": "ƏəɚƸƹ", "f": "ʃʆ", "fn": "ʩ", "g": "ƍ",
        "h": "Ƕɧ", "i": "Ɩɩǃ", "k": "ĸ", "l": "ƪɮʅǀ", "ll": "ǁ", "n": "Ŋŋʭ", "o": "ɸʘ",
        "p": "ÞþƿǷ", "r": "Ʀ", "s": "ƧƨƩƼƽ", "ss": "ßẞ", "t": "ǂƾ", "ts": "ʧ", "u": "ƱʊƲ",
        "w": "ɷʬ", "y": "Ɣɣɤ", "z": "ƷʒƺʓƻȜȝǮǯ", "?": "Ɂɂʔʕʖʡʢ",
    }.items()
    for letter in letters
}  # fmt: skip


def _latin_letters() -> dict[int, str]:
    found = {}
    for number in (number for block in _BLOCKS for number in block):
        name = unicodedata.name(chr(number), "")
        if match := _NAMED.fullmatch(name):
            found[number] = match["base"].lower()
    return found | {ord(letter): latin for letter, latin in _UNNAMED.items()}


LATIN = _latin_letters()
"""Other Latin letters → the basic ones that they come from or look like, for `str.translate`."""

# Small and large letters differ in what they look like.
SURE = str.maketrans(
    "аеорсухіјѕһԁԛԝορινακ" + "АВЕКМНОРСТУХІЈЅ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijshdqwopivak" + "abekmhopctyxijs" + "abezhikmnoptyx",
)
"""Letters of other scripts that look just like Latin ones, for `str.translate`."""
LOOK_ALIKES = SURE | str.maketrans(
    "βγδεζηθλμξπσςτυφχψωϝϞϟϠϡ" + "ΓΔΘΛΞΠΣΦΨΩ",
    "bydeznoauenostuoxwwfqqnn" + "raoaeneowo",
)
"""These, and Greek letters that only pass for Latin ones among such, for `str.translate`."""
