"""A conversation goes on after a picture that was refused or blocked, turn by turn.

Each thread has a turn of words, the bad turn, and two turns of words. The five causes of a refusal
are those that users meet most.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import DocumentBlock, ToolCallBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.testing import all_red, png, red_guard
from guardalign_middleware.testing.refused import refused_files
from langchain_guardalign import GuardAlignMiddleware, ImageGuardRunnable
from langchain_guardalign.testing import RecordingModel, holds_raw
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.conversations import REPLY, ignore_agent_warnings
from llama_index_support.doubles import ToolLLM

pytestmark = [ignore_agent_warnings, pytest.mark.slow]

LINK = "https://example.org/a.png"
REFUSALS = ("animated GIF", "broken upload", "JPEG called PNG", "link", "PDF")
BLOCKED = png(all_red())
FILES = refused_files()


def in_langchain(what: str) -> dict[str, Any]:
    if what == "link":
        return {"type": "image", "url": LINK}
    data, mime_type = FILES[what]
    kind = "file" if what == "PDF" else "image"
    return {"type": kind, "base64": base64.b64encode(data).decode(), "mime_type": mime_type}


def in_llama_index(what: str) -> Any:
    if what == "link":
        return ImageBlock(url=LINK)
    data, mime_type = FILES[what]
    if what == "PDF":
        return DocumentBlock(
            data=base64.b64encode(data), title="a.pdf", document_mimetype=mime_type
        )
    return ImageBlock(image=data, image_mimetype=mime_type)


def holds(value: object, what: str) -> bool:
    """Whether a value still holds what was refused."""
    return LINK in repr(value) if what == "link" else holds_raw(value, FILES[what][0])


class Thread:
    """A LangChain agent with a checkpointer."""

    def __init__(
        self, guarded: str, *, answers: Any = None, tools: Any = (), **options: Any
    ) -> None:
        self.model = RecordingModel(answers=answers or [AIMessage("Yes.")])
        self.saver = InMemorySaver()
        guard = red_guard()
        model: Any = self.model
        middleware = []
        if guarded == "agent":
            middleware = [GuardAlignMiddleware(guard=guard, **options)]
        else:
            model = ImageGuardRunnable(guard=guard, **options) | model
        self._agent: Any = create_agent(
            model, list(tools), middleware=middleware, checkpointer=self.saver
        )
        self.config: Any = {"configurable": {"thread_id": "1"}}

    def say(self, text: str, *blocks: Any) -> str:
        message = HumanMessage([{"type": "text", "text": text}, *blocks])
        state = self._agent.invoke({"messages": [message]}, self.config)
        answer: str = state["messages"][-1].text
        return answer

    @property
    def state(self) -> list[Any]:
        messages: list[Any] = self._agent.get_state(self.config).values["messages"]
        return messages


@pytest.mark.parametrize("guarded", ["agent", "model"])
@pytest.mark.parametrize("what", REFUSALS)
def test_langchain_after_a_refusal(what: str, guarded: str) -> None:
    thread = Thread(guarded)
    assert thread.say("Hello.") == "Yes."
    with pytest.raises((ImageRejected, MessageError)):
        thread.say("Look.", in_langchain(what))
    assert len(thread.model.seen) == 1
    for number, text in enumerate(("Are you there?", "And now?"), 2):
        assert thread.say(text) == "Yes."
        assert len(thread.model.seen) == number
        seen = thread.model.seen[-1]
        assert not holds(seen, what)
        assert [message.text for message in seen if message.text.endswith(text)]
        (notice,) = [message.text for message in seen if "not shown" in message.text]
        assert notice.startswith("Look.")
    if guarded == "agent":
        assert not holds(thread.state, what)
        assert "not shown" in repr(thread.state)


@pytest.mark.parametrize("guarded", ["agent", "model"])
@pytest.mark.parametrize("what", REFUSALS)
def test_langchain_with_a_notice_instead_of_an_error(what: str, guarded: str) -> None:
    thread = Thread(guarded, on_refused="notice")
    for text, blocks in (("Look.", [in_langchain(what)]), ("And now?", [])):
        assert thread.say(text, *blocks) == "Yes."
        assert not holds(thread.model.seen, what)
        assert "not shown" in repr(thread.model.seen[-1])


@pytest.mark.parametrize("what", REFUSALS)
def test_langchain_after_a_tools_bad_picture(what: str) -> None:
    @tool
    def look() -> list[Any]:
        """Look."""
        return [in_langchain(what)]

    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    thread = Thread("agent", answers=[call, AIMessage("No."), AIMessage("Yes.")], tools=[look])
    assert thread.say("Look.") == "No."
    (result,) = [message for message in thread.state if isinstance(message, ToolMessage)]
    assert result.status == "error"
    assert "not shown" in result.text
    assert thread.say("And now?") == "Yes."
    for value in (thread.model.seen, thread.state, list(thread.saver.list(None))):
        assert not holds(value, what)


@pytest.mark.parametrize("guarded", ["agent", "model"])
def test_langchain_after_a_blocked_picture(guarded: str) -> None:
    block = {
        "type": "image",
        "base64": base64.b64encode(BLOCKED).decode(),
        "mime_type": "image/png",
    }
    thread = Thread(guarded)
    assert thread.say("Hello.") == "Yes."
    assert thread.say("Look.", block) == REPLY
    assert len(thread.model.seen) == 1
    for text in ("Are you there?", "And now?"):
        assert thread.say(text) == "Yes."
        assert not holds_raw(thread.model.seen, BLOCKED)
        assert "[image removed: it was found unsafe]" in repr(thread.model.seen[-1])
    if guarded == "agent":
        assert not holds_raw(thread.state, BLOCKED)
    # A notice in its place, if asked for; the model reacts to it.
    noticed = Thread(guarded, on_blocked="notice")
    assert noticed.say("Look.", block) == "Yes."
    assert not holds_raw(noticed.model.seen, BLOCKED)


def user(text: str, *blocks: Any) -> ChatMessage:
    return ChatMessage(role="user", blocks=[TextBlock(text=text), *blocks])


class Talk:
    """LlamaIndex with a memory: an agent, or a chat engine."""

    def __init__(self, kind: str, *, script: Any = (), tools: Any = (), **options: Any) -> None:
        self.inner = ToolLLM(script=list(script))
        llm = GuardAlignGuardedLLM(llm=self.inner, guard=red_guard(), **options)
        self.memory = ChatMemoryBuffer.from_defaults(token_limit=9000)
        self._agent = None
        if kind == "agent":
            self._agent = FunctionAgent(llm=llm, tools=list(tools), streaming=False)
        self._engine = SimpleChatEngine.from_defaults(llm=llm, memory=self.memory)

    async def say(self, text: str, *blocks: Any) -> str:
        if self._agent is None:
            # A chat engine takes words; a program puts pictures into its memory.
            if blocks:
                self.memory.put(user("Look.", *blocks))
            return str(await self._engine.achat(text))
        return str(await self._agent.run(user_msg=user(text, *blocks), memory=self.memory))


TALKS = ("agent", "engine")


@pytest.mark.parametrize("kind", TALKS)
@pytest.mark.parametrize("what", REFUSALS)
async def test_llama_index_after_a_refusal(what: str, kind: str) -> None:
    talk = Talk(kind)
    assert await talk.say("Hello.") == "I see."
    with pytest.raises((ImageRejected, MessageError)):
        await talk.say("Look.", in_llama_index(what))
    assert len(talk.inner.calls) == 1
    for number, text in enumerate(("Are you there?", "And now?"), 2):
        assert await talk.say(text) == "I see."
        assert len(talk.inner.calls) == number
        seen = talk.inner.calls[-1]
        assert not holds(seen, what)
        assert "not shown" in repr(seen)


@pytest.mark.parametrize("kind", TALKS)
@pytest.mark.parametrize("what", REFUSALS)
async def test_llama_index_with_a_notice_instead_of_an_error(what: str, kind: str) -> None:
    talk = Talk(kind, on_refused="notice")
    assert await talk.say("Look.", in_llama_index(what)) == "I see."
    assert await talk.say("And now?") == "I see."
    assert not holds(talk.inner.calls, what)
    assert "not shown" in repr(talk.inner.calls[-1])


@pytest.mark.parametrize("what", REFUSALS)
async def test_llama_index_after_a_tools_bad_picture(what: str) -> None:
    def look() -> Any:
        """Look."""
        return in_llama_index(what)

    call = ToolCallBlock(tool_name="look", tool_kwargs={}, tool_call_id="1")
    script = [ChatMessage(role="assistant", blocks=[call])]
    talk = Talk("agent", script=script, tools=[FunctionTool.from_defaults(look)])
    assert await talk.say("Look.") == "I see."
    assert await talk.say("And now?") == "I see."
    assert not holds(talk.inner.calls, what)
    assert "not shown" in repr(talk.inner.calls[-1])


@pytest.mark.parametrize("kind", TALKS)
async def test_llama_index_after_a_blocked_picture(kind: str) -> None:
    talk = Talk(kind)
    assert await talk.say("Hello.") == "I see."
    assert await talk.say("Look.", ImageBlock(image=BLOCKED)) == REPLY
    assert len(talk.inner.calls) == 1
    for text in ("Are you there?", "And now?"):
        assert await talk.say(text) == "I see."
        assert not holds_raw(talk.inner.calls, BLOCKED)
        assert "[image removed: it was found unsafe]" in repr(talk.inner.calls[-1])
    noticed = Talk(kind, on_blocked="notice")
    assert await noticed.say("Look.", ImageBlock(image=BLOCKED)) == "I see."
    assert not holds_raw(noticed.inner.calls, BLOCKED)
