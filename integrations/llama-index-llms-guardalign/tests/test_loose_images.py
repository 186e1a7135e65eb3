"""Pictures in `additional_kwargs["images"]`: each is shown once, however deep its block is."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import CitableBlock, CitationBlock, TextBlock
from llama_index.core.llms import ChatMessage

from guardalign_middleware import GuardAlign
from guardalign_middleware.errors import MessageError
from guardalign_middleware.testing import EchoRunner, base64_png, red_guard
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal
from llama_index_support.conversations import SAFE, UNSAFE, image_block
from llama_index_support.doubles import PlainLLM


def cited(block: Any, depth: int = 1) -> Any:
    for _ in range(depth):
        block = CitableBlock.model_construct(title="a", source="b", content=[block])
    return block


def citation(block: Any) -> Any:
    return CitationBlock(cited_content=block, source="a", title="b", additional_location_info={})


@pytest.fixture(params=["guarded", "local"])
def llm(request: pytest.FixtureRequest) -> Any:
    if request.param == "guarded":
        return GuardAlignGuardedLLM(llm=PlainLLM(), guard=red_guard())
    return GuardAlignMultiModal(chain=GuardAlign(red_guard(), EchoRunner()))


def message(block: Any, *loose: Any) -> ChatMessage:
    made = ChatMessage(role="user", blocks=[TextBlock(text="What is it?")])
    made.blocks.append(block)
    # Set afterwards: the constructor would make blocks of them.
    made.additional_kwargs["images"] = loose[0] if len(loose) == 1 else list(loose)
    return made


def scanned(llm: Any, *messages: ChatMessage) -> int:
    return len(llm.chat(list(messages)).raw["guardalign"]["verdicts"])


@pytest.mark.parametrize(
    "block",
    [
        image_block(SAFE),
        cited(image_block(SAFE)),
        cited(image_block(SAFE), 3),
        citation(image_block(SAFE)),
        cited(citation(image_block(SAFE))),
        message(image_block(SAFE), base64_png(SAFE)),
    ],
)
def test_a_picture_that_a_block_shows_is_not_shown_again(llm: Any, block: Any) -> None:
    assert scanned(llm, message(block, base64_png(SAFE))) == 1
    assert scanned(llm, message(block, [base64_png(SAFE), base64_png(UNSAFE)])) == 2


def test_one_value_is_a_list_of_one(llm: Any) -> None:
    assert scanned(llm, message(TextBlock(text="a"), base64_png(SAFE))) == 1
    assert scanned(llm, message(TextBlock(text="a"), [])) == 0


def test_blocks_that_are_nested_too_deeply_are_refused(llm: Any) -> None:
    assert scanned(llm, message(cited(image_block(SAFE), 60), [])) == 1
    for depth in (70, 3000):
        with pytest.raises(MessageError, match="nested deeper than 64"):
            scanned(llm, message(cited(image_block(SAFE), depth), []))
