"""A refusal in the state of an agent, between the step that finds it and the one that raises it.

The state is written after a step only if the step does not raise. So one step replaces what was
refused, and a later one raises the error: the thread keeps no message that would be refused again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState
from langchain.agents.middleware.types import PrivateStateAttr

from guardalign_middleware.cleaning.outcomes import Refusal
from guardalign_middleware.errors import ImageRejected, MessageError

REFUSED_KEY = "guardalign_refused"


class GuardedState(AgentState[Any]):
    """The state of a guarded agent.

    Attributes:
        guardalign_refused: the error that ends this run, as plain values; callers do not see it.
    """

    guardalign_refused: NotRequired[Annotated[dict[str, str] | None, PrivateStateAttr]]


def refused_update(error: Refusal | None, state: Mapping[str, Any]) -> dict[str, Any]:
    """What to write about the refusal of this run; also forgets that of an earlier one."""
    if error is None:
        return {} if state.get(REFUSED_KEY) is None else {REFUSED_KEY: None}
    written = {"message": error.message, "remedy": error.remedy}
    if isinstance(error, ImageRejected):
        written |= {"reason": error.reason, "source": error.source}
    return {REFUSED_KEY: written}


def raise_refused(state: Mapping[str, Any]) -> None:
    """End the run if something was refused in it.

    Raises:
        ImageRejected, MessageError: as it was found.
    """
    written = state.get(REFUSED_KEY)
    if written is None:
        return
    if "reason" in written:
        raise ImageRejected(
            written["message"],
            reason=written["reason"],
            source=written["source"],
            remedy=written["remedy"],
        )
    raise MessageError(written["message"], remedy=written["remedy"])
