"""One way to the bytes of an image: read once, and no paths or URLs without leave."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.request import urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import DocumentBlock, ImageBlock, TextBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError, ImageRejected, MessageError
from guardalign_middleware.testing import (
    RED,
    EchoRunner,
    base64_png,
    data_url,
    picture,
    png,
    red_chain,
    red_config,
    red_guard,
)
from llama_index.llms.guardalign import (
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from llama_index.llms.guardalign.images import Found, Resolver, in_anything, in_block, in_node

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


def test_loopback_is_not_asked_by_default(server: Server, make: Any) -> None:
    subject = make("A square.")
    for call in (
        lambda: subject.llm.chat([message(ImageBlock(url=server.url))]),
        lambda: subject.llm.complete("What?", image_documents=[ImageBlock(url=server.url)]),
        lambda: subject.llm.complete("What?", [ImageNode(image_url=server.url)]),
    ):
        with pytest.raises(ImageRejected, match="not fetched"):
            call()
    assert server.hits == 0
    assert subject.seen == []


@pytest.mark.parametrize("kind", [GuardAlignNodePostprocessor, GuardAlignImageTransform])
def test_loopback_is_not_asked_for_nodes_either(server: Server, kind: Any) -> None:
    with pytest.raises(ImageRejected, match="not fetched"):
        cleaned(kind(guard=red_guard()), ImageNode(image_url=server.url))
    assert server.hits == 0


def test_loopback_is_not_asked_where_the_policy_names_it(server: Server) -> None:
    """A policy opens hosts, and never addresses that are not public."""
    port = server.http.server_port
    policy = IntakePolicy(allow_url_hosts=(f"localhost:{port}",), url_schemes=("http",))
    block = ImageBlock(url=f"http://localhost:{port}/a.png")
    llm = GuardAlignMultiModal(chain=red_chain(red_config(intake=policy)))
    with pytest.raises(ImageRejected) as caught:
        llm.chat([message(block)])
    assert caught.value.reason == "address_not_allowed"
    assert server.hits == 0


def test_an_alternating_server_sees_one_request_and_its_first_image_is_sent(
    server: Server, make: Any
) -> None:
    subject = make("A square.")
    subject.llm.fetch = fetch
    subject.llm.chat([message(ImageBlock(url=server.url))])
    assert server.hits == 1
    assert [image.sha256 for image in subject.seen] == [PLAIN.sha256]
    # Its next image is the unsafe one: asked again, it is scanned again.
    subject.llm.complete("What?", image_documents=[ImageNode(image_url=server.url)])
    assert server.hits == 2
    assert subject.saw_only_clean_images(2)


@pytest.mark.parametrize("carrier", ["block", "node"])
def test_an_image_is_decoded_once(make: Any, carrier: str) -> None:
    subject = make("A square.")
    data = png(PLAIN)
    node = ImageNode(image=base64_png(PLAIN))
    reader, accept = Image.OPEN["PNG"]
    counting = mock.Mock(side_effect=reader)
    with mock.patch.dict(Image.OPEN, {"PNG": (counting, accept)}):
        if carrier == "block":
            subject.llm.chat([message(ImageBlock(image=data))])
        else:
            subject.llm.complete("What is it?", image_documents=[node])
    assert counting.call_count == 1


def test_a_path_in_a_document_needs_leave_and_is_read_then(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(picture(red=True)))
    runner = EchoRunner()
    opened = GuardAlignMultiModal(chain=red_chain(red_config(intake=PATHS), runner))
    closed = GuardAlignMultiModal(chain=red_chain(runner=runner))
    for path in (file, tmp_path / "b.png"):
        with pytest.raises(ImageRejected, match="allow_paths"):
            closed.complete("What is it?", [ImageNode(image_path=str(path))])
    opened.complete("What is it?", [ImageNode(image_path=str(file))])
    (call,) = runner.calls
    (image,) = call.images
    assert not (image.pixels == RED).all(axis=-1).any()


@pytest.mark.parametrize("kind", [GuardAlignNodePostprocessor, GuardAlignImageTransform])
def test_a_url_in_a_node_is_asked_once_and_then_gone(server: Server, kind: Any) -> None:
    node = cleaned(kind(guard=red_guard(), fetch=fetch), ImageNode(image_url=server.url))
    assert server.hits == 1
    assert isinstance(node, ImageNode)
    assert node.image_url is None
    assert Resolver(IntakePolicy())(in_anything(node, "here")).sha256 == PLAIN.sha256


def message(*blocks: Any) -> ChatMessage:
    return ChatMessage(role="user", blocks=[*blocks, TextBlock(text="What is it?")])


def cleaned(cleaner: Any, node: BaseNode) -> BaseNode:
    if isinstance(cleaner, GuardAlignImageTransform):
        (kept,) = cleaner([node])
        return kept
    (found,) = cleaner.postprocess_nodes([NodeWithScore(node=node)])
    return found.node
