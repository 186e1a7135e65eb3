"""Images in nodes: found in every field, and replaced in copies that name no other source."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.utils import node_to_metadata_dict

from guardalign_middleware.testing import (
    base64_png,
    has_red,
    png,
)
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign import GuardAlignNodePostprocessor
from llama_index.llms.guardalign.nodes import node_images, shows_video
from llama_index_support.conversations import BLOCKED, GUARD, SAFE, UNSAFE, shown

URL = "http://127.0.0.1:9/a.png"
VECTOR = [0.5, 0.5]

MAKERS: dict[str, Any] = {
    "ImageNode": lambda image, **more: ImageNode(
        image=base64_png(image), image_path="/a.png", image_url=URL, **more
    ),
    "ImageDocument": lambda image, **more: ImageDocument(image=base64_png(image), **more),
    "Node": lambda image, **more: Node(
        image_resource=MediaResource(
            data=png(image), path="/a.png", url=URL, embeddings={"dense": VECTOR}
        ),
        **{key: value for key, value in more.items() if key != "text"},
        text_resource=MediaResource(text=more["text"]) if "text" in more else None,
    ),
}


def clean(node: BaseNode, on_unsafe: str = "mask") -> BaseNode | None:
    (cleaned,) = GuardAlignNodePostprocessor(guard=GUARD, on_unsafe=on_unsafe).clean([node])
    if cleaned is not None:
        assert all(not item.found.path and not item.found.url for item in node_images(cleaned, ""))
    return cleaned


@pytest.mark.parametrize("kind", MAKERS)
def test_a_masked_node_holds_only_the_masked_picture(kind: str) -> None:
    node = MAKERS[kind](
        UNSAFE, embedding=VECTOR, metadata={"file_path": "/a.png", "file_name": "a.png"}
    )
    before = node.model_copy(deep=True)
    cleaned = clean(node)
    assert cleaned is not None
    assert type(cleaned) is type(node)
    assert not has_red(shown(cleaned))
    assert cleaned.node_id == node.node_id
    assert cleaned.embedding is None
    written = cleaned.model_dump_json(fallback=repr)
    for source in ("/a.png", URL, "file_path", base64_png(UNSAFE)):
        assert source not in written
    assert cleaned.metadata["file_name"] == "a.png"
    assert node == before
    assert node.metadata["file_path"]


@pytest.mark.parametrize("kind", MAKERS)
def test_an_allowed_node_keeps_its_picture_and_embedding_and_loses_its_sources(kind: str) -> None:
    cleaned = clean(MAKERS[kind](SAFE, embedding=VECTOR, metadata={"a": 1}))
    assert cleaned is not None
    assert shown(cleaned).sha256 == SAFE.sha256
    assert cleaned.embedding == VECTOR
    assert cleaned.metadata["guardalign_decision"] == "allow"
    assert cleaned.metadata["guardalign_sha256"] == SAFE.sha256
    assert cleaned.metadata["a"] == 1
    if kind == "Node":
        assert isinstance(cleaned, Node)
        assert cleaned.image_resource is not None
        assert cleaned.image_resource.embeddings == {"dense": VECTOR}


@pytest.mark.parametrize("kind", MAKERS)
def test_of_a_blocked_node_only_the_words_are_left(kind: str) -> None:
    assert clean(MAKERS[kind](BLOCKED)) is None
    words = clean(MAKERS[kind](BLOCKED, text="A cat.", id_="7", embedding=VECTOR))
    assert words is not None
    assert words.get_content() == "A cat."
    assert words.node_id == "7"
    assert words.embedding is None
    assert words.metadata["guardalign_decision"] == "block"
    assert words.metadata["guardalign_sha256"] == ""
    assert node_images(words, "here") == []
    assert words.get_content_blocks()
    assert not isinstance(words, ImageNode)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("image", "kept"), [(SAFE, True), (UNSAFE, False), (BLOCKED, False)])
def test_drop_leaves_flagged_nodes_out(kind: str, image: CanonicalImage, kept: bool) -> None:
    assert (clean(MAKERS[kind](image, text="words"), "drop") is not None) is kept


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("image", "decision"), [(SAFE, "allow"), (UNSAFE, "mask"), (BLOCKED, "block")]
)
def test_flag_tells_and_shows_what_was_scanned(
    kind: str, image: CanonicalImage, decision: str
) -> None:
    cleaned = clean(MAKERS[kind](image, embedding=VECTOR), "flag")
    assert cleaned is not None
    assert shown(cleaned).sha256 == image.sha256
    assert cleaned.metadata["guardalign_decision"] == decision
    assert cleaned.embedding == VECTOR


def test_the_verdict_is_flat_and_shown_to_no_model() -> None:
    cleaned = clean(MAKERS["ImageNode"](UNSAFE, metadata={"a": 1}, text="words"))
    assert cleaned is not None
    record = cleaned.metadata
    assert record["guardalign_category"] == "weapon"
    assert record["guardalign_distance"] <= record["guardalign_threshold"]
    assert record["guardalign_source_sha256"] == UNSAFE.sha256
    assert record["guardalign_sha256"] == shown(cleaned).sha256
    assert json.loads(record["guardalign_regions"])[0]["category"] == "weapon"
    node_to_metadata_dict(cleaned, flat_metadata=True)
    for mode in ("llm", "embed"):
        assert "guardalign" not in cleaned.get_metadata_str(mode)  # type: ignore[arg-type]


def test_cleaning_twice_changes_nothing_more() -> None:
    once = clean(MAKERS["ImageNode"](UNSAFE, embedding=VECTOR))
    assert once is not None
    twice = clean(once)
    assert twice is not None
    assert shown(twice).sha256 == shown(once).sha256
    assert twice.excluded_llm_metadata_keys == once.excluded_llm_metadata_keys


@pytest.mark.parametrize("field", ["text_resource", "audio_resource", "video_resource"])
def test_an_image_under_another_name_is_found(field: str) -> None:
    node = Node(**{field: MediaResource(data=png(UNSAFE), mimetype="image/png", text="words")})
    assert not shows_video(node)
    cleaned = clean(node)
    assert isinstance(cleaned, Node)
    data = getattr(cleaned, field).data
    assert data != getattr(node, field).data
    assert getattr(cleaned, field).text == "words"


def test_the_worst_of_several_images_is_told_and_a_blocked_one_leaves_the_other() -> None:
    node = Node(
        image_resource=MediaResource(data=png(BLOCKED)),
        audio_resource=MediaResource(data=png(UNSAFE), mimetype="image/png"),
    )
    cleaned = clean(node)
    assert isinstance(cleaned, Node)
    assert cleaned.image_resource is None
    assert cleaned.audio_resource is not None
    assert cleaned.metadata["guardalign_decision"] == "block"
    assert clean(node, "drop") is None


def test_the_node_behind_an_index_node_is_cleaned() -> None:
    node = IndexNode(text="a", index_id="1", obj=MAKERS["ImageNode"](UNSAFE))
    cleaned = clean(node)
    assert isinstance(cleaned, IndexNode)
    assert not has_red(shown(cleaned.obj))
    assert has_red(shown(node.obj))
    assert clean(IndexNode(text="a", index_id="1", obj=MAKERS["ImageNode"](BLOCKED))) is None


def test_relations_stay() -> None:
    relation = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
    for image in (UNSAFE, BLOCKED):
        cleaned = clean(MAKERS["ImageNode"](image, text="a", relationships=relation))
        assert cleaned is not None
        assert cleaned.relationships == relation


@pytest.mark.parametrize(
    "node",
    [
        TextNode(text="a"),
        Node(text_resource=MediaResource(text="a")),
        Node(image_resource=MediaResource()),
        Node(audio_resource=MediaResource(data=b"beep", mimetype="audio/wav")),
        ImageNode(text="a"),
        IndexNode(text="a", index_id="1"),
    ],
)
def test_nodes_without_images_have_none(node: BaseNode) -> None:
    assert node_images(node, "here") == []
    assert not shows_video(node)


def test_a_video_is_one() -> None:
    film = MediaResource(data=b"film", mimetype="video/mp4")
    assert shows_video(Node(video_resource=film))
    assert shows_video(Node(video_resource=MediaResource(url=URL)))


def test_a_refused_video_leaves_its_caption() -> None:
    film = MediaResource(data=b"film", mimetype="video/mp4", text="A caption.")
    cleaned = clean(Node(video_resource=film))
    assert isinstance(cleaned, Node)
    assert cleaned.video_resource == MediaResource(text="A caption.")
    assert "not shown" in cleaned.get_content()
