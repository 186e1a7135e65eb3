"""The guard before a provider's own class: no raw picture is sent, and nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.load import dumpd, load
from pydantic import BaseModel, SecretStr

from langchain_guardalign import GuardedChatModel, ImageGuardRunnable
from langchain_support.agents import ASKED, ask, raw, red_runnable, screenshot

openai = pytest.importorskip("langchain_openai")


class Thing(BaseModel):
    """What is in the picture."""

    thing: str


class Api:
    """Answers as the provider's API, and records every request."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.sent.append(body)
        text = '{"thing": "square"}' if "response_format" in body else "a square"
        about = {"id": "1", "created": 0, "model": "gpt"}
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return httpx.Response(200, json={**about, "choices": choices, "usage": usage})
        deltas = [*({"content": f"{word} "} for word in text.split()), {}]
        lines = [
            f"data: {json.dumps({**about, 'choices': [{'index': 0, 'delta': delta}]})}\n\n"
            for delta in deltas
        ]
        kind = {"content-type": "text/event-stream"}
        return httpx.Response(200, text="".join([*lines, "data: [DONE]\n\n"]), headers=kind)

    def model(self) -> Any:
        transport = httpx.MockTransport(self.answer)
        return openai.ChatOpenAI(
            model="gpt",
            api_key=SecretStr("none"),
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
            profile={"structured_output": True, "tool_calling": True},
        )


async def test_every_way_to_the_provider() -> None:
    api = Api()
    model = red_runnable() | api.model()
    prompt = [ask(ASKED)]
    answer = model.invoke(prompt)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 5
    assert answer.response_metadata["guardalign"]["masked"] == 1
    assert [chunk.text for chunk in model.stream(prompt) if chunk.text] == ["a ", "square "]
    assert [chunk.text async for chunk in model.astream(prompt) if chunk.text] == ["a ", "square "]
    assert (await model.ainvoke(prompt)).text == "a square"
    assert model.with_structured_output(Thing).invoke(prompt) == Thing(thing="square")
    agent = create_agent(model, tools=[screenshot], response_format=Thing)
    assert agent.invoke({"messages": prompt})["structured_response"] == Thing(thing="square")
    assert api.sent[-1]["tools"][0]["function"]["name"] == "screenshot"
    assert api.sent[-1]["response_format"]["type"] == "json_schema"
    assert len(api.sent) == 6
    assert raw(api.sent) == 0


def test_its_clients_and_keys_stay_out_of_reach() -> None:
    model: Any = red_runnable() | Api().model()
    assert (model.model_name, model._llm_type) == ("gpt", "openai-chat")
    for name in ("client", "root_client", "async_client", "http_client", "openai_api_key"):
        assert not hasattr(model, name)


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_it_is_loaded_with_the_providers_class() -> None:
    inner = openai.ChatOpenAI(model="gpt", api_key=SecretStr("a key"))
    data = dumpd(ImageGuardRunnable(preset="mini") | inner)
    assert "a key" not in json.dumps(data)
    again = load(
        data,
        valid_namespaces=["langchain_guardalign"],
        allowed_objects=[GuardedChatModel, ImageGuardRunnable, openai.ChatOpenAI],
        secrets_map={"OPENAI_API_KEY": "another"},
    )
    assert isinstance(again, GuardedChatModel)
    assert dumpd(again) == data
