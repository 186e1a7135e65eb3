"""A conversation goes on after every refused or blocked picture, and its memory holds none raw."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import DocumentBlock, ToolCallBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.workflow import Context

from guardalign_middleware import notices
from guardalign_middleware.errors import ConfigError, GuardAlignError
from guardalign_middleware.testing import base64_png, has_red, png, red_chain
from guardalign_middleware.testing.refused import refused_files
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignMemory,
    GuardAlignMultiModal,
    guard_memory,
)
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    REPLY,
    SAFE,
    UNSAFE,
    ask,
    ignore_agent_warnings,
    image_block,
)
from llama_index_support.doubles import Messages, PlainLLM, Says, ToolLLM

pytestmark = [
    ignore_agent_warnings,
    # LlamaIndex cannot serialize a `ChatMemoryBuffer` that holds messages, and leaves it out.
    pytest.mark.filterwarnings(
        "ignore::workflows.context.state_store.UnserializableKeyWarning",
    ),
]


FILES = refused_files()
CAUSES: dict[str, Any] = {
    "an animation": lambda: ImageBlock(image=FILES["animated GIF"][0]),
    "a broken upload": lambda: ImageBlock(image=FILES["broken upload"][0]),
    "a wrong type": lambda: ImageBlock(image=png(SAFE), image_mimetype="image/jpeg"),
    "a link": lambda: ImageBlock(url="https://example.org/a.png"),
    "a PDF": lambda: DocumentBlock(data=b"%PDF-1.4", document_mimetype="application/pdf"),
}
SAYS = "Thought: I can answer.\nAnswer: A square."


def user(block: Any) -> ChatMessage:
    return ChatMessage(role="user", blocks=[block, TextBlock(text="What is it?")])


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("local", [True, False])
def test_what_was_just_sent_raises_and_older_turns_get_the_notice(cause: str, local: bool) -> None:
    inner, runner = PlainLLM(), Says("I see.")
    llm: Any = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    if local:
        llm = GuardAlignMultiModal(chain=red_chain(runner=runner))
    bad = user(CAUSES[cause]())
    for _ in range(2):
        with pytest.raises(GuardAlignError):
            llm.chat([bad])
    for later in (
        [bad, ChatMessage("I cannot.", role="assistant"), ChatMessage("And now?")],
        [bad, ChatMessage("And now?")],  # A memory kept it, although its turn failed.
        [ChatMessage("Hi"), ChatMessage(role="tool", blocks=[CAUSES[cause]()])],
    ):
        assert llm.chat(later).message.content == "I see."
    seen = str(runner.calls) if local else str(inner.calls)
    assert seen.count("not shown: ") >= 3
    llm.on_refused = "notice"
    assert llm.chat([bad]).message.content == "I see."


@pytest.mark.parametrize("cause", CAUSES)
def test_a_local_llm_reports_what_it_refused(cause: str) -> None:
    llm = GuardAlignMultiModal(chain=red_chain())
    bad = user(CAUSES[cause]())
    raw = llm.chat([bad, ChatMessage("No.", role="assistant"), ChatMessage("And now?")]).raw
    assert isinstance(raw, dict)
    (refused,) = raw["guardalign"]["refused"]
    assert (refused["decision"], refused["action"]) == ("block", "refused")
    assert refused["place"] == "messages[0].blocks"
    assert refused["reason"]


def test_a_local_llm_has_the_options_of_its_chain_unless_given() -> None:
    chain = red_chain().with_options(on_refused="notice", on_blocked="notice")
    llm = GuardAlignMultiModal(chain=chain)
    for block in (CAUSES["a link"](), image_block(BLOCKED)):
        assert "echo" in (llm.chat([user(block)]).message.content or "")
    strict = GuardAlignMultiModal(chain=chain, on_refused="raise", on_blocked="reply")
    with pytest.raises(GuardAlignError):
        strict.chat([user(CAUSES["a link"]())])
    assert strict.chat([user(image_block(BLOCKED))]).message.content == REPLY


@pytest.mark.parametrize("local", [True, False])
def test_a_blocked_picture_is_answered_once(local: bool) -> None:
    inner, runner = PlainLLM(), Says("I see.")
    llm: Any = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    if local:
        llm = GuardAlignMultiModal(chain=red_chain(runner=runner))
    bad = user(image_block(BLOCKED))
    assert llm.chat([bad]).message.content == REPLY
    reply = ChatMessage(REPLY, role="assistant")
    assert llm.chat([bad, reply, ChatMessage("And now?")]).message.content == "I see."
    assert llm.chat([bad, ChatMessage("And now?")]).message.content == "I see."
    assert notices.UNSAFE in (str(runner.calls) if local else str(inner.calls))
    llm.on_blocked = "notice"
    assert llm.chat([bad]).message.content == "I see."


def memories() -> dict[str, Any]:
    return {
        "Memory": Memory.from_defaults(token_limit=20_000, chat_store=Messages()),
        "ChatMemoryBuffer": ChatMemoryBuffer.from_defaults(token_limit=20_000),
    }


@pytest.mark.usefixtures("loop_of_sync_calls")
@pytest.mark.parametrize("cause", [*CAUSES, "blocked"])
@pytest.mark.parametrize("kind", ["Memory", "ChatMemoryBuffer"])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_chat_engine_goes_on(cause: str, kind: str, guarded: bool) -> None:
    inner = PlainLLM()
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    memory = memories()[kind]
    engine = SimpleChatEngine.from_defaults(
        llm=llm, memory=guard_memory(memory, llm) if guarded else memory
    )
    block = image_block(BLOCKED) if cause == "blocked" else CAUSES[cause]()
    engine._memory.put(ChatMessage("Hi"))
    if cause == "blocked":
        engine._memory.put(user(block))
        assert engine.chat("And?").response in {REPLY, "I see."}
    else:
        try:
            engine._memory.put(user(block))
            engine.chat("And?")
        except GuardAlignError:
            pass
    assert engine.chat("And now?").response == "I see."
    assert engine.chat("And then?").response == "I see."


CALL = ToolCallBlock(tool_name="look", tool_kwargs={}, tool_call_id="1")


@pytest.mark.parametrize("cause", [*CAUSES, "blocked"])
@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("kind", [FunctionAgent, ReActAgent])
async def test_an_agent_goes_on(cause: str, guarded: bool, kind: Any) -> None:
    def make() -> Any:
        return image_block(BLOCKED) if cause == "blocked" else CAUSES[cause]()

    def look() -> Any:
        """Look."""
        return make()

    script = [ChatMessage(role="assistant", blocks=[CALL])] if kind is FunctionAgent else []
    inner = ToolLLM(script=[*script, *[ChatMessage(SAYS, role="assistant")] * 9])
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    memory: Any = ChatMemoryBuffer.from_defaults(token_limit=20_000)
    memory = guard_memory(memory, llm) if guarded else memory
    agent = kind(llm=llm, tools=[look])
    ctx = Context(agent)
    assert str(await agent.run(user_msg="Look.", ctx=ctx, memory=memory))
    try:
        await agent.run(user_msg=user(make()), ctx=ctx, memory=memory)
    except GuardAlignError:
        assert cause != "blocked"
    for text in ("And now?", "And then?"):
        assert "square" in str(await agent.run(user_msg=text, ctx=ctx, memory=memory))


@pytest.mark.parametrize("kind", ["Memory", "ChatMemoryBuffer"])
async def test_no_raw_picture_is_in_the_memory_nor_in_the_context(kind: str) -> None:
    def look() -> Any:
        """Look."""
        return image_block(UNSAFE)

    calls = [ChatMessage(role="assistant", blocks=[CALL]), ChatMessage(SAYS, role="assistant")]
    inner = ToolLLM(script=[*calls, *calls])
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    memory = GuardAlignMemory(memories()[kind], guard=GUARD)
    agent = FunctionAgent(llm=llm, tools=[look])
    ctx = Context(agent)
    for message in (user(image_block(UNSAFE)), user(image_block(BLOCKED))):
        await agent.run(user_msg=message, ctx=ctx, memory=memory)
    held = await memory.aget_all()
    pictures = [
        block for message in held for block in message.blocks if isinstance(block, ImageBlock)
    ]
    assert len(pictures) >= 2
    assert not any(has_red(GUARD.load(block.resolve_image().read())) for block in pictures)
    written = json.dumps(ctx.to_dict())
    for image in (UNSAFE, BLOCKED):
        assert base64_png(image)[40:120] not in written
        assert base64.b64encode(base64_png(image).encode()).decode()[60:120] not in written


def test_a_guarded_memory_lets_the_llm_reply_to_a_blocked_picture() -> None:
    inner = PlainLLM()
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    memory = guard_memory(ChatMemoryBuffer.from_defaults(token_limit=20_000), llm)
    memory.put(user(image_block(BLOCKED)))
    assert llm.chat(memory.get()).message.content == REPLY
    memory.put(ChatMessage(REPLY, role="assistant"))
    memory.put(ChatMessage("And now?"))
    assert llm.chat(memory.get()).message.content == "I see."
    assert all("guardalign" not in m.additional_kwargs for m in inner.calls[0])


def test_what_a_memory_holds_already_is_cleaned() -> None:
    llm = GuardAlignGuardedLLM(llm=PlainLLM(), guard=GUARD)
    raw = ChatMemoryBuffer.from_defaults(token_limit=20_000)
    raw.set([user(CAUSES["a broken upload"]()), *ask(image_block(UNSAFE))])
    memory = guard_memory(raw, llm)
    first, second = memory.get_all()
    assert "not shown" in (first.content or "")
    assert not has_red(GUARD.load(second.blocks[0].resolve_image().read()))  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="GuardAlignGuardedLLM"):
        guard_memory(raw, PlainLLM())


def test_a_memory_can_be_written_down_and_restored() -> None:
    raw = ChatMemoryBuffer.from_defaults(token_limit=20_000)
    memory = GuardAlignMemory(raw, preset="mini", on_refused="notice")
    again = GuardAlignMemory.from_dict(json.loads(json.dumps(memory.to_dict())))
    assert isinstance(again.memory, ChatMemoryBuffer)
    assert again.get_all() == memory.get_all()
    assert again.on_refused == "notice"
    with pytest.raises(ConfigError, match="preset"):
        GuardAlignMemory.from_dict(GuardAlignMemory(raw, guard=GUARD).to_dict())
