"""Agents of Pydantic AI: what their models see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, ToolOutput
from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    BinaryImage,
    DocumentUrl,
    FilePart,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextContent,
    TextPart,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
    UploadedFile,
    UserPromptPart,
    VideoUrl,
)
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from guardalign_agents import ImageBlocked, pydantic_ai
from guardalign_agents.pydantic_ai import GuardedModel, ImageGuardCapability
from guardalign_middleware import RemoteImageGuard
from guardalign_middleware.errors import GuardAlignError, Unreachable
from guardalign_middleware.testing import open_png, picture
from tests.gateways.agent_service import Service
from tests.gateways.processes import GUARD_KEY, ROOT
from tests.gateways.sent_pictures import HOPELESS, SAFE, UNSAFE, arrived, b64, leaks, url

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PAGE = (ROOT / "docs" / "gateways.md").read_text()
# Sound can begin like a picture.
HISS = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8
MODELS: dict[str, Callable[..., Model]] = {
    "chat": OpenAIChatModel,
    "responses": OpenAIResponsesModel,
}


def binary(raw: bytes) -> BinaryContent:
    return BinaryContent(raw, media_type="image/png")


def asked(*content: Any) -> ModelRequest:
    return ModelRequest([UserPromptPart(list(content))])


def answered(*parts: Any) -> ModelResponse:
    return ModelResponse(list(parts) or [TextPart("A thing.")])


def tool_turns(content: Any) -> list[ModelMessage]:
    return [
        asked("Look."),
        answered(ToolCallPart("shoot", {}, "c0")),
        ModelRequest([ToolReturnPart("shoot", content, "c0")]),
        answered(),
    ]


# A prompt and a history each.
PLACES: dict[str, Callable[[bytes], tuple[Any, list[ModelMessage]]]] = {
    "user": lambda raw: (["Look.", binary(raw)], []),
    "user, picture only": lambda raw: ([binary(raw)], []),
    "user, data URL": lambda raw: (["Look.", ImageUrl(url(raw))], []),
    "history": lambda raw: ("Look.", [asked(binary(raw)), answered()]),
    "tool result in the history": lambda raw: ("Look.", tool_turns([binary(raw)])),
    "tool result in a mapping": lambda raw: ("Look.", tool_turns({"shot": binary(raw)})),
    "tool result in base64": lambda raw: ("Look.", tool_turns({"shot": b64(raw)})),
    "words": lambda raw: (f"See {url(raw)} there.", []),
}


@pytest.fixture(scope="module")
def guard(guard_url: str) -> Iterator[RemoteImageGuard]:
    with RemoteImageGuard(guard_url, api_key=GUARD_KEY) as made:
        yield made


def model_of(service: Service, kind: str = "chat") -> Model:
    client = AsyncOpenAI(
        api_key="k", base_url="http://service/v1", http_client=service.client(), max_retries=0
    )
    return MODELS[kind]("gpt-4o", provider=OpenAIProvider(openai_client=client))


async def ask(agent: Agent, prompt: Any, history: list[ModelMessage], *, stream: bool) -> str:
    if not stream:
        return (await agent.run(prompt, message_history=history)).output
    async with agent.run_stream(prompt, message_history=history) as result:
        return await result.get_output()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_table_of_the_page(guard: RemoteImageGuard, kind: str, stream: bool) -> None:
    rows = []
    for name in [*PLACES, "tool result"]:
        counts = []
        for capabilities in ([], [ImageGuardCapability(guard)]):
            service = Service()
            agent = Agent(model_of(service, kind), capabilities=capabilities)
            prompt, history = PLACES[name](UNSAFE) if name in PLACES else ("Look.", [])
            if name not in PLACES:
                agent.tool_plain(lambda: binary(UNSAFE), name="shoot", description="Shoot.")
            assert await ask(agent, prompt, history, stream=stream) == "Blue thing"
            counts.append(leaks(service.bodies[-1]))
        rows.append(f"| Pydantic AI, {kind} | {name} | {counts[0]} | {counts[1]} |")
    assert "\n".join(rows) in PAGE


async def seen_by(model: Callable[[Model], Model], messages: list[ModelMessage]) -> Any:
    """What a model that is asked about messages gets."""
    seen: list[ModelMessage] = []

    def answer(given: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.extend(given)
        return answered()

    agent = Agent(model(FunctionModel(answer)))
    await agent.run("Look.", message_history=messages)
    return seen


async def test_a_safe_picture_stays(guard: RemoteImageGuard) -> None:
    messages = [asked("Look.", binary(SAFE)), answered(), asked("Look."), answered()]
    seen = await seen_by(lambda model: GuardedModel(model, guard), messages)
    words, shown = seen[0].parts[0].content
    assert words == "Look."
    assert (open_png(shown.data).pixels == picture().pixels).all()
    assert seen[2].parts[0] is messages[2].parts[0]


async def test_a_cleaned_picture_keeps_its_class_and_detail(guard: RemoteImageGuard) -> None:
    picture = BinaryContent(UNSAFE, media_type="image/png", vendor_metadata={"detail": "low"})
    messages = [asked("Look.", picture), answered()]
    seen = await seen_by(lambda model: GuardedModel(model, guard), messages)
    _, shown = seen[0].parts[0].content
    assert isinstance(shown, BinaryContent)
    assert shown.vendor_metadata == {"detail": "low"}
    assert arrived(shown.base64) == [False]
    assert messages[0].parts[0].content[1] is picture  # type: ignore[union-attr]


async def test_a_picture_keeps_its_name_and_a_class_of_ones_own(guard: RemoteImageGuard) -> None:
    """Words may name it."""

    class Shot(BinaryContent):
        pass

    for raw in (SAFE, UNSAFE):
        pictures = [
            BinaryContent(raw, media_type="image/png", identifier="photo-1"),
            BinaryImage(raw, media_type="image/png"),
            Shot(raw, media_type="image/png", identifier="photo-3"),
            ImageUrl(url(raw), identifier="photo-4"),
        ]
        messages = [asked("Look at photo-1.", *pictures), answered()]
        seen = await seen_by(lambda model: GuardedModel(model, guard), messages)
        _, *shown = seen[0].parts[0].content
        assert [each.identifier for each in shown] == [each.identifier for each in pictures]
        assert [type(each) for each in shown][:3] == [BinaryContent, BinaryImage, Shot]
        assert arrived([each.base64 for each in shown]) == [False] * 4


async def test_a_picture_of_another_model_is_cleaned(guard: RemoteImageGuard) -> None:
    messages = [asked("Draw."), answered(FilePart(binary(UNSAFE)), TextPart("There."))]
    seen = await seen_by(lambda model: GuardedModel(model, guard), messages)
    assert arrived(seen[1].parts[0].content.base64) == [False]
    messages = [asked("Draw."), answered(FilePart(binary(HOPELESS)))]
    seen = await seen_by(lambda model: GuardedModel(model, guard), messages)
    assert "found unsafe" in seen[1].parts[0].content


async def test_a_blocked_picture_ends_the_run_before_the_model(guard: RemoteImageGuard) -> None:
    service = Service()
    agent = Agent(GuardedModel(model_of(service), guard))
    with pytest.raises(ImageBlocked) as caught:
        await agent.run(["Look.", binary(HOPELESS)])
    assert caught.value.reply == "I cannot help with this image."
    with pytest.raises(ImageBlocked):
        async with agent.run_stream(["Look.", binary(HOPELESS)]):
            pass
    assert service.bodies == []


class Thing(BaseModel):
    """A structured answer."""

    name: str


@pytest.mark.parametrize("output", [Thing, ToolOutput(Thing, name="thing")], ids=["usual", "named"])
async def test_a_blocked_picture_ends_the_run_after_a_structured_answer(
    guard: RemoteImageGuard, output: Any
) -> None:
    """The result of the last run and the new prompt are one request."""
    seen: list[list[ModelMessage]] = []

    def answer(given: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(given)
        return answered(ToolCallPart(info.output_tools[0].name, {"name": "x"}))

    agent = Agent(GuardedModel(FunctionModel(answer), guard), output_type=output)
    history = (await agent.run("Look.")).all_messages()
    with pytest.raises(ImageBlocked):
        await agent.run(["Look.", binary(HOPELESS)], message_history=history)
    assert len(seen) == 1
    await agent.run(["Look.", binary(UNSAFE)], message_history=history)
    last = seen[-1][-1]
    assert [type(part) for part in last.parts] == [ToolReturnPart, UserPromptPart]
    assert arrived(last.parts[1].content[1].base64) == [False]  # type: ignore[union-attr]


async def test_a_blocked_picture_of_a_tool_ends_nothing(guard: RemoteImageGuard) -> None:
    seen: list[ModelMessage] = []

    def answer(given: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen[:] = given
        return answered(*([ToolCallPart("shoot", {}, "c1")] if len(given) == 1 else []))

    agent = Agent(GuardedModel(FunctionModel(answer), guard))
    agent.tool_plain(
        lambda: ToolReturn("Shot.", content=["It shows:", binary(HOPELESS)]),
        name="shoot",
        description="Shoot.",
    )
    await agent.run("Look.")
    words, shown = seen[-1].parts[1].content
    assert words == "It shows:"
    assert "found unsafe" in shown


@pytest.mark.parametrize("prompt", ["And now?", None])
async def test_a_blocked_picture_of_a_tool_ends_nothing_after_a_structured_answer(
    guard: RemoteImageGuard, prompt: str | None
) -> None:
    """It stands behind the result that ended the run, like the next prompt."""
    seen: list[list[ModelMessage]] = []

    def answer(given: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(given)
        output = ToolCallPart(info.output_tools[0].name, {"name": "x"}, "c1")
        return answered(*([ToolCallPart("shoot", {}, "c0")] if len(seen) == 1 else []), output)

    agent = Agent(
        GuardedModel(FunctionModel(answer), guard), output_type=Thing, end_strategy="exhaustive"
    )
    agent.tool_plain(
        lambda: ToolReturn("Shot.", content=["It shows:", binary(HOPELESS)]),
        name="shoot",
        description="Shoot.",
    )
    history = (await agent.run("Look.")).all_messages()
    for _ in range(2):
        await agent.run(prompt, message_history=history)
        assert "found unsafe" in str(seen[-1][-1].parts)
        assert arrived(str(seen[-1])) == []
    with pytest.raises(ImageBlocked):
        await agent.run(["Look.", binary(HOPELESS)], message_history=history)


async def test_a_tool_whose_name_begins_like_an_output_ends_nothing(
    guard: RemoteImageGuard,
) -> None:
    seen: list[ModelMessage] = []

    def answer(given: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen[:] = given
        name = "final_result_of_search"
        return answered(*([ToolCallPart(name, {}, "c1")] if len(given) == 1 else []))

    agent = Agent(GuardedModel(FunctionModel(answer), guard))
    agent.tool_plain(
        lambda: ToolReturn("Found.", content=[binary(HOPELESS)]),
        name="final_result_of_search",
        description="Search.",
    )
    await agent.run("Look.")
    assert "found unsafe" in str(seen[-1].parts)


def test_files_are_no_words_of_a_turn() -> None:
    said = pydantic_ai._DIALECT.said
    assert said(tool_turns({"title": "Shot.", "shot": binary(SAFE)})[2]) == "Shot."
    assert said(tool_turns([{"shots": (binary(SAFE), "Shot.", 3, None)}])[2]) == "Shot."
    assert said(tool_turns(Thing(name="Shot."))[2]) == "Shot."
    data = b64(SAFE * 9)
    assert said(tool_turns({"shot": data, "title": "Shot."})[2]).strip() == "Shot."
    assert said(asked(f"See data:image/png;base64,{data} there.")) == "See  there."


def test_the_words_of_a_turn_are_those_that_a_model_reads() -> None:
    """They are judged together with those in its pictures."""
    said = pydantic_ai._DIALECT.said
    assert said(asked("Fill in", TextContent("the list."), binary(SAFE))) == "Fill in\nthe list."
    assert said(ModelRequest([SystemPromptPart("Be kind."), UserPromptPart("Look.")])) == "Look."
    assert said(tool_turns(["Shot.", binary(SAFE)])[2]) == "Shot."
    assert said(tool_turns("Shot.")[2]) == "Shot."
    assert said(answered()) == "A thing."


@pytest.mark.parametrize("name", ["history", "tool result in the history"])
async def test_older_blocked_pictures_end_nothing(guard: RemoteImageGuard, name: str) -> None:
    service = Service()
    prompt, history = PLACES[name](HOPELESS)
    await ask(Agent(GuardedModel(model_of(service), guard)), prompt, history, stream=False)
    assert arrived(service.bodies) == []
    assert "found unsafe" in str(service.bodies)


@pytest.mark.parametrize(
    "content",
    [
        ImageUrl("https://example.org/a.png"),
        DocumentUrl("https://example.org/a.pdf"),
        VideoUrl("https://example.org/a.mp4"),
        UploadedFile("file-1", provider_name="openai"),
        BinaryContent(b"%PDF-1.7 x".ljust(90), media_type="application/pdf"),
        BinaryContent(b"\x00\x01\x02", media_type="image/png"),
        BinaryContent(UNSAFE, media_type="application/octet-stream"),
        BinaryContent(UNSAFE, media_type="video/mp4"),
        BinaryContent(UNSAFE, media_type="audio/wav"),
        BinaryContent(UNSAFE, media_type="text/plain"),
        AudioUrl(url(UNSAFE)),
        AudioUrl(url(UNSAFE).replace("image/png", "audio/wav")),
        AudioUrl("https://example.org/a.png"),
        AudioUrl("https://example.org/a", media_type="image/png"),
    ],
    ids=lambda each: f"{type(each).__name__} {getattr(each, 'media_type', '')}",
)
async def test_what_cannot_be_looked_at_never_arrives(
    guard: RemoteImageGuard, content: Any
) -> None:
    seen: list[Any] = []

    def answer(given: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.extend(given)
        return answered()

    agent = Agent(GuardedModel(FunctionModel(answer), guard))
    try:
        await agent.run(["Look.", content])
    except GuardAlignError:
        assert seen == []
    else:
        assert content not in seen[0].parts[0].content
    seen.clear()
    await agent.run("Look.", message_history=tool_turns([content]))
    assert content not in seen[2].parts[0].content


@pytest.mark.parametrize(
    "sound",
    [
        BinaryContent(b"RIFF....WAVE", media_type="audio/wav"),
        BinaryContent(HISS, media_type="audio/L16"),
        AudioUrl(f"data:audio/wav;base64,{b64(HISS)}"),
        AudioUrl("https://example.org/a.mp3"),
        AudioUrl("https://example.org/a"),
    ],
    ids=["file", "like a JPEG", "data URL", "address", "address of no type"],
)
async def test_sound_passes(guard: RemoteImageGuard, sound: Any) -> None:
    messages = [asked("Hear.", sound), answered()]
    seen = await seen_by(lambda model: GuardedModel(model, guard), messages)
    assert seen[0].parts[0].content[1] is sound


async def test_without_its_guard_a_model_is_not_asked(guard_url: str) -> None:
    guard = RemoteImageGuard(guard_url, api_key=GUARD_KEY)
    service = Service()
    agent = Agent(model_of(service), capabilities=[ImageGuardCapability(guard)])
    guard.close()
    with pytest.raises(Unreachable):
        await agent.run(["Look.", binary(SAFE)])
    assert service.bodies == []


async def test_tokens_of_cleaned_messages_are_counted(guard: RemoteImageGuard) -> None:
    class Counting(FunctionModel):
        async def count_tokens(self, messages: Any, *rest: Any) -> Any:
            raise LookupError(messages)

    model = GuardedModel(Counting(lambda given, info: answered()), guard)
    with pytest.raises(LookupError) as caught:
        await model.count_tokens([asked(binary(UNSAFE))], None, None)  # type: ignore[arg-type]
    assert arrived(caught.value.args[0][0].parts[0].content[0].base64) == [False]
