"""What a replica serves changes while requests are at work, and never to something broken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.scale import served
from guardalign_middleware.scale.served import Served, Switch, load_served
from guardalign_middleware.testing import red_chain, red_detector, red_guard
from tests.support.ray_red import config_with_profile
from tests.support.upstream import Raw, saying

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
OPTIONS = {"host": "127.0.0.1"}
QUESTION = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, GuardAlignConfig]:
    """Presets by name; "lax" has another profile, "large" other patches too."""
    found = {"red": config_with_profile(tmp_path)}
    profile = red_detector(found["red"]).profile
    assert profile is not None
    lax = ThresholdProfile(0.01, "none", profile.fit, profile.binding)
    lax.save(tmp_path / "lax.json")
    foreign = ThresholdProfile(0.01, "none", profile.fit, {**profile.binding, "encoder": "other"})
    foreign.save(tmp_path / "foreign.json")
    detection = found["red"].detection
    for name in ("lax", "foreign"):
        changed = detection.model_copy(update={"profile": tmp_path / f"{name}.json"})
        found[name] = found["red"].model_copy(update={"detection": changed, "name": name})
    found["cautious"] = found["red"].model_copy(update={"on_fault": "block", "name": "cautious"})

    def load(preset: str) -> GuardAlignConfig:
        if preset not in found:
            raise ConfigError(f"There is no preset {preset!r}.")
        return found[preset]

    monkeypatch.setattr(GuardAlignConfig, "load", load)
    monkeypatch.setattr(GuardAlign, "from_config", red_chain)
    monkeypatch.setattr(ImageGuard, "from_config", red_guard)
    return found


def client_of(switch: Switch) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(switch), base_url="http://127.0.0.1")


def test_other_thresholds_keep_the_models(configs: dict[str, GuardAlignConfig]) -> None:
    first = load_served("red", OPTIONS)
    second = load_served("lax", OPTIONS, first)
    assert second.guard.detector.meters is first.guard.detector.meters
    assert isinstance(first.models, GuardAlign)
    assert isinstance(second.models, GuardAlign)
    assert second.models.runner is first.models.runner
    assert second.guard.detector.profile != first.guard.detector.profile
    with pytest.raises(ConfigError, match="fitted with different encoder"):
        load_served("foreign", OPTIONS, first)


def test_models_are_kept_by_the_contents_of_files(
    configs: dict[str, GuardAlignConfig], tmp_path: Path
) -> None:
    """Concepts that are edited in place are others, under the same path."""
    anchors, weights = tmp_path / "anchors.yaml", tmp_path / "model"
    anchors.write_text("one")
    weights.mkdir()
    red = configs["red"]
    assert red.runner is not None
    configs["edited"] = red.model_copy(
        update={
            "detection": red.detection.model_copy(update={"anchors": anchors}),
            "runner": red.runner.model_copy(update={"model": str(weights)}),
        }
    )
    first = load_served("edited", OPTIONS)
    assert load_served("edited", OPTIONS, first).guard.detector.meters is (
        first.guard.detector.meters
    )
    anchors.write_text("two")
    second = load_served("edited", OPTIONS, first)
    assert second.guard.detector.meters is not first.guard.detector.meters
    (weights / "model.safetensors").write_bytes(b"other")
    third = load_served("edited", OPTIONS, second)
    assert isinstance(second.models, GuardAlign)
    assert isinstance(third.models, GuardAlign)
    assert third.models.runner is not second.models.runner


def test_settings_of_the_guard_need_no_other_models(configs: dict[str, GuardAlignConfig]) -> None:
    first = load_served("red", OPTIONS)
    second = load_served("cautious", OPTIONS, first)
    assert second.guard.detector.meters is first.guard.detector.meters
    assert second.guard.config == configs["cautious"]


@pytest.mark.parametrize("other", ["red", "lax", "cautious"])
async def test_the_routes_are_those_of_the_options_now(
    configs: dict[str, GuardAlignConfig], other: str
) -> None:
    """With the same weights and with others, an upstream goes and comes."""
    switch = Switch()
    with saying(Raw()) as upstream:
        for preset, more in (
            *(("red", {"upstream": upstream}), (other, {})),
            *(("red", {"upstream": upstream}), ("red", {})),
        ):
            await switch.change(preset, {**OPTIONS, **more})
            async with client_of(switch) as client:
                chat = await client.post("/v1/chat/completions", json={**QUESTION, "model": preset})
                closed = await client.post("/v1/embeddings", json={})
            assert ("is not passed on" in closed.text) == bool(more)
            if more:
                assert chat.json()["error"]["code"] == "upstream_failed"
            else:
                assert chat.json()["choices"][0]["message"]["content"]


def test_models_that_are_kept_are_warmed_up(
    configs: dict[str, GuardAlignConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[Any] = []
    monkeypatch.setattr(served, "warm_up", warmed.append)
    first = load_served("red", OPTIONS)
    second = load_served("lax", OPTIONS, first)
    assert warmed == [first.models, second.models]


def test_a_guard_without_thresholds_takes_over_options(
    configs: dict[str, GuardAlignConfig],
) -> None:
    detection = configs["red"].detection.model_copy(update={"profile": None})
    configs["bare"] = configs["red"].model_copy(update={"detection": detection, "name": "bare"})
    first = load_served("bare", OPTIONS, mode="observe")
    second = load_served("bare", {**OPTIONS, "max_requests": 3}, first, mode="observe")
    assert second.guard.detector.meters is first.guard.detector.meters
    assert second.guard.detector.profile is None


def test_a_model_that_no_longer_answers_is_let_go(configs: dict[str, GuardAlignConfig]) -> None:
    first = load_served("red", OPTIONS)
    second = load_served("lax", {**OPTIONS, "upstream": "http://127.0.0.1:9"}, first)
    assert second.guard.detector.meters is first.guard.detector.meters
    assert isinstance(second.models, ImageGuard)


async def test_requests_at_work_end_with_what_they_began_with(
    configs: dict[str, GuardAlignConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()
    begun: list[str] = []

    def load(preset: str, options: Any, before: Served | None = None, **_: Any) -> Served:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            begun.append(preset)
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": preset.encode()})

        made = FastAPI()
        made.mount("/", app)
        return Served(configs[preset], red_chain(), made)

    monkeypatch.setattr(served, "load_served", load)
    switch = Switch()
    await switch.change("red", OPTIONS)
    async with client_of(switch) as client:
        early = asyncio.create_task(client.get("/"))
        while not begun:
            await asyncio.sleep(0)
        await switch.change("lax", OPTIONS)
        late = asyncio.create_task(client.get("/"))
        while len(begun) < 2:
            await asyncio.sleep(0)
        go.set()
        assert [(await one).text for one in (early, late)] == ["red", "lax"]


async def test_a_preset_that_cannot_be_loaded_changes_nothing(
    configs: dict[str, GuardAlignConfig], caplog: pytest.LogCaptureFixture
) -> None:
    switch = Switch()
    with pytest.raises(ConfigError, match="no preset 'missing'"):
        await switch.change("missing", OPTIONS)
    await switch.change("red", OPTIONS)
    before = switch.profile
    with caplog.at_level(logging.ERROR):
        await switch.change("foreign", OPTIONS)
    assert switch.profile == before
    assert "The preset foreign is not served" in caplog.text
    await switch.change("lax", OPTIONS)
    assert switch.profile != before


class Streaming:
    """An upstream in the loop of the test: it begins an answer, and ends it when it may.

    Attributes:
        connections: those that are open.
        go_on: set when answers may end.
    """

    def __init__(self) -> None:
        self.connections: set[asyncio.StreamWriter] = set()
        self.go_on = asyncio.Event()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.connections) != count:
                await asyncio.sleep(0.01)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(size))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
                writer.write(b"Content-Length: 14\r\n\r\n")
                await self.go_on.wait()
                writer.write(b"data: [DONE]\n\n")
        self.connections.remove(writer)
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Streaming, dict[str, Any]]]:
    made = Streaming()
    async with await asyncio.start_server(made, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield made, {**OPTIONS, "upstream": f"http://127.0.0.1:{port}"}


async def ask(switch: Switch) -> str:
    async with client_of(switch) as client:
        answer = await client.post("/v1/chat/completions", json={**QUESTION, "model": "red"})
    return answer.text


async def test_connections_to_an_upstream_end_with_the_last_request_at_work(
    configs: dict[str, GuardAlignConfig], upstream: tuple[Streaming, dict[str, Any]]
) -> None:
    service, options = upstream
    switch = Switch()
    await switch.change("red", options)
    asked = [asyncio.create_task(ask(switch)) for _ in range(2)]
    await service.until(2)
    await switch.change("lax", options)
    later = asyncio.create_task(ask(switch))
    await service.until(3)
    service.go_on.set()
    assert [await one for one in (*asked, later)] == ["data: [DONE]\n\n"] * 3
    # Two were those of the app that is gone.
    await service.until(1)
    assert await ask(switch) == "data: [DONE]\n\n"
    await switch.change("red", OPTIONS)
    await service.until(0)


async def test_the_end_of_a_replica_closes_its_connections(
    configs: dict[str, GuardAlignConfig], upstream: tuple[Streaming, dict[str, Any]]
) -> None:
    service, options = upstream
    service.go_on.set()
    switch = Switch()
    await switch.change("red", options)
    await ask(switch)
    await service.until(1)
    assert await told(switch) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    await service.until(0)


async def test_the_start_and_the_end_of_a_replica_are_answered() -> None:
    assert await told(Switch()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def told(switch: Switch) -> list[str]:
    """What a replica says when it starts and ends."""
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))
    sent: list[str] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await switch({"type": "lifespan"}, receive, send)
    return sent
