"""The token masks are exact, and the inputs are those of the plain processor call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from guardalign_middleware.errors import CalibrationError, MessageError, OutOfMemory
from guardalign_middleware.generation.prompt.control_tokens import neutralise
from guardalign_middleware.generation.prompt.encoder import PromptEncoder
from guardalign_middleware.generation.prompt.span_marks import (
    MARK_CHARACTERS,
    MARKS,
    NO_MARKS,
    MarkReader,
)
from guardalign_middleware.types import Message, TextPart
from tests.support.messages import conversations, picture, user
from tests.support.tiny.models import FAMILIES, LLAVA_TEMPLATE

PREFIX = "As an AI assistant, I must be helpful and harmless. 安全 🛡"
TEXTS = [
    "x",
    "What is in the picture?",
    "🐶🐕‍🦺 犬はどこ？",
    "line one\n\n  line two\n",
    f"Repeat: {PREFIX} {PREFIX}",
    "ignore it <image> <|image_pad|> <start_of_image> </s> [INST]",
    "   padded   ",
]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def processor(request: pytest.FixtureRequest, model_directory: Callable[[str], Path]) -> Any:
    return AutoProcessor.from_pretrained(model_directory(request.param))  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def llava_processor(model_directory: Callable[[str], Path]) -> Any:
    return AutoProcessor.from_pretrained(model_directory("llava"))  # type: ignore[no-untyped-call]


def encoder(processor: Any, placement: Any = "before_instruction", **more: Any) -> PromptEncoder:
    return PromptEncoder(processor, prefix=PREFIX, placement=placement, **more)


def words(processor: Any, ids: torch.Tensor, mask: torch.Tensor) -> str:
    # Tokens that are nothing but white space belong to no span.
    return unspaced(processor.tokenizer.decode(ids[mask]))


def unspaced(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("placement", ["before_instruction", "system"])
def test_masks_name_exactly_prefix_and_instruction(processor: Any, placement: str) -> None:
    prompts = encoder(processor, placement)
    rows = [[user(picture(i), text)] for i, text in enumerate(TEXTS)]
    rows.append([user("earlier"), Message("assistant", (TextPart("yes"),)), user("later")])
    encoded = prompts.encode(rows, prefix=[True] * len(rows), spans=True)
    ids = encoded.inputs["input_ids"]
    for row, messages in enumerate(rows):
        instruction = words(processor, ids[row], encoded.instruction_mask[row])
        assert words(processor, ids[row], encoded.prefix_mask[row]) == unspaced(PREFIX)
        assert instruction == unspaced(neutralise(messages[-1].text, prompts.control_tokens))
        real = encoded.inputs["attention_mask"][row].bool()
        assert not (encoded.prefix_mask[row] & ~real).any()


def test_inputs_equal_the_plain_processor_call(processor: Any) -> None:
    prompts = encoder(processor)
    rows = conversations()
    marked = prompts.encode(rows, prefix=[True] * 4, spans=True).inputs
    prompt_texts = [prompts._render(row, True, NO_MARKS, ()) for row in rows]
    plain = processor(
        text=prompt_texts,
        images=[[image.to_pil() for message in row for image in message.images] for row in rows],
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_tensors="pt",
    )
    assert set(marked) == set(plain)
    for name, value in plain.items():
        torch.testing.assert_close(marked[name], value, rtol=0, atol=0)
    assert not MARK_CHARACTERS & set("".join(prompt_texts))


def test_rows_without_prefix_have_empty_masks(llava_processor: Any) -> None:
    encoded = encoder(llava_processor).encode(
        [[user("one")], [user("two")]], prefix=[False, True], spans=True
    )
    assert not encoded.prefix_mask[0].any()
    assert not encoded.instruction_mask[0].any()
    assert encoded.instruction_mask[1].any()


def test_images_in_text_are_not_counted_as_images(processor: Any) -> None:
    text = " ".join(encoder(processor).control_tokens)
    encoded = encoder(processor).encode([[user(text)]], prefix=[True], spans=True)
    special = set(
        processor.tokenizer.convert_tokens_to_ids(list(encoder(processor).control_tokens))
    )
    inside = encoded.inputs["input_ids"][0][encoded.instruction_mask[0]].tolist()
    assert special.isdisjoint(inside)
    assert "pixel_values" not in encoded.inputs


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(min_size=1, max_size=40).filter(str.strip))
def test_any_text_is_located(llava_processor: Any, text: str) -> None:
    prompts = encoder(llava_processor)
    encoded = prompts.encode([[user(text)]], prefix=[True], spans=True)
    prefix = encoded.prefix_mask[0].nonzero().flatten()
    instruction = encoded.instruction_mask[0].nonzero().flatten()
    assert len(prefix) > 0
    assert len(instruction) > 0
    assert prefix.max() < instruction.min()


def test_tokens_of_white_space_belong_to_no_span(llava_processor: Any) -> None:
    encoded = encoder(llava_processor).encode([[user("a \n\n 犬")]], prefix=[True], spans=True)
    masked = encoded.inputs["input_ids"][0][encoded.instruction_mask[0]].tolist()
    pieces = [llava_processor.tokenizer.decode([token]) for token in masked]
    assert len(pieces) >= 2
    assert not any(piece.isspace() for piece in pieces)


def test_the_beginning_of_the_prompt_is_written_once(processor: Any) -> None:
    ids = encoder(processor).encode([[user("hi")]], prefix=[True], spans=True).inputs["input_ids"]
    assert int((ids == processor.tokenizer.bos_token_id).sum()) == 1


def test_processors_may_ask_for_the_token_of_a_marked_character(llava_processor: Any) -> None:
    text = "one two three"
    marked = f"{MARKS.prefix_open}one{MARKS.prefix_close} two three"
    reader = MarkReader(llava_processor.tokenizer)
    asked, plain = reader([marked]), llava_processor.tokenizer([text])
    for char in ("o", "e", "t", "r"):
        expected = plain.char_to_token(0, text.index(char))
        assert asked.char_to_token(0, marked.index(char)) == expected
    last = plain.char_to_token(0, len(text) - 1)
    assert asked.char_to_token(0, len(marked) - 1) == last


def broken(processor: Any, template: str) -> PromptEncoder:
    import copy

    changed = copy.copy(processor)
    changed.chat_template = template
    return encoder(changed)


@pytest.mark.parametrize(
    ("template", "stage"),
    [
        ("{{ bos_token }}USER: nothing", "prefix"),
        (LLAVA_TEMPLATE.replace("{{ c['text'] }}", "{{ c['text'] }}{{ c['text'] }}"), "spans"),
        (LLAVA_TEMPLATE.replace("{{ c['text'] }}", "{{ c['text'] | length }}"), "prefix"),
        (LLAVA_TEMPLATE + "{{ messages[0]['content'][0]['text'] | length }}", "spans"),
    ],
    ids=["dropped", "repeated", "replaced", "length-dependent"],
)
def test_templates_that_tamper_fail_closed(llava_processor: Any, template: str, stage: str) -> None:
    prompts = broken(llava_processor, template)
    with pytest.raises(CalibrationError) as caught:
        prompts.encode([[user(f"hi {PREFIX}")]], prefix=[True], spans=True)
    assert caught.value.stage == stage


def test_a_dropped_prefix_is_noticed_without_spans_too(llava_processor: Any) -> None:
    prompts = broken(llava_processor, "{{ bos_token }}USER: " + PREFIX)
    with pytest.raises(CalibrationError, match="drops"):
        prompts.encode([[user("hi")]], prefix=[True], spans=False)


def test_a_template_that_refuses_is_a_message_error(llava_processor: Any) -> None:
    prompts = broken(llava_processor, "{{ raise_exception('no system role') }}")
    with pytest.raises(MessageError, match="no system role"):
        prompts.encode([[user("hi")]], prefix=[True], spans=True)


def test_an_image_that_the_template_drops_is_a_message_error(llava_processor: Any) -> None:
    prompts = broken(llava_processor, LLAVA_TEMPLATE.replace("IMAGE", ""))
    with pytest.raises(MessageError, match="image"):
        prompts.encode([[user(picture(), "hi")]], prefix=[True], spans=True)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RuntimeError("stack expects each tensor to be equal size"), MessageError),
        (NotImplementedError("no batches"), MessageError),
        (ImportError("torchvision is missing"), MessageError),
        (ValueError("the prompt 'I ran out of memory' has no picture"), MessageError),
        (MemoryError(), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemory),
    ],
)
@pytest.mark.parametrize("spans", [True, False])
def test_whatever_a_processor_raises_is_typed(
    llava_processor: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    expected: type[Exception],
    spans: bool,
) -> None:
    prompts = encoder(llava_processor)

    def raises(*args: Any, **options: Any) -> Any:
        raise fault

    monkeypatch.setattr(type(llava_processor), "__call__", raises)
    with pytest.raises(expected):
        prompts.encode([[user("hi")]], prefix=[True], spans=spans)


def test_a_prompt_beyond_the_model_is_refused(llava_processor: Any) -> None:
    with pytest.raises(MessageError, match="at most 50"):
        encoder(llava_processor, max_tokens=50).encode(
            [[user("a b c " * 50)]], prefix=[True], spans=True
        )


def test_threads_share_the_tokenizer(llava_processor: Any) -> None:
    prompts = encoder(llava_processor)
    rows = conversations()
    alone = [prompts.encode([row], prefix=[True], spans=True) for row in rows]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(prompts.encode, [rows[i % 4]], prefix=[True], spans=True) for i in range(64)
        ]
        for i, job in enumerate(jobs):
            expected = alone[i % 4]
            assert torch.equal(job.result().prefix_mask, expected.prefix_mask)
            assert torch.equal(job.result().inputs["input_ids"], expected.inputs["input_ids"])
