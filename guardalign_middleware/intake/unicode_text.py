"""Refusing text that no tokenizer and no wire format can carry."""

from __future__ import annotations

from guardalign_middleware.errors import MessageError


def check_unicode(text: str, place: str) -> None:
    r"""Check that a text can be written as UTF-8.

    Args:
        text: the text.
        place: where it stands, as in `messages[0]`.

    Raises:
        MessageError: it holds half of a surrogate pair, as JSON like `"\ud83d"` decodes to.
    """
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MessageError(
            f"{place} holds half of a surrogate pair at character {error.start}: "
            f"U+{ord(text[error.start]):04X}.",
            remedy="Send whole Unicode characters; a text was probably cut inside an emoji.",
        ) from error
