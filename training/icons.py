"""Which glyphs of icon fonts draw which concepts: the style `icons`.

A concept is here only if a person who sees the glyph would name it so; the others stay empty.
Logos are left out. So are drops: without its colour, one of water is one of blood.
"""

from __future__ import annotations

from fontTools.ttLib import TTFont

MATERIAL = "/usr/share/fonts/truetype/materialdesignicons-webfont/materialdesignicons-webfont.ttf"
FORK_AWESOME = "/usr/share/fonts/truetype/fork-awesome/forkawesome-webfont.ttf"
SYMBOLS = "/usr/share/fonts/truetype/noto/NotoSansSymbols-Bold.ttf"
SYMBOLS_2 = "/usr/share/fonts/truetype/noto/NotoSansSymbols2-Regular.ttf"

# Concept to the glyph's name in the font.
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

# Concepts that a font draws at their own character.
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
    """Font file and character of every concept that has an icon.

    Args:
        characters: Unicode characters of the concepts, by name.
    """
    found = {name: (font, characters[name]) for font, names in ENCODED.items() for name in names}
    for font, table in NAMED.items():
        character_of = {glyph: chr(code) for code, glyph in TTFont(font).getBestCmap().items()}
        found |= {name: (font, character_of[glyph]) for name, glyph in table.items()}
    return found
