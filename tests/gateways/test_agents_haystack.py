"""Haystack's pipelines and agents: what their models see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from haystack import Pipeline
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import (
    ChatMessage,
    FileContent,
    ImageContent,
    TextContent,
    ToolCall,
)
from haystack.tools import Tool
from haystack.utils import Secret

from guardalign_agents import ImageBlocked, haystack
from guardalign_agents.haystack import GuardAlignImageGuard, GuardedChatGenerator
from guardalign_middleware import RemoteImageGuard
from guardalign_middleware.errors import ConfigError, GuardAlignError, Unreachable
from tests.gateways.agent_service import Service
from tests.gateways.processes import GUARD_KEY, ROOT
from tests.gateways.sent_pictures import HOPELESS, SAFE, UNSAFE, arrived, b64, leaks, url

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PAGE = (ROOT / "docs" / "gateways.md").read_text()
CALL = ToolCall("shoot", {}, "c0")
GENERATORS = {"chat": OpenAIChatGenerator, "responses": OpenAIResponsesChatGenerator}


def image(raw: bytes) -> ImageContent:
    return ImageContent(b64(raw), "image/png")


def asked(*parts: Any) -> ChatMessage:
    return ChatMessage.from_user(content_parts=list(parts))


LOOK, ANSWER = ChatMessage.from_user("Look."), ChatMessage.from_assistant("A thing.")
PLACES: dict[str, Callable[[bytes], list[ChatMessage]]] = {
    "user": lambda raw: [asked("Look.", image(raw))],
    "user, picture only": lambda raw: [asked(image(raw))],
    "history": lambda raw: [asked("Look.", image(raw)), ANSWER, LOOK],
    "tool result in the history": lambda raw: [
        LOOK,
        ChatMessage.from_assistant(tool_calls=[CALL]),
        ChatMessage.from_tool([TextContent("Shot."), image(raw)], CALL),
        LOOK,
    ],
    "words": lambda raw: [ChatMessage.from_user(f"See {url(raw)} there.")],
}


@pytest.fixture(scope="module")
def guard(guard_url: str) -> Iterator[RemoteImageGuard]:
    with RemoteImageGuard(guard_url, api_key=GUARD_KEY) as made:
        yield made


def generator_of(service: Service, kind: str = "chat", **more: Any) -> Any:
    made = GENERATORS[kind](api_key=Secret.from_token("k"), model="gpt-4o", max_retries=0, **more)
    made.warm_up()
    made.client = made.client.with_options(
        http_client=httpx.Client(transport=httpx.MockTransport(service))
    )
    return made


def ask(generator: Any, messages: list[ChatMessage], *, stream: bool) -> str:
    pieces: list[Any] = []
    more = {"streaming_callback": pieces.append} if stream else {}
    (reply,) = generator.run(messages, **more)["replies"]
    assert bool(pieces) == stream
    return str(reply.text)


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_table_of_the_page(guard: RemoteImageGuard, kind: str, stream: bool) -> None:
    rows = []
    for name in [*PLACES, "tool result"]:
        counts = []
        if kind == "chat" and name.startswith("tool result"):
            continue  # Haystack refuses pictures in tools' results there.
        for guarded in (False, True):
            service = Service()
            generator = generator_of(service, kind)
            if guarded:
                generator = GuardedChatGenerator(generator, guard)
            if name in PLACES:
                assert ask(generator, PLACES[name](UNSAFE), stream=stream) == "Blue thing"
            else:
                shoot_with(generator, UNSAFE)
            counts.append(leaks(service.bodies[-1]))
        rows.append(f"| Haystack, {kind} | {name} | {counts[0]} | {counts[1]} |")
    assert "\n".join(rows) in PAGE


def shoot_with(generator: Any, raw: bytes) -> Any:
    schema = {"type": "object", "properties": {}}
    tool = Tool(
        "shoot",
        "Shoot.",
        schema,
        lambda: [TextContent("Shot."), image(raw)],
        outputs_to_string={"raw_result": True},
    )
    return Agent(chat_generator=generator, tools=[tool]).run([LOOK])


def test_a_component_in_a_pipeline(guard: RemoteImageGuard) -> None:
    service = Service()
    pipeline = Pipeline()
    pipeline.add_component("guard", GuardAlignImageGuard(guard))
    pipeline.add_component("llm", generator_of(service))
    pipeline.connect("guard.messages", "llm.messages")
    result = pipeline.run(
        {"guard": {"messages": PLACES["user"](UNSAFE)}}, include_outputs_from={"guard"}
    )
    assert result["llm"]["replies"][0].text == "Blue thing"
    assert result["guard"]["guardalign"]["decision"] == "mask"
    assert arrived(service.bodies) == [False]


async def test_a_component_awaited(guard: RemoteImageGuard) -> None:
    messages = PLACES["user"](UNSAFE)
    cleaned = (await GuardAlignImageGuard(guard).run_async(messages))["messages"]
    assert arrived(cleaned[0].images[0].base64_image) == [False]
    assert messages[0].images[0].base64_image == b64(UNSAFE)
    service = Service()
    generator = generator_of(service)
    awaited = await GuardedChatGenerator(_Sync(generator), guard).run_async(messages)
    assert awaited["replies"][0].text == "Blue thing"
    assert arrived(service.bodies) == [False]


class _Sync:
    """A generator that cannot be awaited."""

    def __init__(self, generator: Any) -> None:
        self.run = generator.run


def test_a_safe_picture_stays(guard: RemoteImageGuard) -> None:
    messages = PLACES["tool result in the history"](SAFE)
    cleaned = GuardAlignImageGuard(guard).run(messages)["messages"]
    words, shown = cleaned[2].tool_call_result.result
    assert words == TextContent("Shot.")
    assert arrived(shown.base64_image) == [False]
    assert [new is old for new, old in zip(cleaned, messages, strict=True)] == [
        *(True, True, False, True)
    ]


def test_the_words_of_a_turn_are_those_that_a_model_reads() -> None:
    """They are judged together with those in its pictures."""
    said = haystack._DIALECT.said
    assert said(asked("Fill in", image(SAFE), TextContent("the list."))) == "Fill in\nthe list."
    assert said(ChatMessage.from_tool("Shot.", CALL)) == "Shot."
    assert said(PLACES["tool result in the history"](SAFE)[2]) == "Shot."
    assert said(ANSWER) == "A thing."


def test_a_blocked_picture_ends_the_run_before_the_model(guard: RemoteImageGuard) -> None:
    service = Service()
    with pytest.raises(ImageBlocked) as caught:
        GuardedChatGenerator(generator_of(service), guard).run(PLACES["user"](HOPELESS))
    assert caught.value.reply == "I cannot help with this image."
    assert service.bodies == []


@pytest.mark.parametrize("name", ["history", "tool result in the history"])
def test_older_blocked_pictures_end_nothing(guard: RemoteImageGuard, name: str) -> None:
    service = Service()
    GuardedChatGenerator(generator_of(service), guard).run(PLACES[name](HOPELESS))
    assert arrived(service.bodies) == []
    assert "found unsafe" in str(service.bodies)


@pytest.mark.parametrize(
    "content",
    [
        FileContent(b64(b"%PDF-1.7 x".ljust(90)), "application/pdf"),
        FileContent(b64(UNSAFE), "application/octet-stream"),
        FileContent(b64(UNSAFE), "video/mp4"),
        FileContent(b64(UNSAFE), "audio/wav"),
        FileContent(b64(UNSAFE), "text/plain"),
        ImageContent(b64(b"\x00\x01\x02"), "image/png"),
    ],
    ids=lambda each: f"{type(each).__name__} {each.mime_type}",
)
def test_what_cannot_be_looked_at_never_arrives(guard: RemoteImageGuard, content: Any) -> None:
    component = GuardAlignImageGuard(guard)
    try:
        cleaned = component.run([asked("Look.", content)])["messages"]
    except GuardAlignError:
        pass
    else:
        assert content not in cleaned[0]._content
    (_, _, cleaned_tool, _) = component.run(
        [
            LOOK,
            ChatMessage.from_assistant(tool_calls=[CALL]),
            ChatMessage.from_tool([content], CALL),
            LOOK,
        ]
    )["messages"]
    assert content not in cleaned_tool.tool_call_result.result


def test_sound_passes(guard: RemoteImageGuard) -> None:
    # The second begins like a picture.
    sounds = [b"RIFF....WAVE", b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8]
    message = asked("Hear.", *(FileContent(b64(raw), "audio/wav") for raw in sounds))
    assert GuardAlignImageGuard(guard).run([message])["messages"][0] is message


def test_without_its_guard_a_model_is_not_asked(guard_url: str) -> None:
    guard = RemoteImageGuard(guard_url, api_key=GUARD_KEY)
    service = Service()
    generator = GuardedChatGenerator(generator_of(service), guard)
    guard.close()
    with pytest.raises(Unreachable):
        generator.run(PLACES["user"](SAFE))
    assert service.bodies == []


def test_a_pipeline_is_written_and_read(
    guard_url: str, monkeypatch: pytest.MonkeyPatch, guard: RemoteImageGuard
) -> None:
    monkeypatch.setenv("GUARD_KEY", GUARD_KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    pipeline = Pipeline()
    key = Secret.from_env_var("GUARD_KEY")
    first = GuardAlignImageGuard(url=guard_url, api_key=key, on_unsafe="notice")
    pipeline.add_component("guard", first)
    generator = GuardedChatGenerator(OpenAIChatGenerator(), url=guard_url, api_key=key)
    pipeline.add_component("llm", generator)
    written = pipeline.dumps()
    assert GUARD_KEY not in written
    again = Pipeline.loads(written, allowed_modules=["guardalign_agents.haystack"])
    cleaned = again.get_component("guard").run(PLACES["user"](UNSAFE))["messages"]
    assert cleaned[0].images == []
    assert isinstance(again.get_component("llm").chat_generator, OpenAIChatGenerator)
    for each in (pipeline, again):
        each.get_component("guard").close()
        each.get_component("llm").close()
    with pytest.raises(ConfigError, match="Pass url or preset"):
        GuardAlignImageGuard(guard).to_dict()
