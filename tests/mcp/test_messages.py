"""What readers could take for different things goes on as the guard has read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guardalign_middleware.mcp import Handling, MessageGuard
from guardalign_middleware.mcp.messages import WITHHELD, Frame, cancelled_id, id_of, kind_of
from guardalign_middleware.testing import has_red, picture, png, red_guard
from tests.mcp.positions import asked, b64, image, notified, tool
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


NUMBERS = ["1e400", "NaN", "-Infinity", "1" * 4000]


def with_number(message: Any, number: str, key: str = "n") -> bytes:
    return json.dumps({key: 0.25, **message}).replace("0.25", number).encode()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_cannot_be_written_makes_a_response_an_error(
    number: str, guard: MessageGuard
) -> None:
    out = passed(guard, with_number(tool(image(UNSAFE)), number) + b"\n")
    said = json.loads(out.forward or b"")
    assert (out.forward or b"").endswith(b"\n")
    assert (said["id"], said["error"]["code"]) == (7, WITHHELD)
    assert said["error"]["data"] == {"guardalign": {"error": "MessageError"}}
    assert "number" in said["error"]["message"]
    assert out.replies == ()


@pytest.mark.parametrize("number", NUMBERS)
def test_it_answers_a_request_and_leaves_a_notification_out(
    number: str, guard: MessageGuard
) -> None:
    out = passed(guard, with_number(asked(image(UNSAFE)), number))
    assert out.forward is None
    (reply,) = map(json.loads, out.replies)
    assert (reply["id"], reply["error"]["code"]) == (8, WITHHELD)
    out = passed(guard, with_number(notified("message", data=b64(UNSAFE)), number))
    assert (out.forward, out.replies) == (None, ())


def test_the_others_of_a_batch_go_on(guard: MessageGuard) -> None:
    wrong = with_number(tool(image(UNSAFE)), "NaN")
    out = json.loads(passed(guard, b"[%b,%b]" % (wrong, TEXT.encode())).forward or b"")
    assert ["error" in each for each in out] == [True, False]
    assert not any(map(has_red, pictures_in(out)))


def test_an_id_that_cannot_be_written_is_none(guard: MessageGuard) -> None:
    raw = TEXT.replace('"id": 7', '"id": NaN').encode()
    assert json.loads(passed(guard, raw).forward or b"")["id"] is None
    broken = image(UNSAFE[:-40])
    guard = MessageGuard.of(red_guard(), Handling(on_refused="raise"))
    raw = json.dumps(asked(broken)).replace('"id": 8', '"id": 1e999').encode()
    (reply,) = map(json.loads, passed(guard, raw).replies)
    assert reply["id"] is None


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
