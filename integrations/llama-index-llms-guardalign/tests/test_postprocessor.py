"""Retrieved images: the postprocessor in LlamaIndex's own hands."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import (
    ImageNode,
    MediaResource,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from pydantic import ValidationError

from guardalign_middleware.errors import DetectionError, ImageRejected
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import (
    RED,
    all_red,
    base64_png,
    open_png,
    picture,
    png,
    red_guard,
)
from llama_index.llms.guardalign import GuardAlignNodePostprocessor
from llama_index.llms.guardalign.images import in_anything

GUARD = red_guard()
KINDS: dict[str, Any] = {
    "text": lambda: TextNode(text="words"),
    "safe": lambda: ImageNode(image=base64_png(picture())),
    "unsafe": lambda: ImageNode(image=base64_png(picture(red=True))),
    "blocked": lambda: ImageNode(image=base64_png(all_red())),
    "unsafe node": lambda: Node(image_resource=MediaResource(data=png(picture(red=True)))),
}


def scored(*kinds: str) -> list[NodeWithScore]:
    return [NodeWithScore(node=KINDS[kind](), score=index) for index, kind in enumerate(kinds)]


def red_in(item: NodeWithScore) -> bool:
    data = in_anything(item, "here").data
    return data is not None and bool((open_png(data).pixels == RED).all(axis=-1).any())


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), max_size=6),
    st.sampled_from(["mask", "drop", "flag"]),
    st.integers(1, 4),
)
def test_order_and_scores_stay_and_other_nodes_are_the_same_objects(
    kinds: list[str], policy: Any, batch_size: int
) -> None:
    nodes = scored(*kinds)
    cleaner = GuardAlignNodePostprocessor(guard=GUARD, policy=policy, batch_size=batch_size)
    found = cleaner.postprocess_nodes(nodes)
    out = {
        "mask": {"blocked"},
        "drop": {"blocked", "unsafe", "unsafe node"},
        "flag": set(),
    }[policy]
    expected = [item for item, kind in zip(nodes, kinds, strict=True) if kind not in out]
    assert [item.node_id for item in found] == [item.node_id for item in expected]
    assert [item.score for item in found] == [item.score for item in expected]
    for before, after in zip(expected, found, strict=True):
        if isinstance(before.node, TextNode) and not isinstance(before.node, ImageNode):
            assert after is before
        else:
            assert after.node is not before.node
            assert red_in(after) is (policy == "flag" and red_in(before))


async def test_async_is_the_same_and_leaves_the_loop_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard = red_guard()
    original = guard.sanitize_many
    loop, turned = asyncio.get_running_loop(), threading.Event()

    def waiting(sources: Any) -> Any:
        # Only a loop that is free runs this callback.
        loop.call_soon_threadsafe(turned.set)
        assert turned.wait(300)
        return original(sources)

    monkeypatch.setattr(guard, "sanitize_many", waiting)
    cleaner = GuardAlignNodePostprocessor(guard=guard)
    first, second = await cleaner.apostprocess_nodes(scored("unsafe", "text"))
    assert turned.is_set()
    assert not red_in(first)
    assert second.get_content() == "words"


def test_an_unreadable_image_raises_or_is_left_out() -> None:
    bad = NodeWithScore(node=ImageNode(image=base64_png(picture())[:40], id_="7"), score=1.0)
    url = NodeWithScore(node=ImageNode(image_url="http://127.0.0.1:9/a.png"), score=1.0)
    film = NodeWithScore(node=Node(video_resource=MediaResource(data=b"film")), score=1.0)
    nodes = [bad, *scored("safe"), url, film]
    with pytest.raises(ImageRejected, match="node 7"):
        GuardAlignNodePostprocessor(guard=GUARD).postprocess_nodes(nodes)
    (kept,) = GuardAlignNodePostprocessor(guard=GUARD, unreadable="drop").postprocess_nodes(nodes)
    assert kept.node_id == nodes[1].node_id


def test_a_video_needs_leave() -> None:
    film = NodeWithScore(node=Node(video_resource=MediaResource(data=b"film")), score=1.0)
    with pytest.raises(ImageRejected, match="allow_unscanned"):
        GuardAlignNodePostprocessor(guard=GUARD).postprocess_nodes([film])
    cleaner = GuardAlignNodePostprocessor(guard=GUARD, allow_unscanned=True)
    assert cleaner.postprocess_nodes([film]) == [film]


def test_a_fault_of_the_guard_is_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise DetectionError("not finite", stage="transport")

    guard = red_guard()
    monkeypatch.setattr(guard, "sanitize_many", fail)
    cleaner = GuardAlignNodePostprocessor(guard=guard, unreadable="drop")
    with pytest.raises(DetectionError):
        cleaner.postprocess_nodes(scored("safe"))


def test_words_need_no_guard_and_images_load_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(config: Any) -> ImageGuard:
        loads.append(config.name)
        return red_guard()

    monkeypatch.setattr(ImageGuard, "from_config", load)
    cleaner = GuardAlignNodePostprocessor(preset="mini")
    cleaner.postprocess_nodes(scored("text"))
    assert loads == []
    cleaner.postprocess_nodes(scored("safe"))
    copy.deepcopy(cleaner).postprocess_nodes(scored("safe"))
    assert loads == ["mini"]


def test_it_is_written_down_pickled_and_strict() -> None:
    cleaner = GuardAlignNodePostprocessor(preset="mini", policy="drop")
    assert GuardAlignNodePostprocessor.from_dict(cleaner.to_dict()).policy == "drop"
    assert pickle.loads(pickle.dumps(cleaner)).policy == "drop"
    assert GuardAlignNodePostprocessor.model_json_schema()["properties"]["policy"]
    with pytest.raises(TypeError, match="preset"):
        pickle.dumps(GuardAlignNodePostprocessor(guard=GUARD))
    with pytest.raises(ValidationError, match="blur"):
        GuardAlignNodePostprocessor(guard=GUARD, policy="blur")
    with pytest.raises(ValidationError, match="polcy"):
        GuardAlignNodePostprocessor(guard=GUARD, polcy="mask")


class Finds(BaseRetriever):
    """Finds the same nodes whatever is asked."""

    def __init__(self, nodes: list[NodeWithScore]) -> None:
        super().__init__()
        self._nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_engine_shows_and_returns_only_cleaned_images(
    plain_llm: Any, asynchronous: bool
) -> None:
    llm = plain_llm()
    engine = RetrieverQueryEngine.from_args(
        retriever=Finds(scored("unsafe", "blocked", "text", "unsafe node")),
        llm=llm,
        multimodal=True,
        node_postprocessors=[GuardAlignNodePostprocessor(guard=GUARD)],
    )
    response = await engine.aquery("What?") if asynchronous else engine.query("What?")
    assert len(llm.seen) == 2
    assert not any((image.pixels == RED).all(axis=-1).any() for image in llm.seen)
    decisions = [item.metadata.get("guardalign_decision") for item in response.source_nodes]
    assert decisions == ["mask", None, "mask"]
