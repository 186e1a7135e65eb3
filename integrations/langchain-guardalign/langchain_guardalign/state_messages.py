"""Messages that an update of an agent's state holds as dictionaries, tuples or strings.

The agent's reducer makes messages of them, which a model is shown; so the guard does that first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages
from langgraph.types import Command, Overwrite, Send
from pydantic import BaseModel

from guardalign_middleware.intake.block_rules import is_turn

_KEY = "messages"
_READ = (BaseMessage, str, type(None))


def command_with_messages(command: Command[Any]) -> Command[Any]:
    """The command with message objects in its update and in what it sends."""
    update = state_with_messages(command.update)
    goto: Any = command.goto
    if isinstance(goto, list | tuple):
        steps = [_sent(step) for step in goto]
        goto = goto if all(new is old for new, old in zip(steps, goto, strict=True)) else steps
    else:
        goto = _sent(goto)
    if update is command.update and goto is command.goto:
        return command
    return dataclasses.replace(command, update=update, goto=goto)


def started(value: Any) -> Any:
    """What starts or resumes an agent, with message objects."""
    return command_with_messages(value) if isinstance(value, Command) else _sent(value)


def state_with_messages(state: Any) -> Any:
    """The update of a state with message objects; itself if it has them, or is another value."""
    if isinstance(state, Mapping):
        new = _messages(state.get(_KEY))
        return state if new is state.get(_KEY) else {**state, _KEY: new}
    if isinstance(state, list | tuple):
        if not all(_is_pair(item) for item in state):
            # Of a graph whose whole state is a list of messages.
            whole = all(isinstance(item, BaseMessage) or is_turn(item) for item in state)
            return _messages(state) if whole else state
        pairs = [(key, _messages(item) if key == _KEY else item) for key, item in state]
        same = all(new[1] is old[1] for new, old in zip(pairs, state, strict=True))
        return state if same else type(state)(pairs)
    new = _messages(getattr(state, _KEY, None))
    if new is getattr(state, _KEY, None):
        return state
    if isinstance(state, BaseModel):
        return state.model_copy(update={_KEY: new})
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return dataclasses.replace(state, **{_KEY: new})
    return state


def _messages(items: Any) -> Any:
    if isinstance(items, Overwrite):
        new = _messages(items.value)
        return items if new is items.value else dataclasses.replace(items, value=new)
    # A tuple is one message, except one of messages, which only an `Overwrite` takes.
    several = isinstance(items, list) or (
        isinstance(items, tuple) and any(isinstance(item, BaseMessage | Mapping) for item in items)
    )
    if all(isinstance(item, _READ) for item in (items if several else [items])):
        return items
    try:
        return convert_to_messages(items if several else [items])
    except (NotImplementedError, TypeError, ValueError):
        return items  # The agent's own reducer will say what is wrong.


def _sent(step: Any) -> Any:
    if not isinstance(step, Send):
        return step
    arg = state_with_messages(step.arg)
    return step if arg is step.arg else Send(step.node, arg, timeout=step.timeout)


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
