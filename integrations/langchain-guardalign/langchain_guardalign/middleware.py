"""The guard inside an agent: it cleans the state, what tools return, and what the model sees.

Needs the extra `agents`; the rest of the package works without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, hook_config
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from guardalign_middleware import notices
from guardalign_middleware.cleaning.cleaner import ON_UNSAFE
from guardalign_middleware.cleaning.outcomes import Cleaned, Outcome
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.handles import guard_handle
from guardalign_middleware.handling import (
    OnBlocked,
    OnRefused,
    OnUnsafe,
    check_known,
    check_option,
    check_sent_options,
    named_options,
)
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.scan_threads import in_scan_thread
from langchain_guardalign.blocked_reply import reply_message
from langchain_guardalign.cleaner import MessageCleaner
from langchain_guardalign.errors import ImageBlocked
from langchain_guardalign.refused_state import GuardedState, raise_refused, refused_update
from langchain_guardalign.tool_results import clean_tool_result
from langchain_guardalign.tracing import record_on_run
from langchain_guardalign.turns import first_sent
from langchain_guardalign.verdict_metadata import METADATA_KEY, summary

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from guardalign_middleware.handles import AnyGuard

ToolResult = ToolMessage | Command[Any]
# Where `HumanInTheLoopMiddleware` keeps a person's edits of tool calls.
_EDITS = "hitl_edited_tool_calls"
# LangGraph separates names by these signs.
_RESERVED = str.maketrans("|:", "--")


class GuardAlignMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Cleans every image that enters an agent, whatever its source.

    ```python
    from langchain.agents import create_agent
    from langchain_guardalign import GuardAlignMiddleware

    agent = create_agent(model, tools, middleware=[..., GuardAlignMiddleware(preset="mini")])
    ```

    It guards, sync and async, the messages of the state at the start of a run, before each model
    call and at the end; what a tool returns (messages, artifacts, and every value of a `Command`);
    and each model call (the whole history, the system message, and what the model draws). An image
    is scanned once. Put the guard last: a model sees what a middleware behind it adds.

    What is refused or blocked is replaced in the state, so a later run never meets it again. If the
    user has just sent it, with the input of the run, `on_refused` and `on_blocked` decide whether
    the run ends. In older turns, tool results and whatever else enters the state, a text that names
    the cause takes its place; a tool's message then has the status "error".

    Args:
        source: a preset or a loaded guard, as below, given by position.
        preset: name of a shipped preset, or path of a .yaml file. It needs no runner.
        guard: a loaded `ImageGuard`, instead of `preset`. There is no default.
        on_unsafe: "mask" shows the cleaned picture, and takes an image of which nothing may be
            shown for a blocked one; "notice" shows the notice for every unsafe image; "block" takes
            every unsafe image for a blocked one; "flag" changes nothing and only records the
            verdict.
        on_refused: what to do about what cannot be checked and the user has just sent: "raise"
            ends the run with the error, "notice" shows a text that names the cause.
        on_blocked: what to do about an image of which nothing may be shown and the user has just
            sent: "reply" ends the run with the preset's `blocked_reply`, "notice" shows the notice.
        allow_unscanned: whether films and files of unknown kinds pass unread, and PDF files that
            the preset refuses; the verdicts count them as `unscanned`.
        notice: the text in place of an unsafe image.
        cache_size: number of scanned pictures to remember.
        name: of this middleware; must be unique within an agent.

    Raises:
        ConfigError: neither or both of `preset` and `guard`, an unknown preset, an option that does
            not exist, or a value that an option does not have.
    """

    state_schema = GuardedState

    def __init__(
        self,
        source: str | Path | AnyGuard | None = None,
        /,
        *,
        preset: str | Path | None = None,
        guard: AnyGuard | None = None,
        on_unsafe: OnUnsafe = "mask",
        on_refused: OnRefused = "raise",
        on_blocked: OnBlocked = "reply",
        allow_unscanned: bool = False,
        notice: str = UNSAFE,
        cache_size: int = 256,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        check_known("GuardAlignMiddleware", unknown, named_options(GuardAlignMiddleware))
        check_option("on_unsafe", on_unsafe, ON_UNSAFE)
        check_sent_options(on_refused, on_blocked)
        handle = guard_handle(preset, guard, source, owner="GuardAlignMiddleware")
        self._cleaner = MessageCleaner(handle, on_unsafe, notice, cache_size, allow_unscanned)
        self._on_refused = on_refused
        self._on_blocked = on_blocked
        config_name = handle.config.name.translate(_RESERVED)
        self._name = name or f"{type(self).__name__}[{config_name}, {on_unsafe}]"

    @property
    def name(self) -> str:
        """The name of this middleware in its agent."""
        return self._name

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Clean the messages that start the run, and end it for what the user has just sent."""
        messages = state["messages"]
        cleaned = self._clean(list(messages), "messages")
        first = first_sent(messages)

        def sent(outcome: Outcome) -> bool:
            return outcome.declared and outcome.turn is not None and outcome.turn >= first

        refusal = cleaned.refusal(sent) if self._on_refused == "raise" else None
        update = refused_update(refusal, state)
        changed = _changed(messages, cleaned.value)
        if refusal is not None:
            # The last step raises it: now the state could not be written.
            return {**update, "messages": changed, "jump_to": "end"}
        if self._on_blocked == "reply" and cleaned.blocked_among(sent):
            return {**update, "messages": [*changed, self._reply(cleaned)], "jump_to": "end"}
        return ({**update, "messages": changed} if changed else update) or None

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """`before_agent` in a thread, so that the event loop stays free."""
        return await in_scan_thread(self.before_agent, state, runtime)

    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Clean what has entered the state since: from a `Command`, a person or a middleware."""
        return self._clean_state(state)

    async def abefore_model(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """`before_model` in a thread."""
        return await in_scan_thread(self._clean_state, state)

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Clean the state that the run leaves behind.

        Raises:
            ImageRejected, MessageError: what `before_agent` refused; the state is written.
        """
        raise_refused(state)
        return self._clean_state(state)

    async def aafter_agent(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """`after_agent` in a thread."""
        return await in_scan_thread(self.after_agent, state, runtime)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]
    ) -> ToolResult:
        """Clean what a tool returns before it is written to the state."""
        try:
            result: Any = handler(request)
        except (ImageRejected, MessageError, ImageBlocked) as error:
            return self._tool_error(request, error)
        cleaned: ToolResult = clean_tool_result(result, self._clean)
        return cleaned

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """`wrap_tool_call` with the scan in a thread."""
        try:
            result: Any = await handler(request)
        except (ImageRejected, MessageError, ImageBlocked) as error:
            return self._tool_error(request, error)
        cleaned: ToolResult = await in_scan_thread(clean_tool_result, result, self._clean)
        return cleaned

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any] | AIMessage:
        """Show the model the cleaned history, and clean what it draws."""
        response: ModelResponse[Any] = self._clean(
            handler(self._clean_request(request)), "model response"
        ).value
        return response

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | AIMessage:
        """`wrap_model_call` with the scans in a thread."""
        response = await handler(await in_scan_thread(self._clean_request, request))
        cleaned = await in_scan_thread(self._clean, response, "model response")
        answer: ModelResponse[Any] = cleaned.value
        return answer

    def _clean(self, value: object, place: str) -> Cleaned:
        cleaned = self._cleaner.clean(value, place)
        record_on_run(cleaned.records)
        return cleaned

    def _clean_state(self, state: AgentState[Any]) -> dict[str, Any] | None:
        messages = state["messages"]
        update: dict[str, Any] = {}
        if changed := _changed(messages, self._clean(list(messages), "messages").value):
            update["messages"] = changed
        # A person's edits of calls that have run by now.
        edits = cast("Mapping[str, Any]", state).get(_EDITS)
        if edits and (cleaned := self._clean(edits, _EDITS).value) is not edits:
            update[_EDITS] = cleaned
        return update or None

    def _clean_request(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        system = [] if request.system_message is None else [request.system_message]
        cleaned = self._clean([*system, *request.messages], "messages").value
        messages = cleaned[len(system) :]
        if not system:
            return request.override(messages=messages)
        return request.override(messages=messages, system_message=cleaned[0])

    def _tool_error(
        self, request: ToolCallRequest, error: ImageRejected | MessageError | ImageBlocked
    ) -> ToolMessage:
        """For a tool that asked a guarded model or agent and got an error about an image."""
        blocked = isinstance(error, ImageBlocked)
        return ToolMessage(
            self._cleaner.notice if blocked else notices.refused(error),
            tool_call_id=request.tool_call["id"],
            name=request.tool_call["name"],
            status="error",
        )

    def _reply(self, cleaned: Cleaned) -> AIMessage:
        metadata = {METADATA_KEY: summary(cleaned.records)}
        return reply_message(self._cleaner.guard.config.blocked_reply, metadata)


def _changed(before: Sequence[BaseMessage], after: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The state's update for messages that were cleaned."""
    changed = [new for new, old in zip(after, before, strict=True) if new is not old]
    if any(message.id is None for message in changed):
        # The state replaces by id: without one, the copy would be added beside the raw message.
        return [RemoveMessage(id=REMOVE_ALL_MESSAGES), *after]
    return changed
