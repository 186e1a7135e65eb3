"""One image part is read the same way through every door: same verdict, or same error and code.

The doors are the core's chain, LangChain and LlamaIndex. Each case of the table is one part in the
core's form; a door writes it as its framework does and reports what a model would be shown.
"""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage, ChatResponse, ImageBlock, MockLLM
from pydantic import PrivateAttr

from guardalign_middleware import ConfigError, ImageGuard, ImageRejected
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.testing import (
    EchoRunner,
    data_url,
    open_png,
    picture,
    png,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import (
    ChatGuardAlign,
    GuardAlignMiddleware,
    ImageGuardDocumentTransformer,
    ImageGuardRunnable,
)
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from tests.support.animations import animation
from tests.support.pictures import encode

PLAIN, UNSAFE = picture(), picture(red=True)
FILE = "a picture.png"

Part = dict[str, Any]
Outcome = tuple[str, str]
"""The decision and the digest of what a model is shown, or the error's class and reason code."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wrapped(text: str) -> str:
    """Base64 as mail and many encoders write it."""
    return "\r\n".join(textwrap.wrap(text, 76))


def bare(text: str, mime_type: str = "image/png") -> Part:
    return {"type": "image", "base64": text, "mime_type": mime_type}


def at(url: str) -> Part:
    return {"type": "image_url", "image_url": {"url": url}}


def raw(data: bytes) -> Part:
    return {"type": "image", "image": data}


def path_of(folder: Path) -> Part:
    return at(str(folder / FILE))


def file_url_of(folder: Path) -> Part:
    return at((folder / FILE).as_uri())


JPEG = encode(PLAIN.to_pil(), "JPEG")
CUT = png(PLAIN)[:-40]
FRAMES = animation(PLAIN, UNSAFE, image_format="GIF")
ALLOWED: Outcome = ("allow", PLAIN.sha256)
CLEANED = red_guard().sanitize(UNSAFE).image
assert CLEANED is not None
MASKED: Outcome = ("mask", CLEANED.sha256)


def rejected(reason: str) -> Outcome:
    return (ImageRejected.__name__, reason)


@dataclass(frozen=True)
class Case:
    """A part, made in a folder that holds a picture, and what becomes of it."""

    part: Callable[[Path], Part]
    outcome: Outcome
    paths: bool = False


def fixed(part: Part, outcome: Outcome) -> Case:
    return Case(lambda _: part, outcome)


CASES = {
    "bytes": fixed(raw(png(PLAIN)), ALLOWED),
    "unsafe bytes": fixed(raw(png(UNSAFE)), MASKED),
    "no bytes": fixed(raw(b""), rejected("empty")),
    "half a PNG": fixed(raw(CUT), rejected("corrupt")),
    "bytes of a text": fixed(raw(b"just words"), rejected("unknown_format")),
    "several frames": fixed(raw(FRAMES), rejected("multiple_frames")),
    "base64": fixed(bare(b64(png(UNSAFE))), MASKED),
    "base64 with line ends": fixed(bare(wrapped(b64(png(UNSAFE)))), MASKED),
    "base64 with a space": fixed(bare(f" {b64(png(PLAIN))}"), rejected("bad_data_url")),
    "base64 with junk": fixed(bare(f"{b64(png(PLAIN))[:40]}*"), rejected("bad_data_url")),
    "base64 of nothing": fixed(bare(""), rejected("empty")),
    "JPEG called PNG": fixed(bare(b64(JPEG)), rejected("bad_data_url")),
    "PNG called JPEG": fixed(bare(b64(png(PLAIN)), "image/jpeg"), rejected("bad_data_url")),
    "an unknown type": fixed(bare(b64(png(PLAIN)), "image/x-foo"), rejected("bad_data_url")),
    "data URL": fixed(at(data_url(UNSAFE)), MASKED),
    "data URL in capitals": fixed(at(f"DATA:IMAGE/PNG;BASE64,{b64(png(PLAIN))}"), ALLOWED),
    "data URL with line ends": fixed(
        at(f"data:image/png;base64,{wrapped(b64(png(PLAIN)))}"), ALLOWED
    ),
    "data URL with parameters": fixed(
        at(f"data:image/png;name=a.png;base64,{b64(png(PLAIN))}"), rejected("bad_data_url")
    ),
    "data URL without base64": fixed(at("data:image/png,abc"), rejected("bad_data_url")),
    "data URL of a text": fixed(at("data:text/plain;base64,aGk="), rejected("bad_data_url")),
    "data URL of nothing": fixed(at("data:image/png;base64,"), rejected("empty")),
    "data URL of a lying type": fixed(
        at(f"data:image/webp;base64,{b64(png(PLAIN))}"), rejected("bad_data_url")
    ),
    "data URL of several frames": fixed(
        at(f"data:image/gif;base64,{b64(FRAMES)}"), rejected("multiple_frames")
    ),
    "a path": Case(path_of, rejected("path_not_allowed")),
    "a path, allowed": Case(path_of, ALLOWED, paths=True),
    "a path to nothing, allowed": Case(
        lambda folder: at(str(folder / "absent.png")), rejected("not_found"), paths=True
    ),
    "a file URL": Case(file_url_of, rejected("path_not_allowed")),
    "a file URL, allowed": Case(file_url_of, ALLOWED, paths=True),
    "a file URL of another host, allowed": Case(
        lambda folder: at("file://elsewhere/a.png"), rejected("url_not_allowed"), paths=True
    ),
    "an http URL": fixed(at("http://images.example/a.png"), rejected("url_not_allowed")),
    "an https URL": fixed(at("https://images.example/a.png"), rejected("url_not_allowed")),
    "an ftp URL": fixed(at("ftp://images.example/a.png"), rejected("url_not_allowed")),
}


def through_the_core(guard: ImageGuard, part: Part) -> tuple[str, CanonicalImage]:
    prompt = red_chain(guard.config).prepare([{"role": "user", "content": [part]}])
    return prompt.verdicts[0].decision, prompt.messages[0].images[0]


def through_langchain(guard: ImageGuard, part: Part) -> tuple[str, CanonicalImage]:
    (message,) = ImageGuardRunnable(guard=guard).invoke([HumanMessage([part])])
    shown = load_picture(message.content[0], "the forwarded block", IntakePolicy())
    return message.response_metadata["guardalign"]["verdicts"][0]["decision"], shown


class ListeningLLM(MockLLM):
    """Remembers what it was asked."""

    _asked: list[ChatMessage] = PrivateAttr(default_factory=list)

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self._asked.extend(messages)
        return super().chat(messages, **kwargs)


def image_block(part: Part) -> ImageBlock:
    """The part as LlamaIndex's block, field by field.

    Its constructor would repair some of it: it encodes base64 with line ends a second time, and
    guesses types.
    """
    if "image_url" in part:
        return ImageBlock.model_construct(url=part["image_url"]["url"])
    if "base64" in part:
        return ImageBlock.model_construct(
            image=part["base64"].encode(), image_mimetype=part["mime_type"]
        )
    return ImageBlock.model_construct(image=base64.b64encode(part["image"]))


def through_llama_index(guard: ImageGuard, part: Part) -> tuple[str, CanonicalImage]:
    llm = ListeningLLM()
    message = ChatMessage(role="user", blocks=[])
    message.blocks = [image_block(part)]
    response = GuardAlignGuardedLLM(llm=llm, guard=guard).chat([message])
    (block,) = llm._asked[0].blocks
    assert isinstance(block, ImageBlock)
    shown = open_png(block.resolve_image().read())
    return response.additional_kwargs["guardalign"]["verdicts"][0]["decision"], shown


DOORS = {
    "core": through_the_core,
    "langchain": through_langchain,
    "llama_index": through_llama_index,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", CASES)
def test_a_part_is_read_the_same_way_through_every_door(
    door: str, name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    (tmp_path / FILE).write_bytes(png(PLAIN))
    guard = red_guard(red_config(intake=IntakePolicy(allow_paths=case.paths)))
    outcome: Outcome
    try:
        decision, shown = DOORS[door](guard, case.part(tmp_path))
        outcome = (decision, shown.sha256)
    except ImageRejected as error:
        outcome = (type(error).__name__, error.reason)
    assert outcome == case.outcome


BOTH: dict[str, Callable[[], object]] = {
    "ImageGuardRunnable": lambda: ImageGuardRunnable(preset="mini", guard=red_guard()),
    "GuardAlignMiddleware": lambda: GuardAlignMiddleware(preset="mini", guard=red_guard()),
    "ImageGuardDocumentTransformer": lambda: ImageGuardDocumentTransformer(
        preset="mini", guard=red_guard()
    ),
    "ChatGuardAlign": lambda: ChatGuardAlign(preset="mini", chain=red_chain(runner=EchoRunner())),
    "GuardAlignMultiModal": lambda: GuardAlignMultiModal(preset="mini", chain=red_chain()),
    "GuardAlignGuardedLLM": lambda: GuardAlignGuardedLLM(
        llm=MockLLM(), preset="mini", guard=red_guard()
    ),
    "GuardAlignNodePostprocessor": lambda: GuardAlignNodePostprocessor(
        preset="mini", guard=red_guard()
    ),
    "GuardAlignImageTransform": lambda: GuardAlignImageTransform(preset="mini", guard=red_guard()),
}


@pytest.mark.parametrize("name", BOTH)
def test_a_preset_beside_a_guard_is_an_error_and_never_ignored(name: str) -> None:
    with pytest.raises(ConfigError, match="Exactly one of preset and"):
        BOTH[name]()
