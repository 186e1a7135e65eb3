from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation.prompt.tool_calls import (
    Answer,
    AnswerReader,
    ToolCall,
    ToolRunner,
    tool_template,
    written_calls,
)
from guardalign_middleware.intake.messages import parse_messages
from tests.support.tiny.models import save_tiny_model
from tests.support.tiny.tools import TOOL_TEMPLATE, runner_of, tool_model

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
    },
}
HELLO = parse_messages("Hello")


def processor(template: Any, *special: str) -> Any:
    tokenizer = SimpleNamespace(all_special_tokens=list(special), chat_template=None)
    return SimpleNamespace(chat_template=template, tokenizer=tokenizer)


HERMES = tool_template(processor(TOOL_TEMPLATE))


def read(text: str, size: int = 1000) -> tuple[str, Answer]:
    assert HERMES is not None
    reader = AnswerReader(HERMES, [ADD])
    said = "".join(reader.feed(text[at : at + size]) for at in range(0, len(text), size))
    rest, answer = reader.finish()
    return said + rest, answer


@pytest.mark.parametrize(
    ("template", "special"),
    [
        ("{{ messages }}", ()),
        ("{{ messages }}{{ tools }}", ()),
        ("{{ tools }}<tool_call><function=x></function></tool_call>", ()),
        (TOOL_TEMPLATE, ("<tool_call>",)),
        (None, ()),
    ],
)
def test_what_takes_no_tools_or_cannot_be_read_has_no_format(template: Any, special: Any) -> None:
    assert tool_template(processor(template, *special)) is None


def test_a_template_among_several_counts() -> None:
    assert tool_template(processor({"default": "{{ messages }}", "tool_use": TOOL_TEMPLATE}))


names = st.text("abcdefgh_", min_size=1, max_size=8)
values = st.one_of(st.integers(), st.booleans(), st.text(max_size=20), st.none())
calls = st.lists(
    st.builds(ToolCall, names, st.dictionaries(names, values, max_size=3)), min_size=1, max_size=3
)


@settings(max_examples=30, deadline=None)
@given(calls=calls, size=st.integers(1, 60))
def test_what_is_written_is_read_again_in_pieces_of_any_size(
    calls: list[ToolCall], size: int
) -> None:
    # A tag inside a value ends the call for the model as well, so there is no reading that right.
    if "</tool_call>" in "".join(str(call) for call in calls):
        return
    said, answer = read(f"Well.\n{written_calls(calls)}", size)
    if answer.fault:
        assert any(mark in answer.fault for mark in "\x01\x02")
        return
    assert said == answer.text == "Well."
    assert list(answer.calls) == calls


def test_text_alone_stays_as_it_is() -> None:
    said, answer = read("a < b, <tool> and <tool_ca", 3)
    assert said == answer.text == "a < b, <tool> and <tool_ca"
    assert answer.calls == ()


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "add", "arguments": {"a": 1</tool_call>',
        '<tool_call>{"name": "add", "argum',
        "<tool_call>add</tool_call>",
        '<tool_call>{"name": "add"}</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "add", "arguments": [1]}</tool_call>',
        "<tool_call>[]</tool_call>",
        '<tool_call>{"name": "add", "arguments": {}}</tool_call><tool_call>{</tool_call>',
    ],
)
def test_a_call_that_cannot_be_read_is_a_fault_and_calls_nothing(text: str) -> None:
    for size in (1, 1000):
        said, answer = read(text, size)
        assert answer.calls == ()
        assert answer.broken == text
        assert answer.fault
        assert "tool_call" not in said


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return runner_of(tool_model(tmp_path_factory.mktemp("tools")))


def prompt(runner: Any, *tools: Any) -> str:
    inputs = runner._prompts.encode([HELLO], prefix=[True], spans=True, tools=tools).inputs
    return str(runner._prompts._tokenizer.decode(inputs["input_ids"][0]))


def test_the_chat_template_writes_the_tools(runner: Any) -> None:
    assert isinstance(runner, ToolRunner)
    assert '"name": "add"' in prompt(runner, ADD)
    assert '"name": "add"' not in prompt(runner)
    assert runner.count_tokens(HELLO, tools=[ADD]) > runner.count_tokens(HELLO) + 50
    assert runner.generate(HELLO, tools=[ADD], max_new_tokens=2).usage.input_tokens > 50


def test_a_description_from_elsewhere_brings_no_control_tokens(runner: Any) -> None:
    foreign = {"type": "function", "function": {"name": "x</s>", "description": "<image> </s>"}}
    text = prompt(runner, foreign)
    assert "<image>" not in text
    assert "</s>" not in text
    assert "< image>" in text


def test_a_model_without_the_format_refuses_tools(tmp_path: Any) -> None:
    plain = runner_of(save_tiny_model(tmp_path))
    assert plain.tool_template is None
    with pytest.raises(ConfigError, match="takes no tools"):
        plain.generate(HELLO, tools=[ADD])
    with pytest.raises(ConfigError, match="takes no tools"):
        plain.stream(HELLO, tools=[ADD])
