"""What operators see, and that it holds nothing of a request."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.config import GuardAlignConfig, ServeConfig
from guardalign_middleware.provenance import Provenance, note_files
from guardalign_middleware.serving import ServeOptions, create_app, tracing
from guardalign_middleware.testing import (
    EchoRunner,
    data_url,
    picture,
    red_chain,
    red_detector,
    red_guard,
)
from tests.support.broken import guard_with, raising
from tests.support.serving import AUTHORIZED, KEY

SECRET = "canary-4711"


@pytest.fixture
def app() -> FastAPI:
    return create_app(red_chain(), ServeOptions(api_key=KEY))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing.trace, "get_tracer_provider", lambda: provider)
    return exporter


def ask(client: TestClient, **more: Any) -> Any:
    url = {"url": data_url(picture(red=True))}
    parts = [{"type": "image_url", "image_url": url}, {"type": "text", "text": SECRET}]
    body = {"model": "red", "messages": [{"role": "user", "content": parts}], **more}
    return client.post("/v1/chat/completions", json=body, headers=AUTHORIZED)


def test_readiness_tells_its_parts_to_those_with_the_key(client: TestClient) -> None:
    assert client.get("/ready").json() == {"status": "ready"}
    parts = client.get("/ready", headers=AUTHORIZED).json()["parts"]
    assert parts["preset"] == "red"
    assert re.fullmatch("[0-9a-f]{64}", parts["guard"])
    assert re.fullmatch("[0-9a-f]{64}", parts["profile"])
    assert set(parts["detectors"][0]) >= {"encoder", "anchors", "patches", "transport"}
    assert parts["runner"] == "echo"


def test_readiness_tells_the_weights_behind_a_hook_for_answers(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")

    class Local(EchoRunner):
        provenance = Provenance("echo", None, note_files([file]))

    for hook in (None, lambda _, answer: answer):
        chain = GuardAlign(red_guard(), Local(), on_output=hook)
        with TestClient(create_app(chain), base_url="http://localhost") as client:
            parts = client.get("/ready").json()["parts"]
        assert parts["weights"] == Local.provenance.files


def test_a_guard_alone_is_ready_and_answers_nothing() -> None:
    with TestClient(create_app(red_guard()), base_url="http://localhost") as client:
        assert "runner" not in client.get("/ready").json()["parts"]
        assert client.post("/v1/chat/completions", json={}).status_code == 404


@pytest.mark.parametrize(
    ("upstream", "what"),
    [("http://127.0.0.1:1/v1", "the service behind it"), (None, "whatever asks it")],
)
def test_the_miniature_guard_before_anything_real_is_a_warning(
    upstream: str | None, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    guard = ImageGuard(GuardAlignConfig.load("mini"), red_detector())
    app = create_app(guard, ServeOptions(ServeConfig(upstream=upstream)))
    warning = f"The server guards {what} with the preset 'mini', which only knows drawn pictures."
    assert [record.getMessage().startswith(warning) for record in caplog.records] == [True]
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/ready").json()["parts"]["warning"].startswith(warning)


def test_only_the_miniature_guard_before_a_foreign_model_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = GuardAlignConfig.load("mini")
    guard, own = ImageGuard(config, red_detector()), EchoRunner()
    assert config.runner is not None
    own.config = config.runner
    for chain in (GuardAlign(guard, own), red_chain()):
        with TestClient(create_app(chain), base_url="http://localhost") as client:
            assert "warning" not in client.get("/ready").json()["parts"]
    assert not caplog.records
    create_app(GuardAlign(guard, EchoRunner()))
    assert "guards the model echo with" in caplog.text


SCANNED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/guard/scan", {"images": [{"image": data_url(picture())}]}),
    ("/v1/guard/sanitize", {"images": [{"image": data_url(picture())}]}),
    (
        "/v1/moderations",
        {"input": [{"type": "image_url", "image_url": {"url": data_url(picture())}}]},
    ),
    (
        "/v1/guard/conversation",
        {"model": "gpt-5.4", "messages": [{"role": "user", "content": "Hi."}]},
    ),
]


@pytest.mark.parametrize(("path", "body"), SCANNED, ids=[path for path, _ in SCANNED])
def test_the_miniature_guard_is_warned_of_once_it_is_asked_alone(
    path: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It stands before its own model, and a gateway sends what it cleaned to another one."""
    config = GuardAlignConfig.load("mini")
    own = EchoRunner()
    assert config.runner is not None
    own.config = config.runner
    app = create_app(GuardAlign(ImageGuard(config, red_detector()), own))
    warning = "The server guards whatever asks it with the preset 'mini', which only knows drawn"
    with TestClient(app, base_url="http://localhost") as client:
        assert "warning" not in client.get("/ready").json()["parts"]
        for _ in range(2):
            answer = client.post(path, json=body)
            assert answer.status_code == 200, answer.text
        assert client.get("/ready").json()["parts"]["warning"].startswith(warning)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [each.startswith(warning) for each in told] == [True]
    if path.endswith("conversation"):
        assert answer.json()["guardalign"]["warning"].startswith(warning)


def test_a_guard_of_real_pictures_is_asked_alone_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with TestClient(create_app(red_guard()), base_url="http://localhost") as client:
        for path, body in SCANNED:
            assert "warning" not in client.post(path, json=body).text
        assert "warning" not in client.get("/ready").json()["parts"]
    assert not caplog.records


def test_the_models(client: TestClient) -> None:
    models = client.get("/v1/models", headers=AUTHORIZED).json()
    assert [each["id"] for each in models["data"]] == ["red"]
    assert client.get("/v1/models/red", headers=AUTHORIZED).json()["id"] == "red"
    assert client.get("/v1/models/x", headers=AUTHORIZED).status_code == 404


def value(text: str, line: str) -> float:
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    assert found, line
    return float(found[1])


def test_metrics_count_requests_pictures_and_tokens(client: TestClient) -> None:
    ask(client)
    ask(client, stream=True)
    ask(client, n=2)
    client.get(f"/{SECRET}")
    assert client.get("/metrics").status_code == 401
    text = client.get("/metrics", headers=AUTHORIZED).text
    chat = 'route="/v1/chat/completions"'
    assert value(text, f'guardalign_requests_total{{method="POST",{chat},status="200"}}') == 2
    assert value(text, f'guardalign_requests_total{{method="POST",{chat},status="400"}}') == 1
    assert value(text, 'guardalign_requests_total{method="GET",route="other",status="401"}') >= 1
    assert value(text, 'guardalign_images_total{decision="mask"}') == 2
    assert value(text, 'guardalign_tokens_total{kind="output"}') == 8
    assert value(text, "guardalign_first_text_seconds_count") == 1
    assert value(text, "guardalign_requests_at_work") == 0
    assert SECRET not in text


@pytest.mark.parametrize("stream", [False, True])
def test_a_span_has_the_names_of_generative_ai(
    client: TestClient, spans: InMemorySpanExporter, stream: bool
) -> None:
    answer = ask(client, stream=stream, seed=3, temperature=0.5, stop=[SECRET + "x"])
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind) == ("chat red", trace.SpanKind.SERVER)
    name = answer.text.split('"id":"')[1].split('"')[0]
    attributes = dict(span.attributes or {})
    assert (attributes.pop("gen_ai.response.time_to_first_chunk", None) is not None) == stream
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "guardalign",
        "gen_ai.request.model": "red",
        "gen_ai.request.seed": 3,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stream": stream,
        "gen_ai.response.id": name,
        "gen_ai.response.model": "red",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 4,
        "guardalign.images": 1,
        "guardalign.decision": "mask",
        "guardalign.calibration": "off",
    }


def test_a_span_continues_the_clients_trace_and_names_its_error(
    client: TestClient, spans: InMemorySpanExporter
) -> None:
    client.headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
    ask(client, messages=[{"role": "user", "content": [{"type": SECRET}]}])
    span: ReadableSpan = spans.get_finished_spans()[0]
    assert span.parent is not None
    assert f"{span.parent.trace_id:x}" == "a" * 32
    assert (span.attributes or {})["error.type"] == "MessageError"
    assert not span.status.is_ok


def test_without_opentelemetry_there_are_no_spans(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_INSTALLED", False)
    assert ask(client).status_code == 200


def test_without_an_sdk_no_span_is_made(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a process in which nothing has configured OpenTelemetry.
    provider = trace.ProxyTracerProvider()
    monkeypatch.setattr(tracing.trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(provider, "get_tracer", None)
    assert ask(client).status_code == 200


def test_nothing_of_a_request_is_logged_measured_or_traced(
    client: TestClient, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ask(client)
    ask(client, stream=True)
    ask(client, user=SECRET, n=2)
    ask(client, messages=[{"role": SECRET, "content": SECRET}])
    client.post(f"/v1/{SECRET}?q={SECRET}", headers=AUTHORIZED)
    client.get("/ready", headers={"Authorization": f"Bearer {SECRET}"})
    own = [record for record in caplog.records if not record.name.startswith("httpx")]
    seen = [record.getMessage() for record in own]
    seen += [span.to_json() for span in spans.get_finished_spans()]
    seen.append(client.get("/metrics", headers=AUTHORIZED).text)
    seen.append(json.dumps(client.get("/ready", headers=AUTHORIZED).json()))
    assert not [each for each in seen if SECRET in each or KEY in each]


def test_a_device_that_is_lost_while_scanning_fails_the_probe_that_restarts_the_server() -> None:
    app = create_app(guard_with(raising(torch.AcceleratorError(SECRET, 1))))
    with TestClient(app, base_url="http://localhost") as probe:
        assert probe.get("/health").status_code == 200
        body = {"images": [{"image": data_url(picture())}]}
        lost = probe.post("/v1/guard/scan", json=body)
        assert (lost.status_code, lost.json()["error"]["code"]) == (503, "device_lost")
        for path in ("/health", "/ready"):
            answer = probe.get(path)
            assert answer.status_code == 503
            assert "has to be restarted" in answer.json()["error"]["message"]
            assert SECRET not in answer.text


def test_pictures_pass_on_a_lost_device_where_faults_are_allowed_and_the_probes_fail() -> None:
    guard = guard_with(raising(torch.AcceleratorError(SECRET, 1)), on_fault="allow")
    with TestClient(create_app(guard), base_url="http://localhost") as probe:
        body = {"images": [{"image": data_url(picture())}]}
        for _ in range(2):
            passed = probe.post("/v1/guard/scan", json=body)
            assert passed.status_code == 200
            for path in ("/health", "/ready"):
                assert probe.get(path).status_code == 503
    assert guard.failed_open == 2


def test_other_faults_that_are_allowed_leave_the_server_ready() -> None:
    guard = guard_with(raising(RuntimeError(SECRET)), on_fault="allow")
    with TestClient(create_app(guard), base_url="http://localhost") as probe:
        body = {"images": [{"image": data_url(picture())}]}
        assert probe.post("/v1/guard/scan", json=body).status_code == 200
        assert guard.failed_open == 1
        assert probe.get("/health").status_code == probe.get("/ready").status_code == 200
