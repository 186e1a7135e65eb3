"""The guard inside an agent: what comes in, what tools return, and what the model is shown.

Needs the extra `agents`; the package itself imports without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, AgentState, hook_config
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command, Send

from guardalign_middleware.handles import LazyGuard
from langchain_guardalign.cleaner import NOTICE, Cleaned, ImageCleaner, Strategy
from langchain_guardalign.message_walk import METADATA_KEY, summary
from langchain_guardalign.tracing import tell_run

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from guardalign_middleware.image_guard import ImageGuard

ToolResult = ToolMessage | Command[Any]


class GuardAlignMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Cleans every image that enters an agent, whoever brings it.

    ```python
    from langchain.agents import create_agent
    from langchain_guardalign import GuardAlignMiddleware

    agent = create_agent(model, tools, middleware=[..., GuardAlignMiddleware(preset="mini")])
    ```

    Three places are guarded, sync and async: the messages that start a run, what a tool returns
    (messages, artifacts, and every value of a `Command`), and each model call (the whole history,
    the system message, and what the model draws). An image is scanned once. Put the guard last, so
    that nothing is added behind it. Refusals and faults are those of `ImageGuardRunnable` and end
    the run.

    Args:
        preset: a shipped preset by name, or the path of a .yaml file; it needs no runner.
        guard: an `ImageGuard` that exists already; then `preset` is not looked at.
        strategy: "mask" shows a cleaned picture, or the notice where nothing may be shown;
            "replace" shows the notice for every unsafe image; "block" removes it and ends the run
            with the preset's `blocked_reply`; "flag" changes nothing and only records the verdict.
        notice: the text that stands where an image was removed.
        cache_size: how many scanned pictures are remembered.
        name: of this middleware; must be unique in an agent.
    """

    def __init__(
        self,
        preset: str | Path = "mini",
        *,
        guard: ImageGuard | None = None,
        strategy: Strategy = "mask",
        notice: str = NOTICE,
        cache_size: int = 256,
        name: str | None = None,
    ) -> None:
        super().__init__()
        lazy = LazyGuard(preset) if guard is None else LazyGuard(guard=guard)
        self._cleaner = ImageCleaner(lazy, strategy, notice, cache_size)
        self._name = name or f"{type(self).__name__}[{lazy.config.name}, {strategy}]"

    @property
    def name(self) -> str:
        """Tells two guards of one agent apart."""
        return self._name

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Clean the messages that start the run; with strategy "block", end it politely."""
        return self._state_update(state["messages"], self._clean_messages(state["messages"]))

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """`before_agent` in a thread, so that nothing blocks the event loop."""
        return await asyncio.to_thread(self.before_agent, state, runtime)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]
    ) -> ToolResult:
        """Clean what a tool returns before it becomes state."""
        cleaned: ToolResult = self._clean_result(handler(request))
        return cleaned

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """`wrap_tool_call` with the scan in a thread."""
        result = await handler(request)
        cleaned: ToolResult = await asyncio.to_thread(self._clean_result, result)
        return cleaned

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any] | AIMessage:
        """Show the model the cleaned history, and clean what it draws.

        With strategy "block", an unsafe image is answered with the preset's reply.
        """
        guarded = self._guard_request(request)
        if isinstance(guarded, AIMessage):
            return guarded
        return self._clean_response(handler(guarded))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | AIMessage:
        """`wrap_model_call` with the scans in a thread."""
        guarded = await asyncio.to_thread(self._guard_request, request)
        if isinstance(guarded, AIMessage):
            return guarded
        return await asyncio.to_thread(self._clean_response, await handler(guarded))

    def _clean(self, value: object, place: str) -> Cleaned:
        cleaned = self._cleaner.clean(value, place)
        tell_run(cleaned.records)
        return cleaned

    def _clean_messages(self, messages: Sequence[BaseMessage]) -> Cleaned:
        return self._clean(list(messages), "messages")

    def _state_update(
        self, messages: Sequence[BaseMessage], cleaned: Cleaned
    ) -> dict[str, Any] | None:
        changed: list[BaseMessage] = [
            new for new, old in zip(cleaned.value, messages, strict=True) if new is not old
        ]
        if any(message.id is None for message in changed):
            # The state replaces by id: a message without one would be added beside the raw one.
            changed = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *cleaned.value]
        if self._blocks(cleaned):
            return {"messages": [*changed, self._reply(cleaned)], "jump_to": "end"}
        return {"messages": changed} if changed else None

    def _clean_result(self, result: Any) -> Any:
        if isinstance(result, list):
            # A tool may return several messages and commands.
            return [self._clean_result(item) for item in result]
        if not isinstance(result, Command):
            return self._clean(result, "tool result").value
        goto = list(result.goto) if isinstance(result.goto, list | tuple) else [result.goto]
        sent = [step.arg for step in goto if isinstance(step, Send)]
        command, args = self._clean((result, sent), "tool result").value
        if args is sent:
            return command
        rest = iter(args)
        return replace(
            command,
            goto=[
                Send(step.node, next(rest), timeout=step.timeout)
                if isinstance(step, Send)
                else step
                for step in goto
            ],
        )

    def _guard_request(self, request: ModelRequest[Any]) -> ModelRequest[Any] | AIMessage:
        system = [] if request.system_message is None else [request.system_message]
        cleaned = self._clean_messages([*system, *request.messages])
        if self._blocks(cleaned) or self._blocked_by_a_tool(request.messages):
            return self._reply(cleaned)
        messages = cleaned.value[len(system) :]
        if not system:
            return request.override(messages=messages)
        return request.override(messages=messages, system_message=cleaned.value[0])

    def _clean_response(self, response: ModelResponse[Any]) -> ModelResponse[Any] | AIMessage:
        """Some models draw; what they draw is read again in the next call."""
        cleaned = self._clean(response, "model response")
        if self._blocks(cleaned):
            return self._reply(cleaned)
        answer: ModelResponse[Any] = cleaned.value
        return answer

    def _blocks(self, cleaned: Cleaned) -> bool:
        return self._cleaner.strategy == "block" and bool(cleaned.flagged)

    def _blocked_by_a_tool(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether an image was removed from the results that the model is about to read.

        Older results do not count: a run that was ended once should not end every later one.
        """
        if self._cleaner.strategy != "block":
            return False
        for message in reversed(messages):
            if isinstance(message, AIMessage):
                return False
            if isinstance(message, ToolMessage) and _was_blocked(message):
                return True
        return False

    def _reply(self, cleaned: Cleaned) -> AIMessage:
        return AIMessage(
            self._cleaner.guard.config.blocked_reply,
            response_metadata={
                "finish_reason": "blocked",
                METADATA_KEY: summary(cleaned.records),
            },
        )


def _was_blocked(message: ToolMessage) -> bool:
    # A tool writes its own metadata, so their form is not relied on.
    summarised = message.response_metadata.get(METADATA_KEY)
    records = summarised.get("verdicts") if isinstance(summarised, dict) else None
    return isinstance(records, list) and any(
        isinstance(record, dict) and record.get("action") == "block" for record in records
    )
