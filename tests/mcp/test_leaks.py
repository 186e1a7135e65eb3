"""The leak table: no position of MCP's messages lets a picture through unlooked at."""

from __future__ import annotations

import base64
import json
from typing import Any

import mcp.types as t
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.mcp import Handling, MessageGuard
from guardalign_middleware.testing import has_red, picture, png, red_guard
from guardalign_middleware.testing.guards import red_config
from guardalign_middleware.testing.pdf import PAGES, RED_PAGE, drawn_pdf
from tests.mcp.positions import (
    BLOCKS,
    FROM_CLIENTS,
    FROM_SERVERS,
    IN_NOTIFICATIONS,
    IN_REQUESTS,
    IN_RESULTS,
    b64,
    blob,
    embedded,
    image,
    link,
    page,
    prompt,
    result,
    tool,
    url,
)
from tests.support.mcp_frames import line, passed, pictures_in

UNSAFE, SAFE = png(picture(red=True)), png(picture())
BROKEN = UNSAFE[:-40]
# Where a client's model may be shown a picture, so that one that cannot be read is taken out.
_ENDS = ("ImageContent", ", blob", ": blob", "of no type", "of bytes", ": list", "tool_result")
_MORE = ("resource", "block", "GetTaskPayloadResult", "unknown request", "no object")
SHOWN = [name for name in FROM_SERVERS if name.endswith((*_ENDS, *_MORE)) and "_meta" not in name]


@pytest.fixture(scope="module")
def guard() -> MessageGuard:
    return MessageGuard.of(red_guard())


def check_type(name: str, message: Any) -> None:
    """The official types take the message."""
    if name in IN_RESULTS:
        IN_RESULTS[name][0].model_validate(message["result"])
    elif name in IN_REQUESTS:
        t.ServerRequest.model_validate(message)
    elif name in IN_NOTIFICATIONS:
        t.ServerNotification.model_validate(message)
    elif name in FROM_CLIENTS:
        t.CreateMessageResultWithTools.model_validate(message["result"])


@pytest.mark.parametrize("name", [*FROM_SERVERS, *FROM_CLIENTS])
def test_no_position_leaks(name: str, guard: MessageGuard) -> None:
    sender: Any = "client" if name in FROM_CLIENTS else "server"
    message = {**FROM_SERVERS, **FROM_CLIENTS}[name](UNSAFE)
    check_type(name, message)
    assert any(map(has_red, pictures_in(message))), "the table has no picture here"
    forward = passed(guard, line(message), sender).forward
    assert forward is not None
    cleaned = json.loads(forward)
    check_type(name, cleaned)
    # The picture is still there, with the unsafe part of it covered.
    found = list(pictures_in(cleaned))
    assert found
    assert not any(map(has_red, found))
    assert b64(UNSAFE) not in forward.decode()


@pytest.mark.parametrize("name", FROM_SERVERS)
def test_a_safe_picture_stays_everywhere(name: str, guard: MessageGuard) -> None:
    forward = passed(guard, line(FROM_SERVERS[name](SAFE))).forward
    assert forward is not None
    found = list(pictures_in(json.loads(forward)))
    assert found
    assert all((each.pixels == picture().pixels).all() for each in found)


@pytest.mark.parametrize("name", SHOWN)
def test_what_cannot_be_read_is_taken_out(name: str, guard: MessageGuard) -> None:
    forward = passed(guard, line(FROM_SERVERS[name](BROKEN))).forward
    assert forward is not None
    assert b64(BROKEN)[:60] not in forward.decode()
    check_type(name, json.loads(forward))


@pytest.mark.parametrize("name", SHOWN)
def test_or_the_message_becomes_an_error(name: str) -> None:
    guard = MessageGuard.of(red_guard(), Handling(on_refused="raise"))
    out = passed(guard, line(FROM_SERVERS[name](BROKEN)))
    (said,) = [json.loads(each) for each in (out.forward, *out.replies) if each is not None]
    assert set(said) == {"jsonrpc", "id", "error"}
    assert said["error"]["data"]["guardalign"]["reason"] == "corrupt"


@pytest.mark.parametrize("name", BLOCKS)
def test_nothing_of_a_picture_is_shown_as_a_notice(name: str) -> None:
    guard = MessageGuard.of(red_guard(), Handling(on_unsafe="notice"))
    forward = passed(guard, line(tool(BLOCKS[name](UNSAFE)))).forward or b""
    assert not any(map(has_red, pictures_in(json.loads(forward))))
    t.CallToolResult.model_validate(json.loads(forward)["result"])


def test_a_message_with_an_unsafe_picture_can_be_an_error() -> None:
    guard = MessageGuard.of(red_guard(), Handling(on_unsafe="block"))
    out = json.loads(passed(guard, line(tool(image(SAFE), image(UNSAFE)))).forward or b"")
    assert out["id"] == 7
    verdicts = [{"decision": "block", "category": "weapon"}]
    assert out["error"]["data"] == {"guardalign": {"verdicts": verdicts}}
    out = json.loads(passed(guard, line(tool(image(SAFE)))).forward or b"")
    assert "error" not in out


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_page_as_a_blob_may_be_in_another_encoding(encoding: str, guard: MessageGuard) -> None:
    for first in ("\u00fc", "\u4e2d"):
        if first == "\u4e2d" and encoding == "latin-1":
            continue
        file = f"{first}{page(UNSAFE)}\u00fc".encode(encoding)
        message = result(contents=[blob(file, mimeType="text/html")])
        out = json.loads(passed(guard, line(message)).forward or b"")
        new = base64.b64decode(out["result"]["contents"][0]["blob"]).decode(encoding)
        check_page(new, first)


def check_page(new: str, first: str) -> None:
    assert new.startswith(f"{first}<h1>")
    assert new.endswith("\u00fc")
    found = list(pictures_in(new))
    assert found
    assert not any(map(has_red, found))


class TestPdf:
    """PDF files are what the guard's policy makes of them."""

    FILE = blob(drawn_pdf(RED_PAGE, RED_PAGE), mimeType="application/pdf")

    def test_they_are_refused(self, guard: MessageGuard) -> None:
        out = json.loads(passed(guard, line(tool(embedded(self.FILE)))).forward or b"")
        (block,) = out["result"]["content"]
        assert "PDF" in block["text"]

    @pytest.mark.parametrize(
        "message",
        [tool(embedded(FILE)), prompt(embedded(FILE)), result(contents=[FILE])],
        ids=["tool", "prompt", "resource"],
    )
    def test_their_pages_are_shown(self, message: dict[str, Any]) -> None:
        guard = MessageGuard.of(red_guard(red_config(intake=PAGES)))
        out = json.loads(passed(guard, line(message)).forward or b"")["result"]
        found = list(pictures_in(out))
        assert len(found) == 2
        assert not any(map(has_red, found))
        kinds = {"content": t.CallToolResult, "messages": t.GetPromptResult}
        kinds["contents"] = t.ReadResourceResult
        (key,) = out
        kinds[key].model_validate(out)

    def test_a_structure_keeps_its_shape(self) -> None:
        guard = MessageGuard.of(red_guard(red_config(intake=PAGES)))
        message = tool(structuredContent={"result": embedded(self.FILE)})
        out = json.loads(passed(guard, line(message)).forward or b"")["result"]
        t.EmbeddedResource.model_validate(out["structuredContent"]["result"])


@pytest.mark.parametrize("block", [image(BROKEN), embedded(blob(BROKEN, mimeType="image/png"))])
def test_the_shape_of_a_structure_stays(block: dict[str, Any], guard: MessageGuard) -> None:
    """A client checks it against the schema that the server has named."""
    message = tool(structuredContent={"result": [block]})
    out = json.loads(passed(guard, line(message)).forward or b"")["result"]
    (new,) = out["structuredContent"]["result"]
    assert new["type"] == block["type"]
    t.CallToolResult.model_validate({"content": [new]})


def test_a_batch_is_cleaned_message_by_message(guard: MessageGuard) -> None:
    batch = [tool(image(UNSAFE)), tool(image(BROKEN)), {"jsonrpc": "2.0", "method": "ping"}]
    out = json.loads(passed(guard, line(batch)).forward or b"")
    assert len(out) == 3
    assert out[2] == batch[2]
    assert not any(map(has_red, pictures_in(out)))
    assert b64(BROKEN)[:60] not in json.dumps(out)


def _around(inner: dict[str, Any], times: int) -> dict[str, Any]:
    for _ in range(times):
        inner = {"image": inner}
    return inner


IN_KEYS: dict[str, Any] = {
    "of a result": result(**{url(UNSAFE): 1}),
    "of a turn": result(messages=[{"role": "user", "content": image(SAFE), url(UNSAFE): 1}]),
    "of a block": tool({**image(SAFE), url(UNSAFE): 1}),
    "of a source": tool({"type": "image", "source": {"data": b64(SAFE), url(UNSAFE): 1}}),
    "of a resource": tool(embedded(blob(SAFE, mimeType="image/png", **{url(UNSAFE): 1}))),
    "of an icon": tool({**link(SAFE), "icons": [{"src": "a://b", url(UNSAFE): 1}]}),
    "of a structure": tool(structuredContent={"x": {**image(SAFE), url(UNSAFE): 1}}),
    "of a file in one": tool(
        structuredContent={"type": "image", "image": {"file": {url(UNSAFE): 1}, "data": b64(SAFE)}}
    ),
}


@pytest.mark.parametrize("name", IN_KEYS)
def test_no_key_is_a_picture(name: str, guard: MessageGuard) -> None:
    forward = passed(guard, line(IN_KEYS[name])).forward
    assert forward is not None
    assert b64(UNSAFE) not in forward.decode()


@pytest.mark.parametrize("depth", [70, 300])
def test_wrappers_may_be_nested_however_deep(depth: int, guard: MessageGuard) -> None:
    block = {**image(SAFE), **_around({"x": b64(UNSAFE)}, depth)}
    for message in (tool(block), tool(structuredContent={"x": block})):
        forward = passed(guard, line(message)).forward
        assert forward is not None
        assert b64(UNSAFE) not in forward.decode()


KEYS = (
    *(
        "content",
        "messages",
        "contents",
        "structuredContent",
        "_meta",
        "resource",
        "source",
        "image",
    ),
    *(
        "type",
        "data",
        "blob",
        "text",
        "uri",
        "url",
        "src",
        "mimeType",
        "icons",
        "role",
        "input",
        "x",
    ),
)
pictures_of: Any = st.sampled_from([b64, url, page, image, blob, link])
wholes = st.recursive(
    pictures_of.map(lambda make: make(UNSAFE)) | st.sampled_from([*KEYS, 1, None, "image/png"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=6,
)
fields = st.dictionaries(st.sampled_from(KEYS), wholes, min_size=1, max_size=3)


@given(
    fields=fields,
    key=st.sampled_from(["result", "params", "error", "x"]),
    method=st.sampled_from(["notifications/message", "sampling/createMessage", "a/b"]),
)
@settings(max_examples=40)
def test_no_structure_leaks(fields: Any, key: str, method: str, guard: MessageGuard) -> None:
    message = {"jsonrpc": "2.0", "id": 1, key: fields}
    if key == "params":
        message["method"] = method
    out = passed(guard, line(message))
    assert out.forward is not None or out.replies
    assert not any(map(has_red, pictures_in(json.loads(out.forward or b"null"))))
