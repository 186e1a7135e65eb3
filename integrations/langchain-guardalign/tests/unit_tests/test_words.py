"""Words are words: in text, tool calls and documents, only a complete unsafe picture changes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from guardalign_middleware.cleaning import loader
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.handling import OnUnsafe
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import all_red, base64_png, data_url, open_png, picture, png
from guardalign_middleware.testing.harmless import files, snippets
from guardalign_middleware.testing.photos import file_of
from langchain_guardalign import ImageGuardDocumentTransformer, ImageGuardRunnable
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import covered, guard, red_guard

RED, ALL_RED, PLAIN = picture(red=True), all_red(), picture()
RUNNABLE = ImageGuardRunnable(guard=red_guard())
TRANSFORMER = ImageGuardDocumentTransformer(guard=red_guard())


def encoded(image_format: str) -> str:
    return base64.b64encode(file_of(RED.to_pil(), image_format)).decode()


ANIMATION = file_of(PLAIN.to_pil(), "GIF", save_all=True, append_images=[RED.to_pil()])
HARMLESS = {
    **snippets(),
    **{name: base64.b64encode(data).decode() for name, data in files().items()},
    "a safe picture": f"see {data_url(PLAIN)} or <i>{base64_png(PLAIN)}</i>",
    "a safe picture alone": data_url(PLAIN),
    "an animation": f"data:image/gif;base64,{base64.b64encode(ANIMATION).decode()}",
    "a broken picture": f"see {data_url(RED)[:-40]} there",
}


def messages_of(text: str) -> list[Any]:
    """A text in every place where it is words."""
    args = {"path": "a.css", "content": text, "deep": [{"old": text, "new": [text]}]}
    call = {"name": "write", "args": args, "id": "1", "type": "tool_call"}
    raw = {"id": "1", "type": "function", "function": {"name": "w", "arguments": json.dumps(args)}}
    return [
        SystemMessage(text),
        HumanMessage(text),
        HumanMessage([{"type": "text", "text": text}, text]),
        AIMessage(text, tool_calls=[call], additional_kwargs={"tool_calls": [raw]}),
        AIMessage([{"type": "tool_use", "id": "1", "name": "write", "input": args}, call]),
        ToolMessage(text, tool_call_id="1"),
        ToolMessage([{"type": "text", "text": text}], tool_call_id="1"),
        ToolMessage([{"type": "tool_result", "content": text}], tool_call_id="1"),
    ]


def without_verdicts(messages: list[Any]) -> list[Any]:
    """The messages without the guard's records, which are in two places."""
    plain = []
    for message in messages:
        more = {k: v for k, v in message.additional_kwargs.items() if k != "guardalign"}
        update = {"response_metadata": {}, "additional_kwargs": more}
        plain.append(message.model_copy(update=update))
    return plain


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_words_stay_to_the_byte(name: str) -> None:
    text = HARMLESS[name]
    messages = messages_of(text)
    new = RUNNABLE.invoke(messages)
    assert without_verdicts(new) == messages
    if "safe" not in name:
        assert all(now is old for now, old in zip(new, messages, strict=True))
    documents = [Document(text), Document("a", metadata={"source": {"css": f"/* {text} */"}})]
    for now, old in zip(TRANSFORMER.transform_documents(documents), documents, strict=True):
        assert now.page_content == old.page_content
        assert now.metadata["source"] == old.metadata["source"] if old.metadata else True


@pytest.mark.parametrize("name", files())
def test_other_files_stay_as_bytes_too(name: str) -> None:
    data = files()[name]
    audio = {"type": "audio", "base64": base64.b64encode(data).decode(), "mime_type": "audio/wav"}
    messages = [
        # Gemini is sent a PDF file, whatever it is declared.
        HumanMessage("" if name == "pdf" else [audio]),
        ToolMessage("", tool_call_id="1", artifact={"data": data, "more": [bytearray(data)]}),
    ]
    new = RUNNABLE.invoke(messages)
    assert all(now is old for now, old in zip(new, messages, strict=True))
    document = Document("a", metadata={"raw": data})
    assert TRANSFORMER.transform_documents([document]) == [document]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_text_without_a_picture_stays(data: st.DataObject) -> None:
    sources = [base64.b64encode(content).decode() for content in files().values()]
    joints = [" ", "\n", '"', "\\n", "data:image/png;base64,", '{"type":"image","data":"', "/9j/"]
    pieces = []
    for _ in range(data.draw(st.integers(0, 5))):
        source = data.draw(st.sampled_from(sources))
        # Too short to hold a whole picture.
        first = data.draw(st.integers(0, 100))
        pieces.append(source[first : first + data.draw(st.integers(0, 150))])
        pieces.append(data.draw(st.one_of(st.sampled_from(joints), st.text(max_size=9))))
    text = "".join(pieces)
    messages = messages_of(text)
    assert RUNNABLE.invoke(messages) == messages
    assert TRANSFORMER.transform_documents([Document(text)]) == [Document(text)]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(" \n.,:;(){}[]<>é漢\t#*", max_size=40),
    st.text(" \n.,:;(){}[]<>é漢\t#*", max_size=40),
    st.sampled_from([data_url(RED), base64_png(RED)]),
    st.booleans(),
)
def test_exactly_the_span_of_an_unsafe_picture_changes(
    before: str, after: str, shown: str, masked: bool
) -> None:
    if not masked:
        shown = shown.replace(base64_png(RED), base64_png(ALL_RED))
    for old, new in zip(
        messages_of(f"{before}{shown}{after}"),
        RUNNABLE.invoke(messages_of(f"{before}{shown}{after}")),
        strict=True,
    ):
        if not isinstance(old.content, str):
            continue
        assert new.text.startswith(before)
        assert new.text.endswith(after)
        middle = new.text[len(before) : len(new.text) - len(after)]
        if masked:
            header, comma, body = middle.rpartition(",")
            assert header + comma == shown[: -len(base64_png(RED))]
            assert covered(open_png(base64.b64decode(body)))
        else:
            assert middle == UNSAFE


def test_tool_calls_lose_unsafe_pictures_in_both_of_their_forms() -> None:
    messages = messages_of(f"<img src='{data_url(RED)}'>")
    new = RUNNABLE.invoke(messages)
    assert base64_png(RED) in repr(messages)
    assert base64_png(RED) not in repr(new)
    (raw,) = new[3].additional_kwargs["tool_calls"]
    assert json.loads(raw["function"]["arguments"]) == new[3].tool_calls[0]["args"]


@pytest.mark.parametrize(("old", "new_type"), [("jpeg", "jpeg"), ("gif", "png")])
def test_json_text_keeps_its_form_and_states_the_new_type(old: str, new_type: str) -> None:
    before = '{ "n" : 1.50, "u":"\\u00fc\\/",\n  "content":[ {"type":"image","data":"'
    after = f'", "mimeType" :"image/{old}"}} ], "a":2, "a" : 3}}\n'
    (new,) = RUNNABLE.invoke([ToolMessage(before + encoded(old) + after, tool_call_id="1")])
    assert new.text.startswith(before)
    assert new.text.endswith(after.replace(old, new_type))
    shown = open_png(base64.b64decode(json.loads(new.text)["content"][0]["data"]))
    red, green, _ = np.moveaxis(shown.pixels.astype(int), 2, 0)
    assert (red - green).max() < 60


def test_an_mcp_picture_in_words_is_cleaned() -> None:
    shown = "[ImageContent(type='image', data='{}', mimeType='image/png', annotations=None)]"
    (new,) = RUNNABLE.invoke([ToolMessage(shown.format(base64_png(RED)), tool_call_id="1")])
    before, after = shown.split("{}")
    assert new.text.startswith(before)
    assert new.text.endswith(after)
    assert covered(open_png(base64.b64decode(new.text[len(before) : -len(after)])))


def test_blocks_in_tool_calls_are_words() -> None:
    for block in (
        {"type": "image_url", "image_url": {"url": "https://files.slack.com/a.png"}},
        {"type": "file", "file": {"url": "https://s3.example.org/a.pdf"}},
        {"type": "image", "file_id": "file-1"},
        {"type": "image", "base64": "iVBORw0KGgo", "mime_type": "image/png"},
    ):
        call = {"name": "post", "args": {"blocks": [block]}, "id": "1", "type": "tool_call"}
        message = AIMessage("", tool_calls=[call])
        assert RUNNABLE.invoke([message]) == [message]


def test_what_a_block_declares_is_still_refused() -> None:
    for broken in (data_url(RED)[:-200], "data:image/svg+xml,%3Csvg/%3E"):
        for block in (
            {"type": "image_url", "image_url": {"url": broken}},
            {"type": "input_image", "image_url": broken},
        ):
            with pytest.raises(ImageRejected):
                RUNNABLE.invoke([HumanMessage([block])])
            with pytest.raises(ImageRejected):
                RUNNABLE.invoke([HumanMessage("", additional_kwargs={"content": [block]})])
    for whole in (data_url(RED)[:-200], "data:image/svg+xml,%3Csvg/%3E"):
        with pytest.raises(ImageRejected):
            RUNNABLE.invoke(whole)


@pytest.mark.parametrize("broken", [data_url(RED)[:-200], "data:image/svg+xml,%3Csvg/%3E"])
def test_an_image_field_of_a_block_shows_nothing_that_cannot_be_read(broken: str) -> None:
    output = {"type": "computer_screenshot", "image_url": broken}
    blocks: list[dict[str, Any]] = [
        {"type": "computer_call_output", "call_id": "c", "output": output},
        {"type": "image_generation_call", "result": broken.partition(",")[2]},
        {"type": "custom", "shots": [broken]},
    ]
    for block in blocks:
        try:
            new = RUNNABLE.invoke([AIMessage([block])])
        except (ImageRejected, MessageError):
            continue
        assert broken not in repr(new)
        assert "not shown" in repr(new)


def test_a_complete_picture_that_cannot_be_read_is_not_shown_as_a_value() -> None:
    body = base64.b64encode(ANIMATION).decode()
    shots = {"shot": body, "raw": ANIMATION}
    (new,) = RUNNABLE.invoke([ToolMessage("", tool_call_id="1", artifact=shots)])
    assert body not in repr(new)
    note = "[image not shown: it is animated or has several pages]"
    assert new.artifact == {"shot": note, "raw": note.encode()}
    drawn = {"type": "image_generation_call", "result": body}
    (answer,) = RUNNABLE.invoke([AIMessage([drawn])])
    assert body not in repr(answer)
    assert note in repr(answer)


def test_a_question_about_a_data_url_is_a_question() -> None:
    for text in (
        "data:image/png;base64,iVBORw0KGgo is what I see. Why?",
        "Data: three apples, two pears. How many?",
        "data:text/plain,hello",
    ):
        assert RUNNABLE.invoke(text) == text


def test_the_types_of_words_stay() -> None:
    document = Document('[{"type": "image", "file_id": "1"}]', metadata={"a": b"\xff\xd8\xff"})
    assert TRANSFORMER.transform_documents([document]) == [document]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder of files full of data URLs, CSS, SVG and base64."""
    for number, text in enumerate(HARMLESS.values()):
        (tmp_path / f"{number:02}.txt").write_text(text, newline="")
    return tmp_path


def coding_tools() -> list[Any]:
    @tool
    def read(path: str) -> str:
        """Read a file."""
        return Path(path).read_bytes().decode()

    @tool(response_format="content_and_artifact")
    def read_with_bytes(path: str) -> tuple[str, bytes]:
        """Read a file, with its bytes as artifact."""
        return Path(path).read_bytes().decode(), Path(path).read_bytes()

    @tool
    def write(path: str, content: str) -> str:
        """Write a file."""
        Path(path).write_bytes(content.encode())
        return "ok"

    @tool
    def edit(path: str, old: str, new: str) -> str:
        """Replace a text in a file."""
        text = Path(path).read_bytes().decode()
        assert old in text
        Path(path).write_bytes(text.replace(old, new).encode())
        return "ok"

    return [read, read_with_bytes, write, edit]


class CopyingModel(RecordingModel):
    """Reads a file, then writes what it read, then edits it, as a coding agent does."""

    path: str

    def _generate(self, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
        read = next((m.text for m in messages if isinstance(m, ToolMessage)), "")
        steps = [
            ("read", {}),
            ("read_with_bytes", {}),
            ("write", {"content": read}),
            ("edit", {"old": read, "new": f"{read}\n/* end */\n"}),
        ]
        self.answers = [
            AIMessage("", tool_calls=[{"name": n, "args": {"path": self.path, **a}, "id": n}])
            for n, a in steps
        ]
        self.answers.append(AIMessage(f"I changed it to {read}"))
        return super()._generate(messages, *args, **kwargs)


@pytest.mark.evidence
async def test_a_coding_agent_leaves_byte_identical_files(repository: Path) -> None:
    middleware = guard()
    for asynchronous in (False, True):
        for file in sorted(repository.iterdir()):
            before = file.read_bytes()
            model = CopyingModel(answers=[AIMessage("")], path=str(file))
            agent = create_agent(model, coding_tools(), middleware=[middleware])
            asked = {"messages": [HumanMessage(f"Look at {before.decode()}")]}
            state = await agent.ainvoke(asked) if asynchronous else agent.invoke(asked)
            assert file.read_bytes() == before + b"\n/* end */\n"
            assert state["messages"][0].text == f"Look at {before.decode()}"
            assert state["messages"][-1].text == f"I changed it to {before.decode()}"
            file.write_bytes(before)


def test_a_coding_agent_never_copies_an_unsafe_picture(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    before = f"<p>\t é</p>\r\n<img src='{data_url(RED)}'>\n<img src='{data_url(PLAIN)}'>"
    file.write_text(before, newline="")
    model = CopyingModel(answers=[AIMessage("")], path=str(file))
    agent = create_agent(model, [*coding_tools()[:3], _no_edit()], middleware=[guard()])
    agent.invoke({"messages": [HumanMessage("Copy it.")]})
    after = file.read_bytes().decode()
    head, tail = before.split(base64_png(RED))
    assert after.startswith(head)
    assert after.endswith(tail)
    assert covered(open_png(base64.b64decode(after[len(head) : -len(tail)])))
    assert base64_png(RED) not in repr(model.seen)
    assert png(RED) not in repr(model.seen).encode()


def _no_edit() -> Any:
    @tool
    def edit(path: str, old: str, new: str) -> str:
        """Replace a text in a file; this one changes nothing."""
        return "ok"

    return edit


def test_what_is_no_picture_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def counted(part: Any, place: str, policy: Any) -> Any:
        loads.append(place)
        return load_picture(part, place, policy)

    monkeypatch.setattr(loader, "load_picture", counted)
    runnable = ImageGuardRunnable(guard=red_guard())
    broken = base64_png(RED)[:-40]
    messages = [HumanMessage(f"data:image/png;base64,{broken} and words")]
    for _ in range(3):
        assert runnable.invoke(messages) == messages
    assert len(loads) == 1
    # A block that declares it is refused all the same.
    block = {"type": "image", "base64": broken, "mime_type": "image/png"}
    with pytest.raises(ImageRejected):
        runnable.invoke([HumanMessage([block])])


@pytest.mark.parametrize("on_unsafe", ["mask", "block"])
def test_a_blocked_picture_among_words_ends_nothing(on_unsafe: OnUnsafe) -> None:
    runnable = ImageGuardRunnable(guard=red_guard(), on_unsafe=on_unsafe)
    text = f"See {data_url(ALL_RED)} there."
    model = RecordingModel(answers=[AIMessage("Gladly.")])
    for messages in ([HumanMessage(text)], [SystemMessage(text), HumanMessage("Hello.")]):
        assert (runnable | model).invoke(messages).text == "Gladly."
        assert model.seen[-1][0].text == f"See {UNSAFE} there."
    assert runnable.invoke(text) == f"See {UNSAFE} there."
