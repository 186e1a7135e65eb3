"""For the OpenAI Agents SDK: a filter before every call of a model, and a guard of tools' results.

An `input_guardrail` does not protect: it can stop a run but change nothing, it sees only what the
user sent first, and by default it runs beside the model, which has the picture by then.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import ToolGuardrailFunctionOutput, ToolOutputGuardrail, ToolOutputGuardrailData
from agents.items import ItemHelpers
from agents.run import CallModelData, ModelInputData
from openai.types.responses import ResponseFunctionToolCall

from guardalign_agents.guarding import AgentGuard
from guardalign_middleware import notices
from guardalign_middleware.conversation import RESPONSES, CleanedConversation
from guardalign_middleware.types import PASSES

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard


class ImageGuardFilter:
    """Cleans everything that a model is about to see, in every turn of a run.

        guard = ImageGuardFilter(RemoteImageGuard("http://127.0.0.1:8000"))
        await Runner.run(agent, input, run_config=RunConfig(call_model_input_filter=guard))

    Input, history, sessions, handoffs and results of tools pass it, streamed or not. What a run
    keeps stays as it was: results and sessions hold the pictures that the user sent.

    Args:
        guard: an `ImageGuard`, or a `RemoteImageGuard` in a process without torch.
        options: those of `AgentGuard`.

    Raises:
        ConfigError: an option is wrong.
    """

    def __init__(self, guard: AnyGuard | None = None, **options: Any) -> None:
        self._guard = AgentGuard(guard, **options)

    async def __call__(self, data: CallModelData[Any]) -> ModelInputData:
        """What the model may see.

        Raises:
            ImageBlocked: a picture that the user has just sent is blocked.
            ImageRejected, MessageError: something in the newest turns cannot be looked at.
            GuardError: a fault of the guard; the model is not asked.
        """
        given = data.model_data
        body = {"input": given.input, "instructions": given.instructions}
        cleaned = await self._guard.aclean(body, RESPONSES)
        return ModelInputData(
            input=cleaned.body["input"], instructions=cleaned.body.get("instructions")
        )


def image_tool_guardrail(
    guard: AnyGuard | None = None,
    *,
    preset: str | Path | None = None,
    allow_unscanned: bool = False,
    name: str = "guardalign",
) -> ToolOutputGuardrail[Any]:
    """A guard that keeps a tool's unsafe result out of the run.

    The filter cleans what a model sees; this keeps a result with an unsafe picture, or one that
    cannot be looked at, out of sessions and results, too: a text takes its place.

        @function_tool(tool_output_guardrails=[image_tool_guardrail(guard)])

    Args:
        guard: an `ImageGuard`, or a `RemoteImageGuard` in a process without torch.
        preset: name or path of a preset to load instead, on first use.
        allow_unscanned: whether films, files, and what lies with the service pass unseen.
        name: in the results of a run.

    Raises:
        ConfigError: neither or both of `guard` and `preset` are given, or no such preset exists.
    """
    # The whole result gives way, so that no picture has to be masked.
    checking = AgentGuard(guard, preset=preset, on_unsafe="notice", allow_unscanned=allow_unscanned)

    async def check(data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        call = ResponseFunctionToolCall(
            arguments="", call_id="call", name="tool", type="function_call"
        )
        item = ItemHelpers.tool_call_output_item(call, data.output)
        cleaned = await checking.aclean({"input": [item]}, RESPONSES)
        found = cleaned.to_json()
        passes = cleaned.decision is None or cleaned.decision in PASSES
        if passes and "refused" not in found:
            return ToolGuardrailFunctionOutput.allow(found)
        return ToolGuardrailFunctionOutput.reject_content(_notice(cleaned), found)

    return ToolOutputGuardrail(guardrail_function=check, name=name)


def _notice(cleaned: CleanedConversation) -> str:
    """What the model reads: that a picture is unsafe, or else what could not be looked at."""
    refused = [each.refused for each in cleaned.outcomes if each.refused is not None]
    unsafe = any(verdict.flagged for verdict in cleaned.verdicts)
    return notices.UNSAFE if unsafe or not refused else notices.refused(refused[0])
