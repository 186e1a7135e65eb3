"""The core reads every image, once; paths and URLs need permission."""

from __future__ import annotations

import base64
import io
import threading
import zlib
from collections.abc import Callable, Iterator
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
from guardalign_middleware.errors import ConfigError, GuardAlignError, ImageRejected, MessageError
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.intake.shared_frames import SHARED
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
from guardalign_middleware.testing.photos import file_of
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign import (
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from llama_index.llms.guardalign.images import Found, Resolver, in_anything, in_block, in_node
from llama_index_support.conversations import SAFE, UNSAFE, image_block, image_node

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
    """Serves a safe image first and an unsafe one to a second request."""
    server = Server([png(SAFE), png(UNSAFE)])
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
        image_block(SAFE),
        ImageBlock(image=io.BytesIO(png(SAFE))),
        ImageBlock(url=data_url(SAFE)),
        DocumentBlock(data=png(SAFE), document_mimetype="image/png"),
        image_node(SAFE),
        ImageNode(image_url=data_url(SAFE)),
        ImageDocument(image=base64_png(SAFE)),
        Node(image_resource=MediaResource(data=png(SAFE))),
        NodeWithScore(node=image_node(SAFE), score=0.5),
        png(SAFE),
        base64_png(SAFE),
        data_url(SAFE),
    ],
    ids=lambda item: type(item).__name__,
)
def test_every_carrier_gives_its_pixels(item: object) -> None:
    assert Resolver(IntakePolicy())(in_anything(item, "here")).sha256 == SAFE.sha256


@pytest.mark.parametrize(
    "item", [TextBlock(text="a"), TextNode(text="a"), Node(), ImageNode(), 7, None]
)
def test_what_carries_no_image_is_refused(item: object) -> None:
    assert in_block(item, "here") is None
    assert in_node(item, "here") is None
    with pytest.raises(MessageError, match="here"):
        in_anything(item, "here")


@settings(deadline=None)
@given(
    path=st.none() | st.text(min_size=1), url=st.none() | st.just("http://127.0.0.1/") | st.text()
)
def test_a_path_or_url_beside_the_bytes_is_never_read(path: str | None, url: str | None) -> None:
    def never(_: str) -> bytes:
        raise AssertionError

    resolve = Resolver(PATHS, fetch=never)
    assert resolve(Found("here", base64_png(SAFE), path, url)).sha256 == SAFE.sha256


def test_a_path_needs_permission_and_wins_over_a_url(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(SAFE))
    found = Found("node 7", path=str(file), url="http://127.0.0.1:9/")
    with pytest.raises(ImageRejected, match="node 7.*allow_paths") as caught:
        Resolver(IntakePolicy())(found)
    assert caught.value.reason == "path_not_allowed"
    assert str(tmp_path) not in str(caught.value)
    assert Resolver(PATHS)(found).sha256 == SAFE.sha256


def test_the_file_named_in_metadata_needs_permission_too(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(SAFE))
    for node in (
        ImageNode(metadata={"file_path": str(file)}),
        ImageDocument(metadata={"file_path": str(file)}),
    ):
        found = in_anything(node, "here")
        with pytest.raises(ImageRejected, match="path"):
            Resolver(IntakePolicy())(found)
        assert Resolver(PATHS)(found).sha256 == SAFE.sha256


@pytest.mark.parametrize("url", ["http://10.0.0.1/a.png", "ftp://a/b.png", "file://host/a.png"])
def test_a_url_needs_a_fetch_and_only_http_gets_there(url: str) -> None:
    found = Found("here", url=url)
    with pytest.raises(ImageRejected, match="here") as caught:
        Resolver(PATHS)(found)
    assert caught.value.reason == "url_not_allowed"
    asked: list[str] = []

    def note(url: str) -> bytes:
        asked.append(url)
        return png(SAFE)

    if url.startswith("http"):
        assert Resolver(PATHS, note)(found).sha256 == SAFE.sha256
        assert asked == [url]
    else:
        with pytest.raises(ImageRejected):
            Resolver(PATHS, note)(found)
        assert asked == []


def apng(image: CanonicalImage) -> bytes:
    """A PNG that LlamaIndex takes for an animation, although it has one frame."""
    data = png(image)
    header = data[:33]
    size = image.width.to_bytes(4) + image.height.to_bytes(4)
    animation = b"acTL" + (1).to_bytes(4) + (0).to_bytes(4)
    frame = b"fcTL" + (0).to_bytes(4) + size + bytes(14)
    chunks = b"".join(
        (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
        for body in (animation, frame)
    )
    return header + chunks + data[33:]


def wrapped(image: CanonicalImage) -> str:
    """Base64 in lines, as mail and many encoders write it."""
    return base64.encodebytes(png(image)).decode()


def jpeg(image: CanonicalImage) -> bytes:
    return file_of(image.to_pil(), "JPEG")


def base64_part(text: str, mime_type: str = "image/png") -> dict[str, str]:
    return {"type": "image", "base64": text, "mime_type": mime_type}


def gif(*images: CanonicalImage) -> bytes:
    first, *rest = [image.to_pil() for image in images]
    return file_of(first, "GIF", save_all=True, append_images=rest)


LIE = base64_part(base64_png(SAFE), "image/jpeg")
UNKNOWN = base64_part(base64_png(SAFE), "application/octet-stream")
FRAMES = base64_part(base64.b64encode(gif(SAFE, UNSAFE)).decode(), "image/gif")
WITH_PARAMETER = data_url(SAFE).replace(";base64", ";name=a;base64")
PDF = base64.b64encode(b"%PDF-1.4").decode()
SAME: dict[str, tuple[Any, dict[str, Any]]] = {
    "a block": (image_block(SAFE), base64_part(base64_png(SAFE))),
    "a block of a lying type": (ImageBlock(image=png(SAFE), image_mimetype="image/jpeg"), LIE),
    "a file of a lying type": (
        ImageBlock(image=io.BytesIO(png(SAFE)), image_mimetype="image/jpeg"),
        LIE,
    ),
    "a node of a lying type": (image_node(SAFE, image_mimetype="image/jpeg"), LIE),
    "a resource of a lying type": (
        Node(image_resource=MediaResource(data=png(SAFE), mimetype="image/jpeg")),
        LIE,
    ),
    "a document of a lying type": (
        DocumentBlock(data=png(SAFE), document_mimetype="image/jpeg"),
        LIE,
    ),
    "an unknown type": (
        ImageBlock(image=png(SAFE), image_mimetype="application/octet-stream"),
        UNKNOWN,
    ),
    "another name of the type": (
        ImageBlock(image=jpeg(SAFE), image_mimetype="image/jpg"),
        base64_part(base64.b64encode(jpeg(SAFE)).decode(), "image/jpg"),
    ),
    "lines in a node": (ImageNode(image=wrapped(SAFE)), base64_part(wrapped(SAFE))),
    "lines in a block": (ImageBlock(image=wrapped(SAFE).encode()), base64_part(wrapped(SAFE))),
    "lines in a resource": (
        Node(image_resource=MediaResource(data=wrapped(SAFE).encode())),
        base64_part(wrapped(SAFE)),
    ),
    "lines in a string": (wrapped(SAFE), base64_part(wrapped(SAFE))),
    "spaces in a node": (
        ImageNode(image=f"{base64_png(SAFE)[:80]} {base64_png(SAFE)[80:]}"),
        base64_part(f"{base64_png(SAFE)[:80]} {base64_png(SAFE)[80:]}"),
    ),
    "frames": (ImageBlock(image=gif(SAFE, UNSAFE)), FRAMES),
    "a data URL": (ImageBlock(url=data_url(SAFE)), {"type": "image", "url": data_url(SAFE)}),
    "a data URL with a parameter": (
        ImageBlock(url=WITH_PARAMETER),
        {"type": "image", "url": WITH_PARAMETER},
    ),
    "no image": (ImageNode(image=PDF), base64_part(PDF)),
    "nothing": (ImageBlock(), {"type": "image"}),
}


@pytest.mark.parametrize("policy", [IntakePolicy(), IntakePolicy(frames="scan_all")])
@pytest.mark.parametrize("kind", SAME)
def test_an_image_is_read_or_refused_as_the_same_part_is_by_the_core(
    kind: str, policy: IntakePolicy
) -> None:
    item, part = SAME[kind]

    def outcome(read: Callable[[], CanonicalImage]) -> object:
        try:
            return read().sha256
        except GuardAlignError as error:
            return type(error), getattr(error, "reason", None)

    ours = outcome(lambda: Resolver(policy)(in_anything(item, "here")))
    assert ours == outcome(lambda: load_picture(part, "here", policy))


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(png(SAFE))
    url = (tmp_path / "a b.png").as_uri()
    found = in_anything(ImageBlock(url=url), "here")
    with pytest.raises(ImageRejected) as caught:
        Resolver(IntakePolicy())(found)
    assert caught.value.reason == "path_not_allowed"
    assert Resolver(PATHS)(found).sha256 == SAFE.sha256


@pytest.mark.parametrize(
    "item",
    [
        ImageBlock(image=io.BytesIO(png(SAFE)), url="https://a/photo.jpg"),
        ImageNode(image=base64_png(SAFE), image_path="photo.jpg"),
        ImageBlock(image=apng(SAFE)),
        Node(image_resource=MediaResource(data=apng(SAFE))),
        image_node(SAFE, image_mimetype="image/png"),
    ],
    ids=["type of the URL", "type of the path", "animation type", "same in a node", "true type"],
)
def test_a_type_that_llama_index_guessed_refuses_no_picture(item: Any) -> None:
    assert Resolver(IntakePolicy())(in_anything(item, "here")).sha256 == SAFE.sha256


def test_without_a_fetch_the_policy_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(source: Any, policy: IntakePolicy) -> Any:
        asked.append((source, policy))
        return (SAFE,)

    monkeypatch.setattr("guardalign_middleware.intake.part.load_frames", load)
    assert Resolver(PATHS)(Found("here", url="https://images.example/a.png")) is SAFE
    assert asked == [("https://images.example/a.png", PATHS)]


def test_a_fetch_that_returns_no_bytes_is_named() -> None:
    def wrong(_: str) -> Any:
        return "text"

    with pytest.raises(ConfigError, match="bytes"):
        Resolver(IntakePolicy(), wrong)(Found("here", url="https://a/b"))


def test_what_is_not_base64_or_not_an_image_is_refused() -> None:
    resolve = Resolver(IntakePolicy())
    for text in ("no base64!", base64.b64encode(b"no image").decode()):
        with pytest.raises(ImageRejected, match="here"):
            resolve(in_anything(ImageNode(image=text), "here"))
    with pytest.raises(MessageError, match="here"):
        resolve(Found("here"))


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
        cleaned(kind(guard=red_guard(), on_refused="raise"), ImageNode(image_url=server.url))
    assert server.hits == 0


def test_loopback_is_not_asked_where_the_policy_names_it(server: Server) -> None:
    """A policy allows hosts, but never addresses that are not public."""
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
    assert [image.sha256 for image in subject.seen] == [SAFE.sha256]
    # Its next image is the unsafe one: asked again, it is scanned again.
    subject.llm.complete("What?", image_documents=[ImageNode(image_url=server.url)])
    assert server.hits == 2
    assert subject.saw_only_clean_images(2)


@pytest.mark.parametrize("carrier", ["block", "node"])
def test_an_image_is_decoded_once(make: Any, carrier: str) -> None:
    subject = make("A square.")
    data = png(SAFE)
    node = image_node(SAFE)
    reader, accept = Image.OPEN["PNG"]
    counting = mock.Mock(side_effect=reader)
    SHARED.forget()  # another test may still hold an equal picture
    with mock.patch.dict(Image.OPEN, {"PNG": (counting, accept)}):
        if carrier == "block":
            subject.llm.chat([message(ImageBlock(image=data))])
        else:
            subject.llm.complete("What is it?", image_documents=[node])
    assert counting.call_count == 1


def test_a_path_in_a_document_is_read_with_permission_only(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(UNSAFE))
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
    assert Resolver(IntakePolicy())(in_anything(node, "here")).sha256 == SAFE.sha256


def message(*blocks: Any) -> ChatMessage:
    return ChatMessage(role="user", blocks=[*blocks, TextBlock(text="What is it?")])


def cleaned(cleaner: Any, node: BaseNode) -> BaseNode:
    if isinstance(cleaner, GuardAlignImageTransform):
        (kept,) = cleaner([node])
        return kept
    (found,) = cleaner.postprocess_nodes([NodeWithScore(node=node)])
    return found.node
