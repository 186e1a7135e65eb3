"""Agents and workflows around both of our LLMs; see `make` in conftest.py."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.react.formatter import ReActChatFormatter
from llama_index.core.agent.react.output_parser import ReActOutputParser
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

from guardalign_middleware import notices
from guardalign_middleware.testing import base64_png, has_red
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
)
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    UNSAFE,
    Make,
    ask,
    ignore_agent_warnings,
    image_block,
)
from llama_index_support.doubles import PlainLLM, ToolLLM

pytestmark = ignore_agent_warnings


def ask_about_red() -> ChatMessage:
    (message,) = ask(image_block(UNSAFE))
    return message


@pytest.mark.parametrize("streaming", [False, True])
async def test_react_agent_with_an_image_of_the_user(make: Make, streaming: bool) -> None:
    subject = make("Thought: I can answer.\nAnswer: A square.")
    agent = ReActAgent(llm=subject.llm, tools=[], streaming=streaming)
    assert str(await agent.run(user_msg=ask_about_red())) == "A square."
    assert subject.saw_only_clean_images(1)


def snapshot() -> list[Any]:
    """Take a picture."""
    return [TextBlock(text="Here:"), image_block(UNSAFE)]


async def test_react_agent_with_a_tool() -> None:
    """It shows the model no images of tools, ours or others'."""
    inner = PlainLLM(
        script=[
            ChatMessage(
                role="assistant", content="Thought: Look.\nAction: snapshot\nAction Input: {}"
            ),
            ChatMessage(role="assistant", content="Thought: I can answer.\nAnswer: A square."),
        ]
    )
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    agent = ReActAgent(llm=llm, tools=[FunctionTool.from_defaults(snapshot)])
    assert str(await agent.run(user_msg=ask_about_red())) == "A square."
    assert inner.saw_only_clean_images(2)


async def test_an_agent_workflow_takes_react_for_an_llm_without_tools(make: Make) -> None:
    subject = make("Thought: I can answer.\nAnswer: A square.")
    workflow = AgentWorkflow.from_tools_or_functions([snapshot], llm=subject.llm)
    (agent,) = workflow.agents.values()
    assert type(agent) is ReActAgent
    assert str(await workflow.run(user_msg=ask_about_red())) == "A square."
    assert subject.saw_only_clean_images(1)


class Describe(Workflow):
    """One step that asks an LLM about a picture."""

    def __init__(self, llm: Any) -> None:
        super().__init__(timeout=300)
        self._llm = llm

    @step
    async def describe(self, context: Context, event: StartEvent) -> StopEvent:
        response = await self._llm.achat([ask_about_red()])
        return StopEvent(result=response.message.content)


async def test_workflow(make: Make) -> None:
    subject = make("A square.")
    assert await Describe(subject.llm).run() == "A square."
    assert subject.saw_only_clean_images(1)


CALL = ChatMessage(
    role="assistant",
    blocks=[ToolCallBlock(tool_name="snapshot", tool_kwargs={}, tool_call_id="1")],
)

DONE = ChatMessage(role="assistant", content="A square.")


@pytest.mark.parametrize("streaming", [False, True])
async def test_function_agent_with_images_of_user_and_tool(streaming: bool, recorder: Any) -> None:
    inner = ToolLLM(script=[CALL, DONE])
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    agent = FunctionAgent(
        llm=llm, tools=[FunctionTool.from_defaults(snapshot)], streaming=streaming
    )
    result = await agent.run(user_msg=ask_about_red())
    assert str(result) == "A square."
    assert result.raw["guardalign"]["verdicts"][1]["decision"] == "mask"
    assert [message.role.value for message in inner.calls[1]] == ["user", "assistant", "tool"]
    assert inner.saw_only_clean_images(3)
    starts = recorder.of(LLMChatStartEvent)
    assert len(starts) == len(recorder.of(LLMChatEndEvent)) == 2
    raw = base64_png(UNSAFE)
    assert all(raw not in start.model_dump_json(fallback=repr) for start in starts)


async def test_function_agent_goes_on_after_a_blocked_image_of_a_tool() -> None:
    def snapshot() -> Any:
        """Take a picture."""
        return image_block(BLOCKED)

    inner = ToolLLM(script=[CALL, DONE])
    agent = FunctionAgent(
        llm=GuardAlignGuardedLLM(llm=inner, guard=GUARD),
        tools=[FunctionTool.from_defaults(snapshot)],
    )
    result = await agent.run(user_msg="What is it?")
    assert str(result) == "A square."
    assert result.raw["guardalign"]["verdicts"][0]["decision"] == "block"
    assert inner.calls[1][-1].content == notices.UNSAFE
    assert inner.seen == []


async def test_an_agent_workflow_takes_functions_for_an_llm_with_tools() -> None:
    inner = ToolLLM(script=[CALL, DONE])
    workflow = AgentWorkflow.from_tools_or_functions(
        [snapshot], llm=GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    )
    (agent,) = workflow.agents.values()
    assert type(agent) is FunctionAgent
    assert str(await workflow.run(user_msg=ask_about_red())) == "A square."
    assert not any(map(has_red, inner.seen))


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_function_agent_refuses_an_llm_without_tools(make: Make, streaming: bool) -> None:
    subject = make("A square.")
    agent = FunctionAgent(
        llm=subject.llm, tools=[FunctionTool.from_defaults(snapshot)], streaming=streaming
    )
    with pytest.raises(ValueError, match="FunctionCallingLLM"):
        await agent.run(user_msg=ask_about_red())
    assert subject.seen == []


async def test_react_agent_follows_a_changed_prompt(make: Make) -> None:
    subject = make("Thought: I can answer.\nAnswer: A square.")
    agent = ReActAgent(llm=subject.llm, tools=[])
    assert list(agent.get_prompts()) == ["react_header"]
    agent.update_prompts({"react_header": PromptTemplate("Speak of shapes only.")})
    await agent.run(user_msg=ask_about_red())
    ((role, text), *_) = subject.texts[0]
    assert (role, text) == ("system", "Speak of shapes only.")


def test_predict_and_call_without_tool_calls_goes_the_way_of_react(make: Make) -> None:
    def measure(side: int) -> str:
        """Measure a side."""
        return f"{side} pixels"

    subject = make('Thought: Measure.\nAction: measure\nAction Input: {"side": 3}')
    # Without these two, LlamaIndex cannot make the agent.
    called = subject.llm.predict_and_call(
        [FunctionTool.from_defaults(measure)],
        ask_about_red(),
        react_chat_formatter=ReActChatFormatter(),
        output_parser=ReActOutputParser(),
    )
    assert called.response == "3 pixels"
    assert subject.saw_only_clean_images(1)


async def test_an_agents_memory_keeps_what_the_user_gave(make: Make) -> None:
    subject = make("Thought: I can answer.\nAnswer: A square.")
    memory = ChatMemoryBuffer.from_defaults(token_limit=9000)
    agent = ReActAgent(llm=subject.llm, tools=[])
    before = ask_about_red()
    await agent.run(user_msg=before, memory=memory)
    await agent.run(user_msg="And now?", memory=memory)
    (image,) = [
        block
        for message in await memory.aget_all()
        for block in message.blocks
        if isinstance(block, ImageBlock)
    ]
    assert image == before.blocks[0]
    assert subject.saw_only_clean_images(2)
