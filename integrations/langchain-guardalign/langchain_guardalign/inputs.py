"""What the runnable takes, in the form that the cleaner takes, and back in the caller's form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompt_values import ImagePromptValue, StringPromptValue
from PIL import Image
from pydantic import BaseModel

from guardalign_middleware.errors import MessageError

# The whole string, as one image; in any other string, a data URL is only words.
_DATA_URL = re.compile(r"data:image/[^\s,]{1,200},(?:\S*|(?:[\w+/=-]|\r?\n)*)\s*", re.IGNORECASE)
_INPUTS = "Pass messages, a prompt, a string, a mapping with 'messages', or one image."


@dataclass(frozen=True)
class Input:
    """An input in the form that the cleaner takes.

    Attributes:
        value: what is cleaned.
        restore: returns it in the caller's form.
    """

    value: object
    restore: Callable[[Any], Any]

    @property
    def single(self) -> bool:
        """Whether it is a picture, which has no room for a text."""
        return self.restore is _picture


def input_or_error(value: Any) -> Input | MessageError:
    """Read an input; the error if it is of a kind that cannot be guarded."""
    try:
        return _input(value)
    except MessageError as error:
        return error


def _input(value: Any) -> Input:
    if isinstance(value, bytes | bytearray | Image.Image):
        image = bytes(value) if isinstance(value, bytearray) else value
        return Input({"type": "image", "image": image}, _picture)
    if isinstance(value, str):
        if _DATA_URL.fullmatch(value):
            return Input({"type": "image", "url": value}, _text_or_url)
        return Input(value, _unchanged)
    if isinstance(value, ImagePromptValue):
        return Input({"type": "image_url", "image_url": dict(value.image_url)}, _image_prompt)
    if isinstance(value, BaseMessage):
        return Input(value, _unchanged)
    if isinstance(value, Mapping):
        messages = value.get("messages")
        if isinstance(messages, Sequence) and not isinstance(messages, str | bytes):
            value = {**value, "messages": _messages(messages)}
        return Input(value, _unchanged)
    if isinstance(value, list | tuple):
        return Input(_messages(value), _unchanged)
    if any(cls.__module__ == "langgraph.types" for cls in type(value).__mro__):
        # Without agents there may be no langgraph.
        from langchain_guardalign.state_messages import started

        return Input(started(value), _unchanged)
    if isinstance(value, BaseModel) or is_dataclass(value):
        return Input(value, _unchanged)
    raise MessageError(f"A {type(value).__name__} cannot be guarded.", remedy=_INPUTS)


def _messages(items: Sequence[Any]) -> list[BaseMessage]:
    if any(isinstance(item, Document) for item in items):
        raise MessageError(
            "Documents are no messages.",
            remedy="Put ImageGuardDocumentTransformer behind the retriever: "
            "retriever | ImageGuardDocumentTransformer(...).",
        )
    try:
        return convert_to_messages(items)
    except (NotImplementedError, ValueError) as error:
        raise MessageError(
            f"An item of the list is not a message: {error}", remedy=_INPUTS
        ) from error


def _unchanged(value: Any) -> Any:
    return value


def _picture(block: Mapping[str, Any]) -> Any:
    return block["image"]


def _text_or_url(block: Mapping[str, Any]) -> Any:
    return block["text"] if "text" in block else block["url"]


def _image_prompt(block: Mapping[str, Any]) -> ImagePromptValue | StringPromptValue:
    if "text" in block:
        return StringPromptValue(text=block["text"])
    return ImagePromptValue(image_url=block["image_url"])
