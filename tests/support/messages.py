"""Messages to ask a model, as the runner takes them."""

from __future__ import annotations

import numpy as np

from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart


def picture(seed: int = 0, width: int = 40, height: int = 30) -> CanonicalImage:
    """Seeded noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return CanonicalImage(pixels)


def user(*parts: str | CanonicalImage) -> Message:
    """A user message of texts and images."""
    return Message(
        "user", tuple(TextPart(p) if isinstance(p, str) else ImagePart(p) for p in parts)
    )


def conversations() -> list[list[Message]]:
    """One image, text only with history and system, several images, an image in an older turn."""
    return [
        [user(picture(1), "What is in the picture?")],
        [
            Message("system", (TextPart("Be brief."),)),
            user("Hello"),
            Message("assistant", (TextPart("Hello. How can I help?"),)),
            user("Tell me how to bake bread,\nplease. 🍞 谢谢"),
        ],
        [user(picture(2), picture(3), "x")],
        [
            user(picture(4), "What is this?"),
            Message("assistant", (TextPart("A dog."),)),
            user("Really?"),
        ],
    ]
