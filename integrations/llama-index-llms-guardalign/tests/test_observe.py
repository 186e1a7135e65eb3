"""A guard that only observes changes no picture, wherever it stands, and its records say so."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore

from guardalign_middleware.testing import open_png, red_chain, red_config, red_guard
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from llama_index_support.conversations import (
    BLOCKED,
    SAFE,
    UNSAFE,
    ask,
    decisions,
    image_block,
    image_node,
    shown,
)
from llama_index_support.doubles import PlainLLM

CONFIG = red_config(mode="observe")
OBSERVER = red_guard(CONFIG)
ALL = (SAFE, UNSAFE, BLOCKED)


def test_the_guarded_llm() -> None:
    inner = PlainLLM()
    response = GuardAlignGuardedLLM(inner, guard=OBSERVER).chat(ask(*map(image_block, ALL)))
    blocks = [each for each in inner.calls[0][0].blocks if each.block_type == "image"]
    seen = [open_png(each.resolve_image().read()).sha256 for each in blocks]
    assert seen == [each.sha256 for each in ALL]
    assert decisions(response) == ["observe"] * 3
    assert response.message.content == "I see."


@pytest.mark.parametrize("on_unsafe", ["mask", "drop", "flag"])
def test_nodes(on_unsafe: Any) -> None:
    retrieved = GuardAlignNodePostprocessor(guard=OBSERVER, on_unsafe=on_unsafe)
    found = retrieved.postprocess_nodes([NodeWithScore(node=image_node(each)) for each in ALL])
    stored = GuardAlignImageTransform(guard=OBSERVER, on_unsafe=on_unsafe)
    made = stored([image_node(each) for each in ALL])
    for nodes in ([each.node for each in found], made):
        assert [shown(each).sha256 for each in nodes] == [each.sha256 for each in ALL]
        told = [each.metadata["guardalign_would_be"] for each in nodes]
        assert told == ["allow", "mask", "block"]
        assert {each.metadata["guardalign_decision"] for each in nodes} == {"observe"}


def test_the_local_model() -> None:
    response = GuardAlignMultiModal(chain=red_chain(CONFIG)).chat(ask(*map(image_block, ALL)))
    told = response.raw["guardalign"]["verdicts"]
    assert [each["would_be"] for each in told] == ["allow", "mask", "block"]
