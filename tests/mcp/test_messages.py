"""What readers could take for different things goes on as the guard has read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guardalign_middleware.mcp import MessageGuard
from guardalign_middleware.mcp.messages import Frame, cancelled_id, id_of, kind_of
from guardalign_middleware.testing import has_red, picture, png, red_guard
from tests.mcp.positions import b64, image, tool
from tests.support.mcp_frames import passed, pictures_in

UNSAFE = png(picture(red=True))
TEXT = json.dumps(tool(image(UNSAFE)))


@pytest.fixture(scope="module")
def guard() -> MessageGuard:
    return MessageGuard.of(red_guard())


UNCLEAR = {
    "the first of two": '{"jsonrpc":"2.0","id":7,"result":%s,"result":{"content":[]}}',
    "the last of two": '{"jsonrpc":"2.0","id":7,"result":{"content":[]},"result":%s}',
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_name_that_appears_twice(name: str, guard: MessageGuard) -> None:
    raw = UNCLEAR[name].replace("%s", json.dumps(tool(image(UNSAFE))["result"])).encode()
    forward = passed(guard, raw).forward or b""
    pairs: list[Any] = []
    json.loads(forward, object_pairs_hook=lambda found: pairs.append(found) or dict(found))
    assert all(len(found) == len(dict(found)) for found in pairs)
    assert not any(map(has_red, pictures_in(json.loads(forward))))


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode().replace(b'"id"', b'"x\xff": 1, "id"'),
        TEXT.encode().replace(b'"id"', b'"x": "\t\x00", "id"'),
        TEXT.replace('"iVBOR', '"\\u0069VBOR').encode(),
    ],
    ids=["byte order mark", "no UTF-8", "control characters", "escapes"],
)
def test_what_lenient_readers_accept_is_cleaned(raw: bytes, guard: MessageGuard) -> None:
    forward = passed(guard, raw).forward or b""
    assert list(pictures_in(json.loads(forward)))
    assert not any(map(has_red, pictures_in(json.loads(forward))))


@pytest.mark.parametrize(
    "encoding",
    ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"],
)
def test_what_python_reads_in_another_encoding_is_cleaned(
    encoding: str, guard: MessageGuard
) -> None:
    raw = TEXT.encode(encoding)
    assert list(pictures_in(json.loads(raw)))
    forward = passed(guard, raw).forward or b""
    assert forward.isascii()
    assert not any(map(has_red, pictures_in(json.loads(forward))))
    assert passed(guard, raw + "\n".encode(encoding)).forward != raw
    assert passed(guard, raw[:-4] + b"\n").forward is None


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
def test_a_message_in_another_encoding_goes_on_in_utf_8(encoding: str, guard: MessageGuard) -> None:
    message = {"jsonrpc": "2.0", "id": 7, "result": {"a": "\u00fc"}}
    raw = json.dumps(message, ensure_ascii=False).encode(encoding)
    assert json.loads((passed(guard, raw).forward or b"").decode()) == message


def test_a_picture_in_another_encoding_is_no_plain_line(guard: MessageGuard) -> None:
    for encoding in ("utf-16", "utf-16-be", "utf-32"):
        assert passed(guard, f"log: {b64(UNSAFE)}".encode(encoding)).forward is None


@pytest.mark.parametrize(
    "raw",
    [
        TEXT[:-1],
        f"{{}} {TEXT}",
        f"[{TEXT}",
        "[",
        f"{TEXT},",
        f"log: {b64(UNSAFE)}",
        "[" * 5000 + "]" * 5000,
        '{"a":' * 3000,
    ],
    ids=["cut off", "two", "begins a list", "a bracket", "comma", "picture", "deep", "deep keys"],
)
def test_parts_of_messages_are_left_out(raw: str, guard: MessageGuard) -> None:
    assert passed(guard, raw.encode() + b"\n").forward is None


def test_a_number_that_has_no_form_in_json_stops_only_what_is_written_anew(
    guard: MessageGuard,
) -> None:
    raw = TEXT.replace('"id": 7', '"id": 7, "n": 1e400').encode()
    assert passed(guard, raw).forward is None


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"method": "a", "id": None}, "request"),
        ({"method": "a"}, "notification"),
        ({"id": 1, "result": None}, "response"),
        ({"id": 1, "error": {}}, "response"),
        ({"id": 1}, "other"),
        ([], "other"),
    ],
)
def test_the_kinds(message: Any, kind: str) -> None:
    assert kind_of(message) == kind


def test_ids_of_different_types_differ() -> None:
    assert len({id_of({"id": each}) for each in (1, "1", 1.5, None, True)}) == 5
    cancel = {"method": "notifications/cancelled", "params": {"requestId": "1"}}
    assert cancelled_id(cancel) == id_of({"id": "1"})
    assert cancelled_id({"method": "notifications/cancelled"}) is None
    assert cancelled_id([]) is None


def test_a_frame_keeps_its_line_end() -> None:
    frame = Frame.read(b'{"a": 1}\r\n')
    assert frame.written(({"a": 2},)) == b'{"a":2}\r\n'
    assert frame.written(frame.messages) == b'{"a": 1}\r\n'
