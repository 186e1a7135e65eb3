"""Agents of the OpenAI Agents SDK: what their models see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    ToolOutputImage,
    function_tool,
)
from openai import AsyncOpenAI

from guardalign_agents import ImageBlocked
from guardalign_agents.openai import ImageGuardFilter, image_tool_guardrail
from guardalign_middleware import RemoteImageGuard
from guardalign_middleware.errors import ConfigError, ImageRejected, Unreachable
from tests.gateways.agent_service import Service
from tests.gateways.litellm_requests import said, shot
from tests.gateways.processes import GUARD_KEY, ROOT
from tests.gateways.sent_pictures import HOPELESS, SAFE, UNSAFE, arrived, leaks, url

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PAGE = (ROOT / "docs" / "gateways.md").read_text()
LOOK = {"role": "user", "content": "Look."}
CALL = {"type": "function_call", "call_id": "c0", "name": "shoot", "arguments": "{}"}
MODELS = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}
INPUTS: dict[str, Callable[[bytes], Any]] = {
    "user": lambda raw: [said("user", shot(raw), {"type": "input_text", "text": "?"})],
    "user, picture only": lambda raw: [said("user", shot(raw))],
    "history": lambda raw: [
        said("user", shot(raw)),
        {"role": "assistant", "content": "A thing."},
        LOOK,
    ],
    "tool result in the history": lambda raw: [
        LOOK,
        CALL,
        {"type": "function_call_output", "call_id": "c0", "output": [shot(raw)]},
        LOOK,
    ],
    "words": lambda raw: f"See {url(raw)} there.",
}


@pytest.fixture(scope="module")
def guard(guard_url: str) -> Iterator[RemoteImageGuard]:
    with RemoteImageGuard(guard_url, api_key=GUARD_KEY) as made:
        yield made


def agent_of(service: Service, kind: str = "responses", **more: Any) -> Agent:
    client = AsyncOpenAI(
        api_key="k", base_url="http://service/v1", http_client=service.client(), max_retries=0
    )
    return Agent(name="a", model=MODELS[kind]("m", openai_client=client), **more)


def config(guarding: Any = None) -> RunConfig:
    return RunConfig(call_model_input_filter=guarding, tracing_disabled=True)


def shooting(raw: bytes, **more: Any) -> Any:
    @function_tool(**more)
    def shoot() -> ToolOutputImage:
        """Shoot."""
        return ToolOutputImage(image_url=url(raw))

    return shoot


async def run(
    service: Service, given: Any, guarding: Any, *, kind: str, stream: bool, tools: Any = ()
) -> Any:
    agent = agent_of(service, kind, tools=list(tools))
    if not stream:
        return await Runner.run(agent, given, run_config=config(guarding))
    result = Runner.run_streamed(agent, given, run_config=config(guarding))
    async for _ in result.stream_events():
        pass
    return result


EACH = pytest.mark.parametrize(
    ("kind", "stream"), [(kind, stream) for kind in MODELS for stream in (False, True)]
)


@EACH
async def test_the_table_of_the_page(guard: RemoteImageGuard, kind: str, stream: bool) -> None:
    rows = []
    guarding = ImageGuardFilter(guard)
    for name in [*INPUTS, "tool result"]:
        counts = []
        for each in (None, guarding):
            service = Service()
            given = INPUTS[name](UNSAFE) if name in INPUTS else "Look."
            tools = [] if name in INPUTS else [shooting(UNSAFE)]
            result = await run(service, given, each, kind=kind, stream=stream, tools=tools)
            assert result.final_output == "Blue thing"
            counts.append(leaks(service.bodies[-1]))
        rows.append(f"| OpenAI Agents SDK, {kind} | {name} | {counts[0]} | {counts[1]} |")
    assert "\n".join(rows) in PAGE


@pytest.mark.parametrize("kind", MODELS)
async def test_a_safe_picture_arrives(guard: RemoteImageGuard, kind: str) -> None:
    service = Service()
    given = INPUTS["user"](SAFE)
    await run(service, given, ImageGuardFilter(guard), kind=kind, stream=False)
    assert arrived(service.bodies) == [False]


async def test_a_blocked_picture_ends_the_run_before_the_model(guard: RemoteImageGuard) -> None:
    service = Service()
    with pytest.raises(ImageBlocked, match="1 blocked picture") as caught:
        await run(
            service,
            INPUTS["user"](HOPELESS),
            ImageGuardFilter(guard),
            kind="responses",
            stream=False,
        )
    assert caught.value.reply == "I cannot help with this image."
    assert [each.decision for each in caught.value.verdicts] == ["block"]
    assert service.bodies == []


@pytest.mark.parametrize("name", ["history", "tool result in the history"])
async def test_older_blocked_pictures_end_nothing(guard: RemoteImageGuard, name: str) -> None:
    service = Service()
    guarding = ImageGuardFilter(guard)
    await run(service, INPUTS[name](HOPELESS), guarding, kind="responses", stream=False)
    assert arrived(service.bodies) == []
    assert "found unsafe" in str(service.bodies)


async def test_with_notices_a_run_goes_on(guard: RemoteImageGuard) -> None:
    service = Service()
    guarding = ImageGuardFilter(guard, on_blocked="notice")
    await run(service, INPUTS["user"](HOPELESS), guarding, kind="responses", stream=False)
    assert arrived(service.bodies) == []


async def test_what_cannot_be_looked_at_is_refused(guard: RemoteImageGuard) -> None:
    service = Service()
    file = {"type": "input_image", "file_id": "file-1", "detail": "auto"}
    with pytest.raises(ImageRejected, match="holds no image bytes"):
        await run(
            service,
            [said("user", file)],
            ImageGuardFilter(guard),
            kind="responses",
            stream=False,
        )
    assert service.bodies == []


async def test_without_its_guard_a_filter_lets_nothing_through(guard_url: str) -> None:
    guard = RemoteImageGuard(guard_url, api_key=GUARD_KEY)
    guarding = ImageGuardFilter(guard)
    guard.close()
    service = Service()
    with pytest.raises(Unreachable):
        await run(service, INPUTS["user"](SAFE), guarding, kind="responses", stream=False)
    assert service.bodies == []


async def test_an_input_guardrail_comes_too_late(guard: RemoteImageGuard) -> None:
    """The reason for the filter: the model has the picture before the guardrail has an answer."""
    service = Service()

    async def judge(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
        while not service.bodies:
            await asyncio.sleep(0.001)
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    agent = agent_of(service, input_guardrails=[InputGuardrail(judge)])
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(agent, INPUTS["user"](UNSAFE), run_config=config())
    assert leaks(service.bodies) == 1


async def test_a_tools_unsafe_picture_stays_out_of_the_run(guard: RemoteImageGuard) -> None:
    service = Service()
    tool = shooting(UNSAFE, tool_output_guardrails=[image_tool_guardrail(guard)])
    result = await run(
        service, "Look.", ImageGuardFilter(guard), kind="responses", stream=False, tools=[tool]
    )
    assert leaks(service.bodies, result.to_input_list()) == 0
    assert "found unsafe" in str(result.to_input_list())
    service = Service()
    tool = shooting(SAFE, tool_output_guardrails=[image_tool_guardrail(guard)])
    result = await run(service, "Look.", None, kind="responses", stream=False, tools=[tool])
    assert arrived(service.bodies) == [False]


async def test_of_a_tools_result_that_cannot_be_looked_at_the_model_reads_why(
    guard: RemoteImageGuard,
) -> None:
    service = Service()
    tool = shooting(SAFE[:-40], tool_output_guardrails=[image_tool_guardrail(guard)])
    result = await run(service, "Look.", None, kind="responses", stream=False, tools=[tool])
    assert "[image not shown: the file is damaged]" in str(result.to_input_list())
    assert "unsafe" not in str(result.to_input_list())


def test_a_tools_guard_takes_only_what_acts(guard: RemoteImageGuard) -> None:
    for option in ("on_unsafe", "on_refused", "on_blocked"):
        with pytest.raises(TypeError, match=option):
            image_tool_guardrail(guard, **{option: "notice"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a preset or a guard"):
        image_tool_guardrail()
    assert image_tool_guardrail(guard, name="pictures").name == "pictures"


def test_a_wrong_option_is_named(guard: RemoteImageGuard) -> None:
    with pytest.raises(ConfigError, match="on_unsafe should be one of mask, notice, block"):
        ImageGuardFilter(guard, on_unsafe="drop")
    with pytest.raises(ConfigError, match="no option 'on_unsfae'. Did you mean 'on_unsafe'"):
        ImageGuardFilter(guard, on_unsfae="mask")
    with pytest.raises(ConfigError, match="needs a preset or a guard"):
        ImageGuardFilter()
    with pytest.raises(ConfigError, match="Exactly one of preset and guard") as caught:
        ImageGuardFilter(guard, preset="mini")
    assert caught.value.remedy
