"""What a block declares decides, and no value beside a message is skipped."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections import deque
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    BaseRecursiveContentBlock,
    CachePoint,
    CitableBlock,
    DocumentBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from pydantic import BaseModel, ConfigDict, PrivateAttr

from guardalign_middleware.errors import GuardAlignError, ImageRejected, MessageError
from guardalign_middleware.testing import base64_png, data_url, has_red, open_png, png
from guardalign_middleware.testing.harmless import files
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.conversations import GUARD, SAFE, UNSAFE, ask
from llama_index_support.doubles import PlainLLM

RAW = png(UNSAFE)
RAW64 = base64_png(UNSAFE)
PDF = b"%PDF-1.4\n" + RAW + b"\n%%EOF"
REAL_PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"
MARKER = RAW64[40:120]


def send(*messages: ChatMessage, **fields: Any) -> list[ChatMessage]:
    """What the inner LLM is shown."""
    inner = PlainLLM()
    GuardAlignGuardedLLM(llm=inner, guard=GUARD, **fields).chat(list(messages))
    (shown,) = inner.calls
    return list(shown)


def beside(**extra: Any) -> ChatMessage:
    message = ChatMessage(role="user", content="Look.")
    message.additional_kwargs.update(extra)
    return message


def shows_raw(value: object) -> bool:
    text = repr(value)
    return MARKER in text or repr(RAW[40:80])[2:-1] in text


@pytest.mark.parametrize(
    "block",
    [
        VideoBlock(video=RAW),
        DocumentBlock(data=RAW),
        DocumentBlock(data=RAW, document_mimetype="application/pdf", title="a.pdf"),
        DocumentBlock(data=RAW, document_mimetype="text/plain"),
        DocumentBlock(data=io.BytesIO(RAW), document_mimetype="application/zip"),
        DocumentBlock(url=data_url(UNSAFE), document_mimetype="application/pdf"),
        VideoBlock(url=data_url(UNSAFE)),
    ],
)
def test_a_picture_in_disguise_is_cleaned_even_where_files_may_pass(block: Any) -> None:
    for fields in ({}, {"allow_unscanned": True}):
        (message, _) = send(ChatMessage(role="user", blocks=[block]), *ask(), **fields)
        (shown,) = message.blocks
        assert isinstance(shown, ImageBlock)
        assert not has_red(open_png(shown.resolve_image().read()))


def test_audio_passes_unless_it_is_a_picture(tmp_path: Any) -> None:
    noise = b"RIFF\x00\x00\x00\x00WAVEfmt " + b"\xff\xd8\xff\xe0" * 50
    sounds = [data for name, data in files().items() if name != "pdf"]
    for data in (noise, b"\xff\xd8\xff" + bytes(200), *sounds):
        block = AudioBlock(audio=data, format="wav")
        assert send(ChatMessage(role="user", blocks=[block]))[0].blocks[0] is block
    (tmp_path / "a.wav").write_bytes(RAW)
    for block in (
        AudioBlock(audio=RAW, format="wav"),
        AudioBlock(audio=io.BytesIO(RAW)),
        AudioBlock(url=data_url(UNSAFE)),
        AudioBlock(path=tmp_path / "a.wav"),
    ):
        for allow in (False, True):
            with pytest.raises(ImageRejected):
                send(ChatMessage(role="user", blocks=[block]), allow_unscanned=allow)


def mp4(brand: bytes, *tracks: bytes) -> bytes:
    boxes = b"".join(b"\x00\x00\x00\x18hdlr" + bytes(8) + track + bytes(4) for track in tracks)
    return b"\x00\x00\x00\x10ftyp" + brand + bytes(4) + b"\x00\x00\x00\x80moov" + boxes


SOUND = {
    "m4a": mp4(b"M4A ", b"soun"),
    "mp4": mp4(b"isom", b"soun"),
    "webm": b"\x1aE\xdf\xa3\x42\x82\x84webm\x86A_OPUS" + bytes(40),
    "ogg": b"OggS\x00\x02" + bytes(22) + b"OpusHead" + bytes(40),
    "mp3": b"ID3\x04\x00\x00\x00\x00\x00#TSSE" + bytes(40),
}
NO_SOUND = {
    "pdf": PDF,
    "noise": bytes(900) + REAL_PDF,
    "mp4": mp4(b"isom", b"soun", b"vide"),
    "webm": b"\x1aE\xdf\xa3\x42\x82\x84webm\x85V_VP9" + bytes(40),
}


def test_sound_passes_in_every_container(tmp_path: Any) -> None:
    for name, data in SOUND.items():
        (tmp_path / f"a.{name}").write_bytes(data)
        for block in (
            AudioBlock(audio=data),
            AudioBlock(audio=data, format=name),
            AudioBlock(path=tmp_path / f"a.{name}"),
        ):
            assert send(ChatMessage(role="user", blocks=[block]))[0].blocks[0] is block
    for url in ("https://example.org/a.mp3", "https://example.org/a.mp4", "https://a.org/say?id=1"):
        block = AudioBlock(url=url)
        assert send(ChatMessage(role="user", blocks=[block]))[0].blocks[0] is block


def test_a_film_or_a_pdf_is_no_sound(tmp_path: Any) -> None:
    for name, data in NO_SOUND.items():
        (tmp_path / "a.wav").write_bytes(data)
        for block in (
            AudioBlock(audio=data),
            AudioBlock(audio=data, format="wav"),
            AudioBlock(audio=data, format=name),
            AudioBlock(audio=io.BytesIO(data)),
            AudioBlock(path=tmp_path / "a.wav"),
            AudioBlock(url=f"data:audio/wav;base64,{base64.b64encode(data).decode()}"),
        ):
            for allow in (False, True):
                with pytest.raises(ImageRejected, match="film"):
                    send(ChatMessage(role="user", blocks=[block]), allow_unscanned=allow)
    for block in (
        AudioBlock(audio=b"beep", format="pdf"),
        AudioBlock(url="https://example.org/a.pdf"),
    ):
        with pytest.raises(ImageRejected, match="film"):
            send(ChatMessage(role="user", blocks=[block]))


@pytest.mark.parametrize("name", ["text/plain", "text/csv", "application/json", "text/html"])
def test_a_text_document_passes_as_words(name: str) -> None:
    for text in ("a,b\n1,2\n", "x = 'data:image/png;base64,'", "grüße", f"see {data_url(SAFE)}"):
        block = DocumentBlock(data=text.encode(), document_mimetype=name)
        assert send(ChatMessage(role="user", blocks=[block]))[0].blocks[0] is block
    speaks = DocumentBlock(data=b"A PDF file begins with %PDF-1.4.", document_mimetype=name)
    assert send(ChatMessage(role="user", blocks=[speaks]))[0].blocks[0] is speaks
    block = DocumentBlock(data=f"ü {data_url(UNSAFE)} ü".encode(), document_mimetype=name)
    (shown,) = send(ChatMessage(role="user", blocks=[block]))[0].blocks
    text = shown.resolve_document().read().decode()
    assert text.startswith("ü data:image/png;base64,")
    assert text.endswith(" ü")
    assert MARKER not in text


@pytest.mark.parametrize(
    "block",
    [
        DocumentBlock(data=PDF, document_mimetype="application/pdf"),
        DocumentBlock(data=PDF),
        DocumentBlock(data=PDF, document_mimetype="text/plain"),
        DocumentBlock(data=b"\n" + PDF, document_mimetype="text/plain", title="a.pdf"),
        DocumentBlock(data=b"\xef\xbb\xbf \n" + PDF, document_mimetype="text/csv"),
        DocumentBlock(data=b"#!/bin/pdf\n" + REAL_PDF, document_mimetype="text/html"),
        DocumentBlock(data=b"PK\x03\x04", document_mimetype="application/zip"),
        DocumentBlock(url="https://example.org/a.pdf"),
        DocumentBlock(url="https://example.org/a.txt"),
        VideoBlock(video=b"film"),
        VideoBlock(url="https://example.org/a.mp4"),
    ],
)
def test_files_and_films_need_permission(block: Any) -> None:
    nested = CitableBlock(title="t", source="s", content=[TextBlock(text="x")])
    if isinstance(block, DocumentBlock):
        nested.content = [block]
    for each in (block, nested) if isinstance(block, DocumentBlock) else (block,):
        with pytest.raises((MessageError, ImageRejected), match="allow_unscanned"):
            send(ChatMessage(role="user", blocks=[each]))
        assert send(ChatMessage(role="user", blocks=[each]), allow_unscanned=True)
    earlier = ChatMessage(role="tool", blocks=[block])
    (shown, *_) = send(earlier, *ask())
    assert "not shown" in (shown.content or "")


class Mood(BaseContentBlock):
    block_type: str = "mood"
    inner: Any = None


class Album(BaseRecursiveContentBlock):
    block_type: str = "album"
    content: Any = None
    cover: Any = None


class Marked(ImageBlock):
    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)
    thumbnail: Any = None
    _kept: Any = PrivateAttr(default=None)


def with_blocks(*blocks: Any) -> ChatMessage:
    message = ChatMessage(role="user")
    message.blocks = list(blocks)
    return message


def test_blocks_of_unknown_kinds() -> None:
    calm = Mood(inner={"level": 3})
    assert send(with_blocks(calm))[0].blocks == [calm]
    for plant in (RAW, RAW64, data_url(UNSAFE), {"deep": [RAW]}, ImageBlock(image=RAW)):
        with pytest.raises(GuardAlignError):
            send(with_blocks(Mood(inner=plant)))
        with pytest.raises(GuardAlignError):
            send(with_blocks(CachePoint.model_construct(cache_control=plant)))
    marked = Marked(image=RAW, thumbnail=RAW, extra=RAW)
    marked._kept = RAW
    assert not shows_raw(send(with_blocks(marked)))
    for album in (Album(content=[ImageBlock(image=RAW)]), Album(content=[], cover=RAW)):
        assert not shows_raw(send(with_blocks(album)))
    assert send(with_blocks(Album(content="words")))[0].blocks[0].content == "words"


class Model(BaseModel):
    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)
    picture: Any = None
    _hidden: Any = PrivateAttr(default=None)


@dataclasses.dataclass(frozen=True)
class Frozen:
    picture: Any
    start: dataclasses.InitVar[int] = 0


class Slots:
    __slots__ = ("__secret", "picture")

    def __init__(self, picture: Any) -> None:
        self.picture = picture
        self.__secret = picture


class Odd(list):  # type: ignore[type-arg]
    def __init__(self, needed: int, items: Any) -> None:
        super().__init__(items)


def hidden_model() -> Model:
    model = Model(other=RAW)
    model._hidden = RAW
    return model


CARRIERS: dict[str, Any] = {
    "bytes": RAW,
    "bytearray": bytearray(RAW),
    "memoryview": memoryview(RAW),
    "a file": io.BytesIO(RAW),
    "numbers": list(RAW),
    "base64": RAW64,
    "a data URL": data_url(UNSAFE),
    "Pillow": UNSAFE.to_pil(),
    "a tuple": (1, (RAW,)),
    "a set": {RAW},
    "a frozenset": frozenset({RAW64}),
    "a deque": deque([RAW], maxlen=4),
    "a mapping": MappingProxyType({"a": RAW}),
    "a model": Model(picture=[RAW]),
    "private fields": hidden_model(),
    "a dataclass": Frozen(RAW),
    "slots": Slots(RAW64),
    "a list of another kind": Odd(1, [RAW]),
    "JSON": json.dumps({"image": data_url(UNSAFE)}),
    "a block": ImageBlock(image=RAW),
    "a message": ChatMessage(role="user", blocks=[ImageBlock(image=RAW)]),
}


def deep_repr(value: Any) -> str:
    """Everything in a value, also what its own repr leaves out."""
    if isinstance(value, io.BytesIO):
        return repr(value.getvalue())
    if isinstance(value, memoryview):
        return repr(bytes(value))
    if isinstance(value, Slots):
        return deep_repr([value.picture, value._Slots__secret])  # type: ignore[attr-defined]
    if isinstance(value, Model):
        return deep_repr([dict(value), value.model_extra, value._hidden])
    if hasattr(value, "tobytes") and hasattr(value, "mode"):
        return repr(has_red(GUARD.load(value)))
    if isinstance(value, dict | MappingProxyType):
        return "".join(map(deep_repr, value.values()))
    if isinstance(value, list | tuple | set | frozenset | deque):
        return repr(bytes(value)) if _is_numbers(value) else "".join(map(deep_repr, value))
    return repr(value)


def _is_numbers(value: Any) -> bool:
    return len(value) > 8 and all(type(item) is int for item in value)


@pytest.mark.parametrize("kind", CARRIERS)
@pytest.mark.parametrize("key", ["content", "thumbnail", "x"])
def test_a_picture_in_any_container_beside_a_message_is_cleaned(kind: str, key: str) -> None:
    message = beside(**{key: {"deep": [CARRIERS[kind]]}})
    before = deep_repr(message.additional_kwargs)
    (shown,) = send(message)
    seen = deep_repr(shown.additional_kwargs)
    assert MARKER not in seen
    assert repr(RAW[40:80])[2:-1] not in seen
    assert seen != "True"
    assert deep_repr(message.additional_kwargs) == before


@pytest.mark.parametrize("kind", CARRIERS)
def test_a_picture_in_reasoning_or_in_a_call_is_cleaned(kind: str) -> None:
    plant = CARRIERS[kind]
    shown = send(
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="hm", additional_information={"a": [plant]}),
                ToolCallBlock(tool_name="look", tool_kwargs={"a": plant}),
            ],
        ),
        *ask(),
    )
    thinking, call = shown[0].blocks
    assert isinstance(thinking, ThinkingBlock)
    assert isinstance(call, ToolCallBlock)
    seen = deep_repr(thinking.additional_information) + deep_repr(call.tool_kwargs)
    assert MARKER not in seen
    assert repr(RAW[40:80])[2:-1] not in seen


def test_what_cannot_be_searched_is_refused() -> None:
    value = (item for item in [RAW])
    with pytest.raises(MessageError):
        send(beside(x=value))
    (shown, *_) = send(ChatMessage(role="assistant", additional_kwargs={"x": value}), *ask())
    assert shown.additional_kwargs["x"] == "[image not shown: it could not be checked]"


def test_a_tensor_is_refused_without_importing_torch() -> None:
    class Tensor:
        shape = (3, 64, 64)

    Tensor.__module__ = "torch"
    with pytest.raises(MessageError, match="array"):
        send(beside(x=Tensor()))


def test_what_contains_itself_is_refused() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    with pytest.raises(MessageError, match="itself"):
        send(beside(x=loop))


PICTURES = {
    "OpenAI": {"type": "image_url", "image_url": {"url": data_url(UNSAFE)}},
    "OpenAI responses": {"type": "input_image", "image_url": data_url(UNSAFE)},
    "Anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": RAW64},
    },
    "Google": {"inline_data": {"mime_type": "image/png", "data": RAW64}},
    "Google, camel": {"inlineData": {"mimeType": "image/png", "data": RAW}},
    "Bedrock": {"image": {"format": "png", "source": {"bytes": RAW}}},
    "a tool result": {
        "type": "tool_result",
        "content": [{"type": "image_url", "image_url": {"url": data_url(UNSAFE)}}],
    },
    "Ollama": {"images": [RAW64]},
}


@pytest.mark.parametrize("dialect", PICTURES)
@pytest.mark.parametrize("role", ["user", "tool", "assistant"])
def test_a_providers_picture_is_cleaned_in_its_dialect(dialect: str, role: str) -> None:
    block = PICTURES[dialect]
    shown = send(ChatMessage(role=role, additional_kwargs={"content": [block]}))[0]
    (seen,) = shown.additional_kwargs["content"]
    assert not shows_raw(seen)
    assert _keys(seen) == _keys(block)


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _keys(item) for key, item in value.items()}
    return [_keys(item) for item in value] if isinstance(value, list) else type(value)


REFERENCES: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    {"type": "input_image", "file_id": "file-abc123"},
    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "image", "source": {"type": "base64", "data": "bm8gcGljdHVyZQ==" * 9}},
    {"type": "image", "source": {"type": "base64", "data": "x" * 99}, "preview": RAW64},
    {"file_data": {"file_uri": "gs://a/b.png", "mime_type": "image/png"}},
    {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://a/b.png"}}}},
    {"type": "input_file", "file_data": f"data:application/pdf;base64,{RAW64}"},
    {"type": "file", "file": {"file_id": "file-1", "thumbnail": data_url(SAFE)}},
    {"type": "document", "source": {"type": "base64", "data": base64.b64encode(PDF).decode()}},
    {"type": "video_url", "video_url": {"url": "https://a/b.mp4"}, "poster": data_url(SAFE)},
    {"document": {"format": "pdf", "source": {"bytes": PDF}}},
    {"type": "container_upload", "file_id": "file_1"},
]


@pytest.mark.parametrize("block", REFERENCES, ids=lambda block: json.dumps(block, default=str)[:60])
def test_what_a_provider_would_fetch_or_render_is_refused(block: Any) -> None:
    with pytest.raises((ImageRejected, MessageError)):
        send(beside(content=[{"type": "text", "text": "a"}, block]))
    (shown, *_) = send(
        ChatMessage(role="tool", additional_kwargs={"content": [block], "x": 1}), *ask()
    )
    (notice,) = shown.additional_kwargs["content"]
    assert "not shown" in notice["text"]
    assert shown.additional_kwargs["x"] == 1


def test_a_notice_names_the_kind_of_a_file() -> None:
    film = VideoBlock(video=b"film", video_mimetype="video/mp4")
    pdf = {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0xLjQ="}
    older = ChatMessage(role="tool", blocks=[film], additional_kwargs={"content": [pdf]})
    (shown, *_) = send(older, *ask())
    assert shown.blocks[0].text == "[video not shown: this guard reads pictures only]"
    (notice,) = shown.additional_kwargs["content"]
    assert notice["text"] == "[PDF file not shown: this guard reads pictures only]"


HARMLESS: list[Any] = [
    {"tool_call_id": "call_1", "name": "look"},
    {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}]},
    {"tool_calls": [{"function": {"arguments": json.dumps({"image_url": "https://a/b.png"})}}]},
    {"content": f"see {data_url(SAFE)}"},
    {"content": [{"type": "text", "text": data_url(SAFE)}]},
    {"input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]},
    {"content": [{"type": "document", "source": {"type": "text", "data": "words"}}]},
    {"thought_signature": base64.b64encode(bytes(range(200))).decode()},
    {"refusal": None, "logprobs": [0.5, {"a": (1, 2)}], "ids": {1, 2}, "call": object()},
    {"embedding": np.zeros(768), "link": "https://example.org/a.png", "cache": True},
]


@pytest.mark.parametrize("extra", HARMLESS, ids=lambda extra: str(extra)[:50])
def test_what_is_harmless_beside_a_message_passes_unchanged(extra: Any) -> None:
    message = beside(**extra)
    assert send(message)[0] is message


def test_a_generator_of_messages_is_read() -> None:
    inner = PlainLLM()
    GuardAlignGuardedLLM(llm=inner, guard=GUARD).chat(message for message in ask())  # type: ignore[arg-type]
    assert inner.calls == [ask()]


def test_the_guards_own_key_never_reaches_the_llm() -> None:
    shown = send(beside(guardalign={"decision": "allow"}, guardalign_decision="allow", other=1))
    assert shown[0].additional_kwargs == {"other": 1}
