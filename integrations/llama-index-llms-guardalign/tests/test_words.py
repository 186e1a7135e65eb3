"""Words are words: only a complete unsafe picture in text, reasoning or tool calls changes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    CitableBlock,
    CitationBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import ChatMessage, TextBlock
from llama_index.core.memory import ChatMemoryBuffer

from guardalign_middleware import notices
from guardalign_middleware.errors import MessageError
from guardalign_middleware.testing import base64_png, data_url, has_red, open_png
from guardalign_middleware.testing.harmless import files, snippets
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMemory
from llama_index.llms.guardalign.blocks import MessageWalk
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    SAFE,
    UNSAFE,
    ask,
    decisions,
    ignore_agent_warnings,
    image_block,
)
from llama_index_support.doubles import PlainLLM, ToolLLM

HARMLESS = {
    **snippets(),
    **{name: base64.b64encode(data).decode() for name, data in files().items()},
    "a safe picture": f"see {data_url(SAFE)} or <i>{base64_png(SAFE)}</i>",
    "a broken picture": f"see {data_url(UNSAFE)[:-40]} there",
}


def conversation(text: str) -> list[ChatMessage]:
    """A text in every block that holds words."""
    args = {"path": "a.css", "content": text, "deep": [{"old": [text]}]}
    cited = TextBlock(text=text)
    blocks = [
        TextBlock(text=text),
        ThinkingBlock(content=text, additional_information={"notes": [text]}),
        ToolCallBlock(tool_name="write", tool_kwargs=args),
        ToolCallBlock(tool_name="write", tool_kwargs=text),
        CitableBlock(title=text, source="s", content=[cited]),
        CitationBlock(title="t", source=text, cited_content=cited, additional_location_info={}),
    ]
    roles = ("system", "user", "assistant", "tool")
    return [ChatMessage(role=role, blocks=list(blocks)) for role in roles]


def last_call(inner: Any) -> Sequence[ChatMessage]:
    call: Sequence[ChatMessage] = inner.calls[-1]
    return call


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_words_reach_the_model_to_the_byte(
    llm: GuardAlignGuardedLLM, inner: Any, name: str
) -> None:
    messages = conversation(HARMLESS[name])
    llm.chat(messages)
    assert all(new is old for new, old in zip(last_call(inner), messages, strict=True))
    llm.complete(HARMLESS[name])
    assert inner.prompts == [HARMLESS[name]]


@pytest.mark.parametrize("image", [UNSAFE, BLOCKED], ids=["mask", "block"])
@pytest.mark.parametrize("form", [data_url, base64_png])
def test_an_unsafe_picture_in_words_is_cleaned(
    llm: GuardAlignGuardedLLM, inner: Any, image: Any, form: Any
) -> None:
    text = f"<p>\n  “before” {form(image)} after\r\n"
    messages = conversation(text)
    before = repr(messages)
    response = llm.chat(messages)
    assert repr(messages) == before
    seen = repr(last_call(inner))
    assert base64_png(image) not in seen
    shown = last_call(inner)[1].blocks[0].text
    assert shown.startswith("<p>\n  “before” ")
    assert shown.endswith(" after\r\n")
    middle = shown[len("<p>\n  “before” ") : -len(" after\r\n")]
    if image is BLOCKED:
        assert middle == notices.UNSAFE
    else:
        assert not has_red(open_png(base64.b64decode(middle.rpartition(",")[2])))
    # Everything but the picture is as it was, in every block.
    again = conversation(text.replace(form(image), middle))
    assert list(last_call(inner)) == again
    # The model does not see a picture in words, so it is asked even if one is blocked.
    assert response.message.content == "I see."
    assert set(decisions(response)) == {"mask" if image is UNSAFE else "block"}


@pytest.mark.parametrize(
    ("blocks", "passes"),
    [
        ([TextBlock(text="iVBORw0KGgo is how a PNG begins in base64, padded with words")], 1),
        ([VideoBlock(video=b"film")], 3),
        ([image_block(SAFE)], 3),
        ([TextBlock(text=data_url(SAFE))], 3),
        ([TextBlock(text=data_url(UNSAFE)[:-40])], 3),
    ],
    ids=["words", "refused", "image", "picture in words", "broken picture in words"],
)
def test_words_alone_are_walked_once(
    inner: Any, monkeypatch: pytest.MonkeyPatch, blocks: list[Any], passes: int
) -> None:
    walked = []
    original = MessageWalk.message

    def message(self: MessageWalk, message: ChatMessage, index: int) -> ChatMessage:
        walked.append(index)
        return original(self, message, index)

    monkeypatch.setattr(MessageWalk, "message", message)
    options: dict[str, Any] = {"guard": GUARD, "on_refused": "notice"}
    question = ask(*blocks)
    question[0].additional_kwargs = {"guardalign": {"decision": "allow"}, "kept": 1}
    GuardAlignGuardedLLM(llm=inner, **options).chat([*ask(), *question])
    memory = GuardAlignMemory(ChatMemoryBuffer.from_defaults(llm=inner), **options)
    memory.put_messages([*ask(), *question])
    assert walked == [0, 1] * passes * 2
    for messages in (last_call(inner), memory.get_all()):
        assert [dict(message.additional_kwargs) for message in messages] == [{}, {"kept": 1}]
        assert messages[1].blocks[-1] is question[0].blocks[-1]


def test_the_picture_of_an_mcp_tool_is_cleaned(llm: GuardAlignGuardedLLM, inner: Any) -> None:
    shown = "[ImageContent(type='image', data='{}', mimeType='image/png', annotations=None)]"
    text = shown.format(base64_png(UNSAFE))
    llm.chat([*ask(), ChatMessage(role="tool", content=text)])
    before, after = shown.split("{}")
    seen = last_call(inner)[-1].content or ""
    assert seen.startswith(before)
    assert seen.endswith(after)
    assert not has_red(open_png(base64.b64decode(seen[len(before) : -len(after)])))


def test_pictures_and_words_keep_their_verdicts_apart(
    llm: GuardAlignGuardedLLM, inner: Any
) -> None:
    messages = ask(image_block(SAFE), TextBlock(text=data_url(BLOCKED)), image_block(UNSAFE))
    response = llm.chat(messages)
    assert decisions(response) == ["allow", "mask", "block"]
    assert [has_red(image) for image in inner.seen] == [False, False]
    assert last_call(inner)[0].blocks[1].text == notices.UNSAFE


async def test_every_endpoint_cleans_its_prompt(llm: GuardAlignGuardedLLM, inner: Any) -> None:
    prompt = f"what is {data_url(BLOCKED)} ?"
    llm.complete(prompt)
    list(llm.stream_complete(prompt))
    await llm.acomplete(prompt)
    [_ async for _ in await llm.astream_complete(prompt)]
    assert inner.prompts == [f"what is {notices.UNSAFE} ?"] * 4


async def test_tool_callers_clean_a_bare_question() -> None:
    inner = ToolLLM()
    llm: Any = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    for question in (f"what is {data_url(BLOCKED)} ?", "nothing", ""):
        expected = question.replace(data_url(BLOCKED), notices.UNSAFE)
        llm.chat_with_tools([], question)
        list(llm.stream_chat_with_tools([], question))
        await llm.achat_with_tools([], question, chat_history=ask())
        assert [call[-1].content for call in inner.calls[-3:]] == [expected] * 3


def test_deep_arguments_are_refused(llm: GuardAlignGuardedLLM, inner: Any) -> None:
    deep: Any = data_url(UNSAFE)
    for _ in range(100):
        deep = [deep]
    call = ToolCallBlock(tool_name="a", tool_kwargs={"it": deep})
    with pytest.raises(MessageError, match="64"):
        llm.chat([ChatMessage(role="user", blocks=[call])])
    llm.chat([ChatMessage(role="assistant", blocks=[call]), *ask()])
    (shown,) = last_call(inner)[0].blocks
    assert isinstance(shown, ToolCallBlock)
    assert shown.tool_kwargs == {"notice": "[image not shown: it could not be checked]"}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_text_without_a_picture_stays(data: st.DataObject) -> None:
    sources = [base64.b64encode(content).decode() for content in files().values()]
    pieces = []
    for _ in range(data.draw(st.integers(0, 5))):
        source = data.draw(st.sampled_from(sources))
        # Too short to hold a whole picture.
        first = data.draw(st.integers(0, 100))
        pieces.append(source[first : first + data.draw(st.integers(0, 150))])
        pieces.append(data.draw(st.sampled_from([" ", "\n", '"', "data:image/png;base64,"])))
    inner = PlainLLM()
    messages = conversation("".join(pieces))
    GuardAlignGuardedLLM(llm=inner, guard=GUARD).chat(messages)
    assert all(new is old for new, old in zip(last_call(inner), messages, strict=True))


@ignore_agent_warnings
@pytest.mark.slow
async def test_a_coding_agent_leaves_byte_identical_files(tmp_path: Path) -> None:
    def read(path: str) -> str:
        """Read a file."""
        return Path(path).read_bytes().decode()

    def write(path: str, content: str) -> str:
        """Write a file."""
        Path(path).write_bytes(content.encode())
        return "ok"

    for number, text in enumerate(HARMLESS.values()):
        file = tmp_path / f"{number}.css"
        file.write_bytes(text.encode())
        steps = [
            ToolCallBlock(tool_name="read", tool_kwargs={"path": str(file)}),
            ToolCallBlock(tool_name="write", tool_kwargs={"path": str(file), "content": text}),
        ]
        inner = ToolLLM(script=[ChatMessage(role="assistant", blocks=[step]) for step in steps])
        llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
        await FunctionAgent(llm=llm, tools=[read, write]).run(user_msg=f"Copy {text}")
        assert file.read_bytes() == text.encode()
        results = [message for message in last_call(inner) if message.role == "tool"]
        assert results[0].content == text
