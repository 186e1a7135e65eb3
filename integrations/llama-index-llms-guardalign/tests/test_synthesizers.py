"""LlamaIndex's response synthesizers around both of our LLMs; see `make` in conftest.py."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import NodeWithScore, TextNode

from guardalign_middleware.types import CanonicalImage
from llama_index_support.conversations import BLOCKED, REPLY, SAFE, UNSAFE, Make, image_node


def found(*images: CanonicalImage) -> list[NodeWithScore]:
    """A text and images, as a retriever returns them."""
    nodes: list[Any] = [TextNode(text="A caption.")]
    nodes += [image_node(image, image_mimetype="image/png") for image in images]
    return [NodeWithScore(node=node, score=1.0) for node in nodes]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "mode",
    [
        ResponseMode.REFINE,
        ResponseMode.COMPACT,
        ResponseMode.SIMPLE_SUMMARIZE,
        ResponseMode.TREE_SUMMARIZE,
        ResponseMode.ACCUMULATE,
        ResponseMode.COMPACT_ACCUMULATE,
    ],
)
async def test_every_mode_shows_cleaned_images_only(
    make: Make, mode: ResponseMode, asynchronous: bool
) -> None:
    subject = make("A square.")
    synthesizer = get_response_synthesizer(llm=subject.llm, response_mode=mode, multimodal=True)
    nodes = found(UNSAFE, SAFE)
    if asynchronous:
        response = await synthesizer.asynthesize("What is it?", nodes)
    else:
        response = synthesizer.synthesize("What is it?", nodes)
    assert "A square." in str(response)
    assert {image.sha256 for image in subject.seen} >= {SAFE.sha256}
    assert len({image.sha256 for image in subject.seen}) == 2
    assert subject.saw_only_clean_images(len(subject.seen))
    assert len(response.source_nodes) == 3


@pytest.mark.parametrize("mode", [ResponseMode.COMPACT, ResponseMode.TREE_SUMMARIZE])
def test_modes_that_stream_do_so(make: Make, mode: ResponseMode) -> None:
    subject = make("A square.")
    synthesizer = get_response_synthesizer(
        llm=subject.llm, response_mode=mode, multimodal=True, streaming=True
    )
    response: Any = synthesizer.synthesize("What is it?", found(UNSAFE))
    pieces = list(response.response_gen)
    assert len(pieces) > 1
    assert "".join(pieces) == "A square."
    assert subject.saw_only_clean_images(1)


def test_a_mode_without_sources_asks_the_question(make: Make) -> None:
    subject = make("A square.")
    synthesizer = get_response_synthesizer(llm=subject.llm, response_mode=ResponseMode.GENERATION)
    assert str(synthesizer.synthesize("What is it?", found())) == "A square."
    assert subject.seen == []


def test_a_blocked_image_is_the_answer_of_the_step_that_saw_it(make: Make) -> None:
    subject = make("A square.")
    synthesizer = get_response_synthesizer(
        llm=subject.llm, response_mode=ResponseMode.SIMPLE_SUMMARIZE, multimodal=True
    )
    assert str(synthesizer.synthesize("What is it?", found(BLOCKED))) == REPLY
    assert subject.seen == []
