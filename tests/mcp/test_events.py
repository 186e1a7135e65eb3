"""Events come out as they went in, wherever the stream is cut."""

from __future__ import annotations

import re

import pytest
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.errors import MessageError
from guardalign_middleware.mcp.events import EventReader, message_in, type_of, with_message

ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
lines = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"event: x", b"id: 1", b": ping", b"retry: 3", b"x", b""]
)
streams = st.lists(st.tuples(lines, ends), max_size=12).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)


def split(stream: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    reader = EventReader()
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    events = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        events += reader.feed(stream[start:end])
    return events, reader.end()


def official(stream: bytes) -> list[str]:
    """The data of each event, as the official client reads it."""
    decoder = SSEDecoder()
    found = [decoder.decode(line) for line in re.split("\r\n|\n|\r", stream.decode())]
    return [event.data for event in found if event is not None and event.data]


@given(streams, st.lists(st.integers(0, 99), max_size=6))
def test_any_stream_stays_as_it_is(stream: bytes, cuts: list[int]) -> None:
    events, rest = split(stream, cuts)
    assert b"".join(events) + rest == stream


@given(streams, st.lists(st.integers(0, 99), max_size=6))
def test_the_official_client_sees_the_same_messages(stream: bytes, cuts: list[int]) -> None:
    events, rest = split(stream + b"\n\n", cuts)
    seen = [message_in(event).decode() for event in [*events, rest]]
    assert [each for each in seen if each] == official(stream + b"\n\n")


def test_a_new_message_keeps_id_and_type() -> None:
    event = b'id: 7\r\nevent: message\r\ndata: {"a":\r\ndata:1}\r\nretry: 5\r\n\r\n'
    assert message_in(event) == b'{"a":\n1}'
    assert with_message(event, b"{}\n") == b"id: 7\nevent: message\nretry: 5\ndata: {}\n\n"
    assert with_message(event, None) == b": withheld\nid: 7\nretry: 5\n\n"
    assert type_of(event) == type_of(b"data: a\n\n") == b"message"
    assert type_of(b"event: endpoint\ndata: /x\n\n") == b"endpoint"


def test_a_byte_order_mark_hides_no_message() -> None:
    events, _ = split(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
    assert list(map(message_in, events)) == [b"a"]


def test_an_endless_event_is_refused() -> None:
    reader = EventReader(longest=10)
    with pytest.raises(MessageError, match="more than 10 bytes"):
        reader.feed(b"data: 1234567890")
