"""What holds no picture goes on to the byte, whoever sends it and whatever it is."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.mcp import MessageGuard
from guardalign_middleware.testing.harmless import snippets
from tests.mcp.harmless_objects import HARMLESS
from tests.mcp.positions import embedded, notified, prompt, result, tool
from tests.support.mcp_frames import passed


def _no_guard() -> LazyGuard:
    raise AssertionError("nothing here needs a guard")


GUARD = MessageGuard(_no_guard)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
METHODS = (
    *("ping", "tools/call", "resources/read", "notifications/progress", "notifications/cancelled"),
    *("sampling/createMessage", "notifications/message", "elicitation/create", "example/unknown"),
)
objects = st.dictionaries(words, values, max_size=4)
messages = st.one_of(
    st.fixed_dictionaries(
        {"jsonrpc": st.just("2.0"), "method": st.sampled_from(METHODS)},
        optional={"id": scalars, "params": objects},
    ),
    st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "id": scalars, "result": objects}),
    st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "id": scalars, "error": objects}),
)


@given(
    message=messages | st.lists(messages, max_size=3),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
    end=st.sampled_from(["", "\n", "\r\n", " \n"]),
    sender=st.sampled_from(["server", "client"]),
)
@settings(max_examples=150)
def test_any_message(message: Any, indent: Any, ascii_only: bool, end: str, sender: Any) -> None:
    text = json.dumps(message, indent=indent, ensure_ascii=ascii_only)
    raw = (text.replace("\n", "\r") + end).encode()
    out = passed(GUARD, raw, sender)
    assert out.forward == raw
    assert out.replies == ()


SOUND = base64.b64encode(b"RIFF$\x00\x00\x00WAVEfmt " + bytes(40)).decode()
KEPT: dict[str, Any] = {
    "links": tool(
        {"type": "resource_link", "name": "a", "uri": "https://a.example/a.png"}
        | {"mimeType": "image/png", "size": 9, "annotations": {"audience": ["user"]}}
    ),
    "icons": tool(
        {"type": "resource_link", "name": "a", "uri": "a://b"}
        | {"icons": [{"src": "data:image/svg+xml;base64,PHN2Zy8+", "mimeType": "image/svg+xml"}]}
    ),
    "links in a structure": tool(
        structuredContent={
            "hits": [{"uri": "https://a.example/a.png", "mimeType": "image/png", "size": 1}],
            "image": {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        }
    ),
    "sound": tool({"type": "audio", "data": SOUND, "mimeType": "audio/wav"}),
    "sound in a resource": tool(embedded({"uri": "a://b", "mimeType": "audio/wav", "blob": SOUND})),
    "a text": tool({"type": "text", "text": "ü\u2028", "annotations": {"priority": 0.5}}),
    "a text as a resource": result(contents=[{"uri": "a://b", "mimeType": "a/b", "text": "c"}]),
    "a text as a blob": result(contents=[{"uri": "a://b", "mimeType": "text/csv", "blob": "YSxi"}]),
    "a prompt": prompt({"type": "text", "text": "Look at {image}."}),
    "pages": result(tools=[{"name": "a", "inputSchema": {}}], nextCursor="data:image/png"),
    "_meta": result(content=[], _meta={"progressToken": 3, "a/b": {"type": "image"}}),
    "deep": tool(structuredContent=json.loads("[" * 50 + "]" * 50)),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_servers_send_every_day(name: str) -> None:
    raw = json.dumps(KEPT[name], ensure_ascii=False).encode()
    assert passed(GUARD, raw).forward == raw


@pytest.mark.parametrize("name", HARMLESS)
def test_objects_that_sound_like_files(name: str) -> None:
    """A client checks them against the schema of the tool."""
    for message in (
        tool(structuredContent={"x": HARMLESS[name]}),
        tool(structuredContent={"files": [HARMLESS[name]], "total": 1}),
        result(x=HARMLESS[name]),
        notified("example/x", file=HARMLESS[name]),
    ):
        raw = json.dumps(message).encode()
        assert passed(GUARD, raw).forward == raw


@pytest.mark.parametrize("name", snippets())
def test_harmless_words(name: str) -> None:
    from guardalign_middleware.testing import red_guard

    raw = json.dumps(tool({"type": "text", "text": snippets()[name]})).encode()
    assert passed(MessageGuard.of(red_guard()), raw).forward == raw


@pytest.mark.parametrize("number", ["1e400", "1" * 5000, "1.50", "-0", "1E5", "NaN"])
def test_numbers_keep_their_digits(number: str) -> None:
    raw = b'{"jsonrpc":"2.0","id":%b,"result":{"n":%b}}\n' % (number.encode(), number.encode())
    assert passed(GUARD, raw).forward == raw


@pytest.mark.parametrize("raw", [b"\n", b"[INFO] listening\n", b"Starting\xff...\n", b"[]\n", b"3"])
def test_lines_that_are_no_messages(raw: bytes) -> None:
    assert passed(GUARD, raw).forward == raw
