"""Images on their way into an index: the transform in a real pipeline with a real cache."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    TextNode,
    TransformComponent,
)

from guardalign_middleware.config import SanitizeConfig
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.testing import (
    base64_png,
    has_red,
    picture,
    png,
    red_config,
    red_guard,
)
from llama_index.llms.guardalign import GuardAlignImageTransform
from llama_index_support.conversations import BLOCKED, GUARD, SAFE, UNSAFE, image_node, shown

GREEN = (0, 255, 0)


def shows_red(node: BaseNode) -> bool:
    return has_red(shown(node))


def pipeline(*after: TransformComponent, **fields: Any) -> IngestionPipeline:
    guard = fields.pop("guard", GUARD)
    transform = GuardAlignImageTransform(guard=guard, **fields)
    return IngestionPipeline(transformations=[transform, *after], cache=IngestionCache())


def test_a_second_picture_is_never_given_the_result_of_the_first() -> None:
    """The cache's own key is the same for both: no text, no metadata."""
    line = pipeline()
    (first,) = line.run(nodes=[image_node(SAFE)])
    (second,) = line.run(nodes=[image_node(UNSAFE)])
    assert shown(first).sha256 == SAFE.sha256
    assert not shows_red(second)
    assert second.metadata["guardalign_decision"] == "mask"


@pytest.mark.parametrize(
    "make",
    [
        image_node,
        lambda image: ImageDocument(image=base64_png(image)),
        lambda image: Node(image_resource=MediaResource(data=png(image))),
    ],
    ids=["ImageNode", "ImageDocument", "Node"],
)
def test_transforms_behind_it_do_not_confuse_pictures_either(make: Any) -> None:
    line = pipeline(Counts())
    (first,) = line.run(nodes=[make(SAFE)])
    (second,) = line.run(nodes=[make(picture(colour=GREEN))])
    assert (first.metadata["count"], second.metadata["count"]) == (1, 2)
    assert second.metadata["guardalign_sha256"] == picture(colour=GREEN).sha256
    (again,) = line.run(nodes=[make(SAFE)])
    assert again.metadata["count"] == 1


class Counts(TransformComponent):
    """Numbers its calls; LlamaIndex may keep its results."""

    _calls: int = 0

    @classmethod
    def class_name(cls) -> str:
        return "counts"

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        self._calls += 1
        for node in nodes:
            node.metadata["count"] = self._calls
        return nodes


def test_a_changed_guard_gives_another_key_and_another_identity() -> None:
    nodes = [TextNode(text="a")]
    changed = red_guard(red_config(sanitize=SanitizeConfig(fill=(0, 0, 0))))
    first = GuardAlignImageTransform(guard=GUARD)
    second = GuardAlignImageTransform(guard=changed)
    assert first.to_dict()["guard_identity"] == first._lazy.identity
    assert first.to_dict()["guard_identity"] != second.to_dict()["guard_identity"]
    keys = {get_transformation_hash(nodes, item) for item in (first, first, second)}
    assert len(keys) == 3


def test_a_pipeline_indexes_what_is_left() -> None:
    nodes = [
        image_node(UNSAFE, embedding=[9.0]),
        TextNode(text="words"),
        image_node(BLOCKED),
        image_node(BLOCKED, text="a caption"),
    ]
    line = pipeline(MockEmbedding(embed_dim=2))
    masked, words, caption = line.run(nodes=nodes)
    assert not shows_red(masked)
    assert [node.node_id for node in (masked, words, caption)] == [
        nodes[index].node_id for index in (0, 1, 3)
    ]
    assert masked.embedding is not None
    assert len(masked.embedding) == 2
    assert type(caption) is TextNode
    assert nodes[0].embedding == [9.0]
    assert shows_red(nodes[0])


async def test_async_is_the_same() -> None:
    (node,) = await pipeline().arun(nodes=[image_node(UNSAFE)])
    assert not shows_red(node)


def test_flagged_nodes_are_dropped_or_shown_as_asked() -> None:
    nodes = [image_node(UNSAFE), image_node(SAFE)]
    assert len(GuardAlignImageTransform(guard=GUARD, on_unsafe="drop")(nodes)) == 1
    flagged, _ = GuardAlignImageTransform(guard=GUARD, on_unsafe="flag")(nodes)
    assert shows_red(flagged)
    assert flagged.metadata["guardalign_decision"] == "mask"
    with pytest.raises(ImageRejected):
        GuardAlignImageTransform(guard=GUARD, on_refused="raise")(
            [ImageNode(image_path="/etc/passwd")]
        )


@pytest.mark.parametrize("by", ["field", "call", "none"])
def test_progress_is_shown_when_asked_for(by: str, capsys: pytest.CaptureFixture[str]) -> None:
    transform = GuardAlignImageTransform(guard=GUARD, show_progress=by == "field")
    kwargs = {"show_progress": True} if by == "call" else {}
    transform([image_node(SAFE), TextNode(text="a")], **kwargs)
    bar = capsys.readouterr().err
    assert ("Guarding images" in bar) is (by != "none")
    assert ("2/2" in bar) is (by != "none")
