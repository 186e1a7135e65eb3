"""The guardrail's options, and a guard that is not there."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from litellm.proxy.guardrails.init_guardrails import init_guardrails_v2

from litellm_guardalign import GuardAlignGuardrail
from litellm_guardalign.errors import Refused, SetupError
from litellm_guardalign.routes import reading_of, sent_fields

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

RIGHT: dict[str, Any] = {
    "event_hook": "pre_call",
    "default_on": True,
    "api_base": "http://127.0.0.1:8000",
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"event_hook": "during_call"}, "mode should be pre_call"),
    ({"event_hook": ["pre_call", "post_call"]}, "mode should be pre_call"),
    ({"default_on": None}, "default_on is missing"),
    ({"api_base": None}, "api_base is missing"),
    ({"api_base": "127.0.0.1:8000"}, "should start with https://"),
    ({"api_base": "http://user:pass@127.0.0.1"}, "Pass the key as api_key"),
    ({"api_base": "http://guard.example"}, "without encryption"),
    ({"api_key": " "}, "api_key is empty"),
    ({"api_key": "k k"}, "no spaces"),
    ({"api_key": 7}, "api_key should be a text"),
    ({"timeout": 0.0}, "timeout should be > 0"),
    ({"timeout": "60"}, "Received '60'"),
    ({"timeout": True}, "Received True"),
    ({"allow_routes": "aocr"}, "allow_routes should be a list"),
    ({"allow_routes": True}, "allow_routes should be a list"),
    ({"allow_routes": 5}, "allow_routes should be a list"),
    ({"allow_routes": [5]}, "allow_routes should be a list"),
    ({"allow_http": "false"}, "allow_http should be true or false"),
    ({"default_on": "no"}, "default_on should be true or false"),
    ({"scan_raw_request": True}, "scan_raw_request"),
    ({"run_in_parallel": True}, "run_in_parallel"),
    ({"unreachable_fallback": "fail_open"}, "unreachable_fallback has no effect"),
    ({"mask_request_content": True}, "mask_request_content has no effect"),
    ({"apibase": "x"}, "apibase is not an option"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[str(each) for each, _ in WRONG])
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        GuardAlignGuardrail("guardalign", **{**RIGHT, **options})


def test_certificates_that_cannot_be_read_are_found_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/certificates.pem")
    with pytest.raises(SetupError, match="SSL_CERT_FILE"):
        GuardAlignGuardrail("guardalign", **RIGHT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "post_call"}, "mode should be pre_call"),
        ({"allow_routes": True}, "allow_routes should be a list"),
        ({"allow_http": "false"}, "allow_http should be true or false"),
        ({"api_base": "http://127.0.0.1/\ud800"}, "cannot be set up"),
    ],
)
def test_litellm_does_not_start_without_the_guardrail(options: dict[str, Any], said: str) -> None:
    """After a ValueError or a TypeError it would."""
    right = {"guardrail": "litellm_guardalign.GuardAlignGuardrail", "mode": "pre_call"}
    params = {**right, "default_on": True, "api_base": RIGHT["api_base"], **options}
    config: Any = [{"guardrail_name": "guardalign", "litellm_params": params}]
    with pytest.raises(SetupError, match=said):
        init_guardrails_v2(config, config_file_path="config.yaml")


@pytest.mark.parametrize("routes", [[], ["aocr"], ("aocr",), {"aocr"}, frozenset({"aocr"})])
def test_routes_are_taken_in_any_collection(routes: Any) -> None:
    GuardAlignGuardrail("guardalign", **RIGHT, allow_routes=routes)


async def test_without_a_guard_nothing_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    guardrail = GuardAlignGuardrail(**{**RIGHT, "api_base": f"http://127.0.0.1:{port}"})
    data = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
    with pytest.raises(Refused) as caught:
        await guardrail.async_pre_call_hook(None, None, data, "acompletion")
    assert (caught.value.status_code, caught.value.code) == (503, "guard_unreachable")
    assert f"http://127.0.0.1:{port} cannot be reached" in caught.value.message


async def test_a_guard_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        guardrail = GuardAlignGuardrail(**{**RIGHT, "api_base": url, "timeout": 0.2})
        with pytest.raises(Refused, match="did not answer in time"):
            await guardrail.async_pre_call_hook(None, None, {"messages": []}, "acompletion")


async def test_a_path_that_the_server_does_not_know_names_the_base_url() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        guardrail = GuardAlignGuardrail(**{**RIGHT, "api_base": url})
        with pytest.raises(Refused, match="base URL of `guardalign serve`, without /v1") as caught:
            await guardrail.async_pre_call_hook(None, None, {"messages": []}, "acompletion")
    assert (caught.value.status_code, caught.value.code) == (502, "guard_unusable")


async def test_what_is_no_json_is_refused() -> None:
    guardrail = GuardAlignGuardrail(**RIGHT)
    with pytest.raises(Refused, match="image is not plain JSON"):
        await guardrail.async_pre_call_hook(None, None, {"image": b"raw"}, "acompletion")


@pytest.mark.parametrize(
    ("call_type", "reading"),
    [
        ("acompletion", "chat"),
        ("completion", "chat"),
        ("aresponses", "responses"),
        ("anthropic_messages", "messages"),
        ("aembedding", "texts"),
        ("moderation", "texts"),
        ("atranscription", "unseen"),
        ("aget_responses", "unseen"),
        ("alist_input_items", "unseen"),
        ("pass_through_endpoint", None),
        ("allm_passthrough_route", None),
        ("agenerate_content", None),
        ("aimage_edit", None),
        ("acreate_file", None),
        ("acreate_batch", None),
        ("_arealtime", None),
        ("_aresponses_websocket", None),
        ("a_type_of_tomorrow", None),
    ],
)
def test_how_each_type_is_read(call_type: str, reading: str | None) -> None:
    assert reading_of(call_type) == reading


async def test_an_allowed_type_passes_unseen() -> None:
    guardrail = GuardAlignGuardrail(**RIGHT, allow_routes=["aocr"])
    data = {"document": "x"}
    assert await guardrail.async_pre_call_hook(None, None, data, "aocr") is data
    with pytest.raises(Refused, match="'aimage_edit'"):
        await guardrail.async_pre_call_hook(None, None, data, "aimage_edit")


def test_no_credentials_are_sent() -> None:
    data = {"model": "m", "api_key": "k", "extra_headers": {}, "metadata": {}, "tools": []}
    assert sent_fields(data) == {"model": "m", "tools": []}
