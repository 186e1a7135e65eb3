"""Glyphs of icon fonts by concept: the style `icons`.

A concept has a glyph only if a person would recognise it; the other cells stay empty. Logos are
left out, and so are drops: without colour, water looks like blood.
"""

from __future__ import annotations

from fontTools.ttLib import TTFont

MATERIAL = "/usr/share/fonts/truetype/materialdesignicons-webfont/materialdesignicons-webfont.ttf"
FORK_AWESOME = "/usr/share/fonts/truetype/fork-awesome/forkawesome-webfont.ttf"
SYMBOLS = "/usr/share/fonts/truetype/noto/NotoSansSymbols-Bold.ttf"
SYMBOLS_2 = "/usr/share/fonts/truetype/noto/NotoSansSymbols2-Regular.ttf"

# Font → concept → name of the glyph.
NAMED: dict[str, dict[str, str]] = {
    MATERIAL: {
        "syringe": "needle",
        "pill": "pill",
        "cigarette": "smoking",
        "beer": "glass-mug",
        "wine": "glass-tulip",
        "cat": "cat",
        "cow": "cow",
        "duck": "duck",
        "owl": "owl",
        "panda": "panda",
        "pig": "pig",
        "fish": "fish",
        "apple": "food-apple",
        "carrot": "carrot",
        "popcorn": "popcorn",
        "pizza": "pizza",
        "cookie": "cookie",
        "car": "car",
        "taxi": "taxi",
        "bus": "bus",
        "ambulance": "ambulance",
        "truck": "truck",
        "locomotive": "train",
        "rocket": "rocket",
        "airplane": "airplane",
        "anchor": "anchor",
        "evergreen": "pine-tree",
        "tree": "tree",
        "star": "star",
        "cloud": "cloud",
        "snowman": "snowman",
        "house": "home",
        "hospital": "hospital-building",
        "castle": "castle",
        "church": "church",
        "factory": "factory",
        "wrench": "wrench",
        "scissors": "content-cut",
        "gear": "settings",
        "flashlight": "flashlight",
        "magnet": "magnet",
        "guitar": "guitar-electric",
        "violin": "violin",
        "saxophone": "saxophone",
        "microphone": "microphone",
        "headphones": "headphones",
        "soccer": "soccer",
        "tennis": "tennis",
        "bowling": "bowling",
        "target": "bullseye",
        "dice": "dice-5",
        "shirt": "tshirt-crew",
        "crown": "crown",
        "umbrella": "umbrella",
        "phone": "cellphone-android",
        "laptop": "laptop",
        "camera": "camera",
        "clock": "alarm",
        "key": "key",
        "lock": "lock",
        "pencil": "lead-pencil",
        "box": "package-variant-closed",
        "bulb": "lightbulb",
        "bell": "bell",
        "microscope": "microscope",
        "thermometer": "thermometer",
    },
    FORK_AWESOME: {
        "bomb": "bomb",
        "rabbit": "bunny",
        "lemon": "lemon-o",
        "cake": "birthday-cake",
        "bicycle": "bicycle",
        "ship": "ship",
        "moon": "moon",
        "snowflake": "snowflake-o",
        "office": "building",
        "chain": "link",
        "trophy": "trophy",
        "book": "book",
        "gift": "gift",
        "bed": "bed",
        "envelope": "envelope",
        "magnifier": "search",
    },
}

# Font → concepts that it draws at their own Unicode character.
ENCODED: dict[str, tuple[str, ...]] = {
    SYMBOLS: ("swords", "urn", "sailboat", "tent", "skate"),
    SYMBOLS_2: (
        "dagger",
        "axe",
        "crossbones",
        "tombstone",
        "cocktail",
        "satellite",
        "sun",
        "pickaxe",
        "clamp",
        "saw",
        "baseball",
        "glasses",
        "television",
        "watch",
        "candle",
    ),
}


def glyphs(characters: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Font file and character of every concept with an icon.

    Args:
        characters: Unicode character by concept.
    """
    found = {name: (font, characters[name]) for font, names in ENCODED.items() for name in names}
    for font, table in NAMED.items():
        character_of = {glyph: chr(code) for code, glyph in TTFont(font).getBestCmap().items()}
        found |= {name: (font, character_of[glyph]) for name, glyph in table.items()}
    return found
