"""The postprocessor: retrieved images, faults, loading, and its place in an engine."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    ImageNode,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)

from guardalign_middleware.errors import DetectionError, ImageRejected
from guardalign_middleware.testing import (
    base64_png,
    has_red,
    png,
    red_guard,
)
from llama_index.llms.guardalign import GuardAlignNodePostprocessor
from llama_index_support.conversations import BLOCKED, GUARD, SAFE, UNSAFE, image_node, shown
from llama_index_support.doubles import (
    Finds,
    Held,
    PlainLLM,
    beside,
    counted_loads,
    own_preset,
)

KINDS: dict[str, Any] = {
    "text": lambda: TextNode(text="words"),
    "safe": lambda: image_node(SAFE),
    "unsafe": lambda: image_node(UNSAFE),
    "blocked": lambda: image_node(BLOCKED),
    "unsafe node": lambda: Node(image_resource=MediaResource(data=png(UNSAFE))),
}


def scored(*kinds: str) -> list[NodeWithScore]:
    return [NodeWithScore(node=KINDS[kind](), score=index) for index, kind in enumerate(kinds)]


def red_in(item: NodeWithScore) -> bool:
    return has_red(shown(item))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), max_size=6),
    st.sampled_from(["mask", "drop", "flag"]),
    st.integers(1, 4),
)
def test_order_and_scores_stay_and_other_nodes_are_the_same_objects(
    kinds: list[str], on_unsafe: Any, batch_size: int
) -> None:
    nodes = scored(*kinds)
    cleaner = GuardAlignNodePostprocessor(guard=GUARD, on_unsafe=on_unsafe, batch_size=batch_size)
    found = cleaner.postprocess_nodes(nodes)
    out = {
        "mask": {"blocked"},
        "drop": {"blocked", "unsafe", "unsafe node"},
        "flag": set(),
    }[on_unsafe]
    expected = [item for item, kind in zip(nodes, kinds, strict=True) if kind not in out]
    assert [item.node_id for item in found] == [item.node_id for item in expected]
    assert [item.score for item in found] == [item.score for item in expected]
    for before, after in zip(expected, found, strict=True):
        if isinstance(before.node, TextNode) and not isinstance(before.node, ImageNode):
            assert after is before
        else:
            assert after.node is not before.node
            assert red_in(after) is (on_unsafe == "flag" and red_in(before))


async def test_async_is_the_same_and_leaves_the_loop_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard = red_guard()
    held = Held(guard.sanitize_many)
    monkeypatch.setattr(guard, "sanitize_many", held)
    cleaner = GuardAlignNodePostprocessor(guard=guard)
    first, second = await beside(cleaner.apostprocess_nodes(scored("unsafe", "text")), held)
    assert not red_in(first)
    assert second.get_content() == "words"


def test_what_cannot_be_read_gets_a_notice_raises_or_is_left_out() -> None:
    cut = ImageNode(image=base64_png(SAFE)[:40], id_="7")
    bad = NodeWithScore(node=cut, score=1.0)
    url = NodeWithScore(node=ImageNode(image_url="http://127.0.0.1:9/a.png"), score=1.0)
    film = NodeWithScore(node=Node(video_resource=MediaResource(data=b"film")), score=1.0)
    nodes = [bad, *scored("safe"), url, film]
    with pytest.raises(ImageRejected, match="node 7"):
        GuardAlignNodePostprocessor(guard=GUARD, on_refused="raise").postprocess_nodes(nodes)
    shown = GuardAlignNodePostprocessor(guard=GUARD).postprocess_nodes(nodes)
    assert [item.node_id for item in shown] == [item.node_id for item in nodes]
    assert [item.get_content() for item in (shown[0], shown[2], shown[3])] == [
        "[image not shown: the file is damaged]",
        "[image not shown: it is behind a link, which may not be followed]",
        "[video not shown: it holds no image bytes that could be checked]",
    ]
    assert [item.metadata["guardalign_decision"] for item in shown] == [
        "block",
        "allow",
        "block",
        "block",
    ]
    assert GuardAlignNodePostprocessor(guard=GUARD, on_unsafe="drop").postprocess_nodes([bad]) == []
    (kept,) = GuardAlignNodePostprocessor(guard=GUARD, on_refused="drop").postprocess_nodes(nodes)
    assert kept.node_id == nodes[1].node_id


def test_a_video_needs_permission() -> None:
    film = NodeWithScore(node=Node(video_resource=MediaResource(data=b"film")), score=1.0)
    with pytest.raises(ImageRejected, match="allow_unscanned"):
        GuardAlignNodePostprocessor(guard=GUARD, on_refused="raise").postprocess_nodes([film])
    cleaner = GuardAlignNodePostprocessor(guard=GUARD, allow_unscanned=True)
    assert cleaner.postprocess_nodes([film]) == [film]


def test_a_fault_of_the_guard_is_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise DetectionError("not finite", stage="transport")

    guard = red_guard()
    monkeypatch.setattr(guard, "sanitize_many", fail)
    cleaner = GuardAlignNodePostprocessor(guard=guard, on_refused="drop")
    with pytest.raises(DetectionError):
        cleaner.postprocess_nodes(scored("safe"))


def test_words_need_no_guard_and_images_load_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted_loads(monkeypatch)
    cleaner = GuardAlignNodePostprocessor(preset=own_preset(tmp_path))
    cleaner.postprocess_nodes(scored("text"))
    assert loads == []
    cleaner.postprocess_nodes(scored("safe"))
    copy.deepcopy(cleaner).postprocess_nodes(scored("safe"))
    assert len(loads) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_engine_shows_and_returns_only_cleaned_images(asynchronous: bool) -> None:
    llm = PlainLLM()
    engine = RetrieverQueryEngine.from_args(
        retriever=Finds(*scored("unsafe", "blocked", "text", "unsafe node")),
        llm=llm,
        multimodal=True,
        node_postprocessors=[GuardAlignNodePostprocessor(guard=GUARD)],
    )
    response = await engine.aquery("What?") if asynchronous else engine.query("What?")
    assert llm.saw_only_clean_images(2)
    decisions = [item.metadata.get("guardalign_decision") for item in response.source_nodes]
    assert decisions == ["mask", None, "mask"]
