"""One way to the bytes of an image: read once, and no paths or URLs without leave."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import DocumentBlock, ImageBlock, TextBlock
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError, ImageRejected, MessageError
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignNodePostprocessor
from llama_index.llms.guardalign.images import Found, Resolver, in_anything, in_block, in_node
from tests.doubles import base64_png, data_url, picture, png, red_guard

PLAIN = picture()
OTHER = picture(colour=(0, 255, 0))
PATHS = IntakePolicy(allow_paths=True)


class Server:
    """Shows another image at every request."""

    def __init__(self, images: list[bytes]) -> None:
        self.hits = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = images[outer.hits % len(images)]
                outer.hits += 1
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/a.png"


@pytest.fixture
def server(socket_enabled: None) -> Iterator[Server]:
    """Safe for whoever scans the first answer, unsafe for whoever asks again."""
    server = Server([png(PLAIN), png(picture(red=True))])
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def fetch(url: str) -> bytes:
    with urlopen(url) as response:
        return bytes(response.read())


@pytest.mark.parametrize(
    "item",
    [
        ImageBlock(image=png(PLAIN)),
        ImageBlock(image=io.BytesIO(png(PLAIN))),
        ImageBlock(url=data_url(PLAIN)),
        DocumentBlock(data=png(PLAIN), document_mimetype="image/png"),
        ImageNode(image=base64_png(PLAIN)),
        ImageNode(image_url=data_url(PLAIN)),
        ImageDocument(image=base64_png(PLAIN)),
        Node(image_resource=MediaResource(data=png(PLAIN))),
        NodeWithScore(node=ImageNode(image=base64_png(PLAIN)), score=0.5),
        png(PLAIN),
        base64_png(PLAIN),
        data_url(PLAIN),
    ],
    ids=lambda item: type(item).__name__,
)
def test_every_carrier_gives_its_pixels(item: object) -> None:
    assert Resolver(IntakePolicy())(in_anything(item, "here")).sha256 == PLAIN.sha256


@pytest.mark.parametrize(
    "item", [TextBlock(text="a"), TextNode(text="a"), Node(), ImageNode(), 7, None]
)
def test_what_carries_no_image_is_told(item: object) -> None:
    assert in_block(item, "here") is None
    assert in_node(item, "here") is None
    with pytest.raises(MessageError, match="here"):
        in_anything(item, "here")


@settings(deadline=None)
@given(
    path=st.none() | st.text(min_size=1), url=st.none() | st.just("http://127.0.0.1/") | st.text()
)
def test_what_stands_beside_the_bytes_is_never_looked_at(path: str | None, url: str | None) -> None:
    def never(_: str) -> bytes:
        raise AssertionError

    resolve = Resolver(PATHS, fetch=never)
    assert resolve(Found("here", png(PLAIN), path, url)).sha256 == PLAIN.sha256


def test_a_path_needs_leave_and_goes_before_a_url(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(PLAIN))
    found = Found("node 7", path=str(file), url="http://127.0.0.1:9/")
    with pytest.raises(ImageRejected, match="node 7.*allow_paths") as caught:
        Resolver(IntakePolicy())(found)
    assert caught.value.reason == "path_not_allowed"
    assert str(tmp_path) not in str(caught.value)
    assert Resolver(PATHS)(found).sha256 == PLAIN.sha256


def test_the_file_that_metadata_names_needs_leave_too(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(PLAIN))
    for node in (
        ImageNode(metadata={"file_path": str(file)}),
        ImageDocument(metadata={"file_path": str(file)}),
    ):
        found = in_anything(node, "here")
        with pytest.raises(ImageRejected, match="path"):
            Resolver(IntakePolicy())(found)
        assert Resolver(PATHS)(found).sha256 == PLAIN.sha256


@pytest.mark.parametrize("url", ["http://10.0.0.1/a.png", "ftp://a/b.png", "file:///etc/passwd"])
def test_a_url_needs_a_fetch_and_only_http_gets_there(url: str) -> None:
    found = Found("here", url=url)
    with pytest.raises(ImageRejected, match="here") as caught:
        Resolver(PATHS)(found)
    assert caught.value.reason == "url_not_allowed"
    asked: list[str] = []

    def note(url: str) -> bytes:
        asked.append(url)
        return png(PLAIN)

    if url.startswith("http"):
        assert Resolver(PATHS, note)(found).sha256 == PLAIN.sha256
        assert asked == [url]
    else:
        with pytest.raises(ImageRejected):
            Resolver(PATHS, note)(found)
        assert asked == []


def test_without_a_fetch_the_policy_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(source: Any, policy: IntakePolicy) -> Any:
        asked.append((source, policy))
        return PLAIN

    monkeypatch.setattr("llama_index.llms.guardalign.images.load_image", load)
    assert Resolver(PATHS)(Found("here", url="https://images.example/a.png")) is PLAIN
    assert asked == [("https://images.example/a.png", PATHS)]


def test_a_fetch_that_returns_no_bytes_is_named() -> None:
    def wrong(_: str) -> Any:
        return "text"

    with pytest.raises(ConfigError, match="bytes"):
        Resolver(IntakePolicy(), wrong)(Found("here", url="https://a/b"))


def test_bytes_that_are_not_base64_or_no_image_are_refused() -> None:
    with pytest.raises(ImageRejected, match="base64"):
        in_anything(ImageNode(image="no base64!"), "here")
    with pytest.raises(ImageRejected, match="here"):
        Resolver(IntakePolicy())(Found("here", b"no image"))
    with pytest.raises(ImageRejected, match="here"):
        Resolver(IntakePolicy())(Found("here"))


def test_loopback_is_not_asked_by_default(server: Server, plain_llm: Any) -> None:
    inner = plain_llm()
    llm = GuardAlignGuardedLLM(llm=inner, guard=red_guard())
    with pytest.raises(ImageRejected, match="not fetched"):
        llm.complete("What?", image_documents=[ImageBlock(url=server.url)])
    cleaner = GuardAlignNodePostprocessor(guard=red_guard())
    with pytest.raises(ImageRejected, match="not fetched"):
        cleaner.postprocess_nodes([NodeWithScore(node=ImageNode(image_url=server.url))])
    assert server.hits == 0
    assert inner.calls == []


def test_an_alternating_server_sees_one_request_and_its_first_image_is_sent(
    server: Server, plain_llm: Any
) -> None:
    inner = plain_llm()
    llm = GuardAlignGuardedLLM(llm=inner, guard=red_guard(), fetch=fetch)
    llm.complete("What?", image_documents=[ImageBlock(url=server.url)])
    assert server.hits == 1
    assert [image.sha256 for image in inner.seen] == [PLAIN.sha256]


def test_a_retrieved_url_is_asked_once_and_then_gone(server: Server) -> None:
    cleaner = GuardAlignNodePostprocessor(guard=red_guard(), fetch=fetch)
    node = ImageNode(image_url=server.url)
    (found,) = cleaner.postprocess_nodes([NodeWithScore(node=node)])
    assert server.hits == 1
    assert isinstance(found.node, ImageNode)
    assert found.node.image_url is None
    assert Resolver(IntakePolicy())(in_anything(found, "here")).sha256 == PLAIN.sha256
