"""The LLM in LlamaIndex's own machinery: endpoints, events, consumers."""

import copy
from typing import Any

import pytest
from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import CitableBlock, DocumentBlock
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.llms import LLM, AudioBlock, ChatMessage, ImageBlock
from llama_index.core.llms.utils import resolve_llm
from llama_index.core.multi_modal_llms import MultiModalLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    ImageDocument,
    MediaResource,
    Node,
    NodeWithScore,
)
from llama_index.core.utilities.token_counting import TokenCounter

from guardalign_middleware.errors import ConfigError, GuardError, ImageRejected, MessageError
from guardalign_middleware.testing import (
    BOX,
    EchoRunner,
    base64_png,
    data_url,
    has_red,
    open_png,
    png,
    red_chain,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign import GuardAlignMultiModal
from llama_index.llms.guardalign.messages import cleaned_messages
from llama_index_support.conversations import (
    BLOCKED,
    SAFE,
    UNSAFE,
    ask,
    ignore_agent_warnings,
    image_block,
    image_node,
)
from llama_index_support.doubles import Finds


@pytest.fixture
def runner() -> EchoRunner:
    return EchoRunner()


@pytest.fixture
def llm(runner: EchoRunner) -> GuardAlignMultiModal:
    return GuardAlignMultiModal(chain=red_chain(runner=runner))


def seen(runner: EchoRunner) -> list[CanonicalImage]:
    return [image for call in runner.calls for image in call.images]


BLOCKS = {
    "bytes": image_block,
    "data url": lambda image: ImageBlock(url=data_url(image)),
    "citable": lambda image: CitableBlock(title="t", source="s", content=[image_block(image)]),
    "document": lambda image: DocumentBlock(data=png(image), document_mimetype="image/png"),
}


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("role", ["user", "system", "tool", "assistant"])
def test_an_unsafe_image_is_masked_in_every_block_and_role(
    llm: GuardAlignMultiModal, runner: EchoRunner, kind: str, role: str
) -> None:
    block = BLOCKS[kind](UNSAFE)
    response = llm.chat([ChatMessage(role=role, blocks=[block]), *ask()])
    (image,) = seen(runner)
    assert not has_red(image)
    assert image.width == SAFE.width
    (verdict,) = response.raw["guardalign"]["verdicts"]
    assert verdict["decision"] == "mask"
    x0, y0, x1, y1 = verdict["regions"][0]["box"]
    assert (x0 <= BOX[0], y0 <= BOX[1], x1 >= BOX[2], y1 >= BOX[3]) == (True,) * 4


def test_loose_images_are_guarded_too(llm: GuardAlignMultiModal, runner: EchoRunner) -> None:
    message = ChatMessage(role="user", content="Look.")
    message.additional_kwargs["images"] = [base64_png(UNSAFE)]
    llm.chat([message])
    assert [has_red(image) for image in seen(runner)] == [False]


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize(("count", "which"), [(0, "more"), (2, "fewer")])
def test_messages_with_another_number_of_images_are_a_fault(
    kind: str, count: int, which: str
) -> None:
    message = ChatMessage(role="user", blocks=[BLOCKS[kind](UNSAFE)])
    cleaned = red_guard().sanitize_many([UNSAFE])
    with pytest.raises(GuardError, match=f"{which} images"):
        cleaned_messages([message], cleaned * count)
    (text,) = cleaned_messages(ask()[:1], [])
    assert text.blocks == ask()[0].blocks


def test_a_blocked_image_never_reaches_the_model(
    llm: GuardAlignMultiModal, runner: EchoRunner
) -> None:
    response = llm.chat(ask(image_block(BLOCKED)))
    assert runner.calls == []
    assert response.message.content == "I cannot help with this image."
    assert response.raw["guardalign"]["finish_reason"] == "blocked"


def test_bytes_win_over_url_and_nothing_is_fetched(
    llm: GuardAlignMultiModal, runner: EchoRunner
) -> None:
    block = ImageBlock(image=png(SAFE), url="http://127.0.0.1:9/other.png")
    llm.chat(ask(block))
    assert seen(runner)[0].sha256 == SAFE.sha256


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (ImageBlock(url="http://127.0.0.1:9/a.png"), ImageRejected),
        (ImageBlock(), MessageError),
        (ImageBlock(image=b"no picture"), ImageRejected),
        (AudioBlock(audio=b"beep"), MessageError),
        (DocumentBlock(data=b"%PDF-1.4", document_mimetype="application/pdf"), ImageRejected),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_cannot_be_scanned_is_refused_at_the_call(
    llm: GuardAlignMultiModal,
    runner: EchoRunner,
    block: Any,
    error: type[Exception],
    streamed: bool,
) -> None:
    call = llm.stream_chat if streamed else llm.chat
    with pytest.raises(error):
        call(ask(block))
    assert runner.calls == []


def test_a_path_is_refused_by_default(llm: GuardAlignMultiModal, tmp_path: Any) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(SAFE))
    with pytest.raises(ImageRejected, match="path"):
        llm.chat(ask(ImageBlock(path=file)))


async def test_the_eight_endpoints_agree(llm: GuardAlignMultiModal) -> None:
    messages = ask(image_block(SAFE))
    said = llm.chat(messages).message.content
    assert said
    chunks = list(llm.stream_chat(messages))
    assert "".join(chunk.delta or "" for chunk in chunks) == said
    assert chunks[-1].message.content == said
    assert chunks[-1].raw["guardalign"]["usage"]["total_tokens"] > 0
    assert (await llm.achat(messages)).message.content == said
    pieces = [piece async for piece in await llm.astream_chat(messages)]
    assert pieces[-1].message.content == said

    documents = [ImageDocument(image=base64_png(SAFE))]
    text = llm.complete("What is it?", True, documents).text
    assert text
    streamed = list(llm.stream_complete("What is it?", image_documents=documents))
    assert streamed[-1].text == text
    assert (await llm.acomplete("What is it?", image_documents=documents)).text == text
    parts = [
        part async for part in await llm.astream_complete("What is it?", image_documents=documents)
    ]
    assert parts[-1].text == text
    assert parts[-1].additional_kwargs["total_tokens"] > 0


@pytest.mark.parametrize(
    "document",
    [
        image_block(UNSAFE),
        image_node(UNSAFE),
        ImageDocument(image=base64_png(UNSAFE)),
        Node(image_resource=MediaResource(data=png(UNSAFE), mimetype="image/png")),
        NodeWithScore(node=image_node(UNSAFE), score=1.0),
    ],
    ids=lambda document: type(document).__name__,
)
def test_completions_guard_every_carrier(
    llm: GuardAlignMultiModal, runner: EchoRunner, document: Any
) -> None:
    llm.complete("What is it?", image_documents=[document])
    assert [has_red(image) for image in seen(runner)] == [False]


def test_the_callers_messages_are_not_changed(llm: GuardAlignMultiModal) -> None:
    messages = ask(image_block(UNSAFE))
    before = copy.deepcopy(messages)
    llm.chat(messages)
    assert messages == before


def test_each_call_is_one_event_pair_with_cleaned_images_only(
    llm: GuardAlignMultiModal, recorder: Any
) -> None:
    messages = ask(image_block(UNSAFE))
    llm.chat(messages)
    list(llm.stream_chat(messages))
    starts = recorder.of(LLMChatStartEvent)
    assert len(starts) == len(recorder.of(LLMChatEndEvent)) == 2
    for start in starts:
        (image,) = [block for block in start.messages[0].blocks if isinstance(block, ImageBlock)]
        assert not has_red(open_png(image.resolve_image().read()))
    raw = base64_png(UNSAFE)
    for event in recorder.events:
        assert raw not in event.model_dump_json(fallback=repr)

    llm.complete("Hello?")
    list(llm.stream_complete("Hello?"))
    assert len(recorder.of(LLMCompletionStartEvent)) == 2
    assert len(recorder.of(LLMCompletionEndEvent)) == 2


def test_it_is_a_chat_llm_that_consumers_accept(llm: GuardAlignMultiModal) -> None:
    assert isinstance(llm, LLM)
    assert isinstance(llm, MultiModalLLM)
    assert isinstance(llm, BaseLLM)
    assert "multi" in llm.class_name()
    assert resolve_llm(llm) is llm


def test_its_metadata_is_the_models_and_what_was_set() -> None:
    """Nothing is loaded for it."""
    llm = GuardAlignMultiModal(preset="mini")
    facts = llm.metadata
    assert facts.is_chat_model
    assert not facts.is_function_calling_model
    assert (facts.model_name, facts.num_output) == ("mini", 48)
    assert facts.context_window == DEFAULT_CONTEXT_WINDOW
    changed = GuardAlignMultiModal(preset="mini", max_tokens=7, context_window=9000).metadata
    assert (changed.num_output, changed.context_window) == (7, 9000)
    assert llm._lazy._loaded is None


def test_its_tokenizer_is_the_models(runner: EchoRunner) -> None:
    llm = GuardAlignMultiModal(chain=red_chain(runner=runner))
    with pytest.raises(ConfigError, match="EchoRunner has no tokenizer"):
        _ = llm.tokenizer
    runner.token_ids = lambda text: [len(word) for word in text.split()]  # type: ignore[attr-defined]
    assert TokenCounter(tokenizer=llm.tokenizer).get_string_tokens("What is it?") == 3


def test_multimodal_query_engine_shows_only_cleaned_images(
    llm: GuardAlignMultiModal, runner: EchoRunner
) -> None:
    engine = RetrieverQueryEngine.from_args(
        retriever=Finds(image_node(UNSAFE)), llm=llm, multimodal=True
    )
    engine.query("What is in the picture?")
    assert [has_red(image) for image in seen(runner)] == [False]


@ignore_agent_warnings
def test_react_agent_accepts_it(llm: GuardAlignMultiModal) -> None:
    assert ReActAgent(llm=llm, tools=[]).llm is llm


def test_images_may_stand_where_older_programs_put_them(
    llm: GuardAlignMultiModal, runner: EchoRunner
) -> None:
    llm.complete("What is it?", [image_block(UNSAFE)])
    assert [has_red(image) for image in seen(runner)] == [False]


def test_options_reach_the_runner_and_unknown_ones_are_refused(llm: GuardAlignMultiModal) -> None:
    assert llm.chat(ask(), max_tokens=2).message.content == "echo: What"
    assert llm.chat(ask(), stop=["is"]).message.content == "echo: What"
    with pytest.raises(ConfigError, match="tools"):
        llm.chat(ask(), tools=[])
