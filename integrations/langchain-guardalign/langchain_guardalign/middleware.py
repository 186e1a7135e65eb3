"""The guard inside an agent: it cleans the input, what tools return, and what the model sees.

Needs the extra `agents`; the rest of the package works without it.
"""

from __future__ import annotations

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

from guardalign_middleware.handles import guard_handle
from guardalign_middleware.handling import OnUnsafe, check_known, check_option, named_options
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.scan_threads import in_scan_thread
from langchain_guardalign.cleaner import ON_UNSAFE, Cleaned, ImageCleaner
from langchain_guardalign.tracing import record_on_run
from langchain_guardalign.verdict_metadata import METADATA_KEY, reports_a_block, summary

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from guardalign_middleware.image_guard import ImageGuard

ToolResult = ToolMessage | Command[Any]


class GuardAlignMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Cleans every image that enters an agent, whatever its source.

    ```python
    from langchain.agents import create_agent
    from langchain_guardalign import GuardAlignMiddleware

    agent = create_agent(model, tools, middleware=[..., GuardAlignMiddleware(preset="mini")])
    ```

    It guards three places, sync and async: the messages that start a run, what a tool returns
    (messages, artifacts, and every value of a `Command`), and each model call (the whole history,
    the system message, and what the model draws). An image is scanned once. Put the guard last:
    it does not see what a middleware behind it adds. Errors are those of `ImageGuardRunnable` and
    end the run.

    Args:
        source: a preset or a loaded guard, as below, given by position.
        preset: name of a shipped preset, or path of a .yaml file. It needs no runner.
        guard: a loaded `ImageGuard`, instead of `preset`. There is no default.
        on_unsafe: "mask" shows the cleaned picture, or the notice where nothing may be shown;
            "notice" shows the notice for every unsafe image; "block" removes it and ends the run
            with the preset's `blocked_reply`; "flag" changes nothing and only records the verdict.
        notice: the text in place of an unsafe image.
        cache_size: number of scanned pictures to remember.
        name: of this middleware; must be unique within an agent.

    Raises:
        ConfigError: neither or both of `preset` and `guard`, an unknown preset, an option that does
            not exist, or any other `on_unsafe`.
    """

    def __init__(
        self,
        source: str | Path | ImageGuard | None = None,
        /,
        *,
        preset: str | Path | None = None,
        guard: ImageGuard | None = None,
        on_unsafe: OnUnsafe = "mask",
        notice: str = UNSAFE,
        cache_size: int = 256,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        check_known("GuardAlignMiddleware", unknown, named_options(GuardAlignMiddleware))
        check_option("on_unsafe", on_unsafe, ON_UNSAFE)
        handle = guard_handle(preset, guard, source, owner="GuardAlignMiddleware")
        self._cleaner = ImageCleaner(handle, on_unsafe, notice, cache_size)
        self._name = name or f"{type(self).__name__}[{handle.config.name}, {on_unsafe}]"

    @property
    def name(self) -> str:
        """The name of this middleware in its agent."""
        return self._name

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Clean the messages that start the run; with `on_unsafe="block"`, end it with a reply."""
        return self._state_update(state["messages"], self._clean_messages(state["messages"]))

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """`before_agent` in a thread, so that the event loop stays free."""
        return await in_scan_thread(self.before_agent, state, runtime)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]
    ) -> ToolResult:
        """Clean what a tool returns before it is written to the state."""
        cleaned: ToolResult = self._clean_tool_result(handler(request))
        return cleaned

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """`wrap_tool_call` with the scan in a thread."""
        result = await handler(request)
        cleaned: ToolResult = await in_scan_thread(self._clean_tool_result, result)
        return cleaned

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any] | AIMessage:
        """Show the model the cleaned history, and clean what it draws.

        With `on_unsafe="block"`, the preset's reply answers a request with an unsafe image.
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
        guarded = await in_scan_thread(self._guard_request, request)
        if isinstance(guarded, AIMessage):
            return guarded
        return await in_scan_thread(self._clean_response, await handler(guarded))

    def _clean(self, value: object, place: str) -> Cleaned:
        cleaned = self._cleaner.clean(value, place)
        record_on_run(cleaned.records)
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
            # The state replaces by id: without one, the copy would be added beside the raw message.
            changed = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *cleaned.value]
        if self._blocks(cleaned):
            return {"messages": [*changed, self._reply(cleaned)], "jump_to": "end"}
        return {"messages": changed} if changed else None

    def _clean_tool_result(self, result: Any) -> Any:
        if isinstance(result, list):
            # A tool can return several messages and commands.
            return [self._clean_tool_result(item) for item in result]
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
        """Clean what the model draws: it reads that again in the next call."""
        cleaned = self._clean(response, "model response")
        if self._blocks(cleaned):
            return self._reply(cleaned)
        answer: ModelResponse[Any] = cleaned.value
        return answer

    def _blocks(self, cleaned: Cleaned) -> bool:
        return self._cleaner.on_unsafe == "block" and bool(cleaned.flagged)

    def _blocked_by_a_tool(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether an image was removed from the tool results since the model's last message.

        Older results do not count: one blocked run must not block every later one.
        """
        if self._cleaner.on_unsafe != "block":
            return False
        for message in reversed(messages):
            if isinstance(message, AIMessage):
                return False
            if isinstance(message, ToolMessage) and reports_a_block(message.response_metadata):
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
