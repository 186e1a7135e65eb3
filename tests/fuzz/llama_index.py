"""LlamaIndex messages: every block is read or refused, wherever its image is."""

from __future__ import annotations

import base64
from pathlib import Path
from random import Random
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.schema import ImageDocument, ImageNode, NodeWithScore
from pydantic import ValidationError

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.intake.messages import parse_messages
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.messages import to_role_content
from llama_index.llms.guardalign.passes import Passes, drawn
from llama_index.llms.guardalign.turns import Refusals, Turns
from tests.fuzz.conversations import some_file, some_text, some_url, some_value
from tests.fuzz.targets import typed

_POLICY = IntakePolicy(max_pixels=20_000)
_RESOLVE = Resolver(_POLICY)
_ROLES = ("user", "user", "assistant", "system", "tool", "developer", "chatbot", "model")


def make_llama_index(random: Random) -> list[ChatMessage] | None:
    """One or two messages; None if LlamaIndex itself refuses them."""
    try:
        return [_message(random) for _ in range(random.randint(1, 2))]
    except (ValidationError, TypeError, ValueError, AttributeError, OSError):
        return None


def check_llama_index(messages: list[ChatMessage] | None) -> str:
    """Every image found is taken in, or there is a typed error."""
    if messages is None:
        return "refused by LlamaIndex"
    try:
        finder, _ = Passes(
            _turns(drawn(messages, _RESOLVE)), _RESOLVE, allow_unscanned=False
        ).read()
        found = [slot for slot in finder.found if not slot.in_words]
        parsed = parse_messages(to_role_content(messages, _RESOLVE), _POLICY)
    except GuardAlignError as error:
        return typed(error)
    taken_in = sum(len(message.images) for message in parsed)
    assert taken_in == len(found), f"{len(found)} images were found and {taken_in} taken in"
    return f"accepted with {min(len(found), 2)} images"


def _turns(messages: list[ChatMessage]) -> Turns:
    return Turns(messages, "raise", "reply", Refusals())


def _message(random: Random) -> ChatMessage:
    message = ChatMessage(
        role=random.choice(_ROLES), blocks=[_block(random) for _ in range(random.randint(0, 3))]
    )
    if random.random() < 0.2:
        # Set afterwards, as old programs do: the constructor would change them.
        message.additional_kwargs["images"] = _loose(random)
    return message


def _block(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(10)
    if kind < 2:
        return TextBlock(text=some_text(random).encode("utf-8", "replace").decode())
    if kind < 6:
        return _image(random)
    if kind == 6:
        mimetype = random.choice(("image/png", " IMAGE/PNG", "application/pdf", "text/plain", None))
        return DocumentBlock(data=_data(random), document_mimetype=mimetype)
    if kind == 7 and depth < 3:
        inner = [_block(random, depth + 1) for _ in range(random.randint(1, 2))]
        if random.random() < 0.1:
            for _ in range(random.choice((40, 100, 2000))):
                inner = [CitableBlock.model_construct(title="a", source="b", content=inner)]
        return CitableBlock.model_construct(title="a", source="b", content=inner)
    if kind == 8:
        return ToolCallBlock(tool_name="see", tool_kwargs=random.choice(({}, {"a": [1]}, "{")))
    return random.choice(
        (ThinkingBlock(content="hm"), AudioBlock(audio=b"a"), VideoBlock(video=b"a"))
    )


def _image(random: Random) -> ImageBlock:
    kind = random.randrange(4)
    if kind == 0:
        return ImageBlock(url=some_url(random))
    if kind == 1:
        return ImageBlock(path=Path(random.choice(("/etc/passwd", "a.png", "x" * 300))))
    block = ImageBlock(image=_data(random), image_mimetype="image/png")
    if random.random() < 0.3:
        # Assignment is not validated, so a field can hold anything.
        field = random.choice(("image", "path", "url"))
        block.__dict__[field] = some_value(random)
    return block


def _data(random: Random) -> bytes:
    raw = some_file(random)
    return random.choice((raw, base64.b64encode(raw), base64.b64encode(raw)[:-1]))


def _loose(random: Random) -> Any:
    node = ImageNode(image=base64.b64encode(some_file(random)).decode())
    items = (
        some_file(random),
        some_url(random),
        node,
        ImageDocument(image=node.image),
        NodeWithScore(node=node),
        _image(random),
        some_value(random),
    )
    return random.choice(([random.choice(items)], list(items[:3]), random.choice(items)))
