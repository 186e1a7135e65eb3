"""LiteLLM's own proxy with the guardrail, asked by unmodified clients."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from starlette.responses import JSONResponse, Response

from tests.gateways.front import Front
from tests.gateways.litellm_requests import EVERY, LOOK, PLACES, block, link, said, shot
from tests.gateways.processes import GUARD_KEY, ROOT, litellm_proxy
from tests.gateways.sent_pictures import HOPELESS, SAFE, UNSAFE, arrived, leaks, url
from tests.support.upstream import Recorded

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "sk-of-the-clients-4f1c9a7be2"
PAGE = (ROOT / "docs" / "gateways.md").read_text()
EVERYWHERE = pytest.mark.parametrize(("dialect", "name"), EVERY)
STREAMED = pytest.mark.parametrize("stream", [False, True])
REPLY = "I cannot help with this image."


@dataclass(frozen=True)
class Clients:
    url: str
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic

    def ask(self, dialect: str, body: dict[str, Any], *, stream: bool = False) -> Any:
        """Send a request with the client that speaks its dialect; a stream is read to its end."""
        if dialect == "chat":
            got: Any = self.openai.chat.completions.create(**body, stream=stream)
        elif dialect == "responses":
            got = self.openai.responses.create(**body, stream=stream)
        else:
            got = self.anthropic.messages.create(**body, stream=stream)
        return list(got) if stream else got


@pytest.fixture(scope="module")
def clients(
    standing_front: tuple[Front, str],
    standing_upstream: tuple[Recorded, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Clients]:
    """The page's config, run as it stands."""
    (config,) = re.findall(r"```yaml\n(model_list:.*?)```", PAGE, re.DOTALL)
    path = tmp_path_factory.mktemp("litellm") / "config.yaml"
    path.write_text(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    env = {
        "GUARD_URL": standing_front[1],
        "GUARD_KEY": GUARD_KEY,
        "LITELLM_MASTER_KEY": KEY,
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"{standing_upstream[1]}/v1",
        "ANTHROPIC_API_KEY": "none",
        "ANTHROPIC_BASE_URL": standing_upstream[1],
        "ANTHROPIC_API_BASE": standing_upstream[1],
    }
    with litellm_proxy(path, port, env) as proxy:
        of_openai = openai.OpenAI(base_url=f"{proxy}/v1", api_key=KEY, max_retries=0)
        of_anthropic = anthropic.Anthropic(base_url=proxy, api_key=KEY, max_retries=0)
        with of_openai, of_anthropic:
            yield Clients(proxy, of_openai, of_anthropic)


@EVERYWHERE
@STREAMED
def test_nothing_unsafe_arrives(
    clients: Clients, upstream: Recorded, dialect: str, name: str, stream: bool
) -> None:
    answer = clients.ask(dialect, PLACES[dialect][name](UNSAFE), stream=stream)
    assert "Blue" in str(answer)
    (request,) = upstream.requests
    assert leaks(request[2]) == 0


@EVERYWHERE
def test_a_safe_picture_arrives(
    clients: Clients, upstream: Recorded, front: Front, dialect: str, name: str
) -> None:
    front.asleep = True
    clients.ask(dialect, PLACES[dialect][name](SAFE))
    unguarded = upstream.body
    front.asleep = False
    clients.ask(dialect, PLACES[dialect][name](SAFE))
    assert arrived(upstream.body) == arrived(unguarded)


def test_the_table_of_the_page(clients: Clients, upstream: Recorded, front: Front) -> None:
    rows = []
    for dialect, places in PLACES.items():
        for name, place in places.items():
            counts = []
            for front.asleep in (True, False):
                upstream.requests.clear()
                clients.ask(dialect, place(UNSAFE))
                counts.append(leaks(upstream.body))
            rows.append(f"| {dialect} | {name} | {counts[0]} | {counts[1]} |")
    assert "\n".join(rows) in PAGE


def test_a_cleaned_picture_stays_where_it_was(clients: Clients, upstream: Recorded) -> None:
    clients.ask("chat", PLACES["chat"]["user"](UNSAFE))
    words, shown = upstream.body["messages"][0]["content"]
    assert words == LOOK
    assert arrived(shown) == [False]
    assert url(UNSAFE) != shown["image_url"]["url"]


@STREAMED
@pytest.mark.parametrize("dialect", ["chat", "responses"])
def test_a_blocked_picture_is_a_400_with_the_verdict(
    clients: Clients, upstream: Recorded, dialect: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        clients.ask(dialect, PLACES[dialect]["user"](HOPELESS), stream=stream)
    body: Any = caught.value.body
    assert body["message"] == REPLY
    fields = body["provider_specific_fields"]
    assert fields["code"] == "picture_blocked"
    assert fields["guardalign"]["decision"] == "block"
    (verdict,) = fields["guardalign"]["verdicts"]
    assert verdict["decision"] == "block"
    assert verdict["category"] == "weapon"
    assert upstream.requests == []


@STREAMED
def test_a_blocked_picture_is_a_400_for_anthropics_client(
    clients: Clients, upstream: Recorded, stream: bool
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        clients.ask("messages", PLACES["messages"]["user"](HOPELESS), stream=stream)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["message"]) == ("error", REPLY)
    fields = body["error"]["provider_specific_fields"]
    assert fields["guardalign"]["decision"] == "block"
    assert upstream.requests == []


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_a_conversation_goes_on_after_a_tools_blocked_picture(
    clients: Clients, upstream: Recorded, dialect: str
) -> None:
    clients.ask(dialect, PLACES[dialect]["tool result"](HOPELESS))
    assert leaks(upstream.body) == 0


def test_what_the_guard_found_is_in_the_headers(clients: Clients) -> None:
    def headers(body: dict[str, Any]) -> Any:
        return clients.openai.chat.completions.with_raw_response.create(**body).headers

    found = headers(PLACES["chat"]["user"](UNSAFE))
    assert (found["x-guardalign-decision"], found["x-guardalign-images"]) == ("mask", "1")
    found = headers({"model": "gpt", "messages": [{"role": "user", "content": "Hello."}]})
    assert (found["x-guardalign-decision"], found["x-guardalign-images"]) == ("none", "0")


def test_what_cannot_be_looked_at_is_refused(clients: Clients, upstream: Recorded) -> None:
    address = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    with pytest.raises(openai.BadRequestError) as caught:
        clients.ask("chat", {"model": "gpt", "messages": [said("user", address)]})
    body: Any = caught.value.body
    assert "https" in body["message"]
    assert body["provider_specific_fields"]["code"] == "url_not_allowed"
    smuggled = {"extra_body": {"messages": [said("user", link(UNSAFE))]}}
    with pytest.raises(openai.BadRequestError, match="extra_body"):
        clients.openai.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "?"}], extra_body=smuggled
        )
    instead = [{"model": "claude", "messages": [said("user", block(UNSAFE))]}]
    with pytest.raises(openai.BadRequestError, match="fallbacks"):
        clients.openai.chat.completions.create(
            model="gpt",
            messages=[{"role": "user", "content": "?"}],
            extra_body={"fallbacks": instead},
        )
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        clients.openai.responses.create(model="gpt", input="?", previous_response_id="resp_1")
    assert upstream.requests == []


FAULTS: dict[str, tuple[Response, int, str]] = {
    "fault": (JSONResponse({"error": {"message": "out", "code": "x"}}, 500), 502, "guard_unusable"),
    "no guard": (Response(status_code=404), 502, "guard_unusable"),
    "no JSON": (Response("hello"), 502, "guard_unusable"),
    "no request": (JSONResponse({"blocked": False, "guardalign": {}}), 502, "guard_unusable"),
    "more than was sent": (
        JSONResponse({"request": {"tools": []}, "blocked": False, "guardalign": {}}),
        502,
        "guard_unusable",
    ),
    "elsewhere": (
        Response(status_code=307, headers={"location": "http://127.0.0.1:1/"}),
        502,
        "guard_unusable",
    ),
    "wrong key": (JSONResponse({"error": {"message": "no"}}, 401), 500, "guard_key_refused"),
    "busy": (JSONResponse({"error": {"message": "full"}}, 429), 503, "guard_overloaded"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_guard_is_an_error_and_nothing_passes(
    clients: Clients, upstream: Recorded, front: Front, name: str
) -> None:
    front.answer, status, code = FAULTS[name]
    with pytest.raises(openai.APIStatusError) as caught:
        clients.ask("chat", {"model": "gpt", "messages": [{"role": "user", "content": "Hello."}]})
    body: Any = caught.value.body
    assert caught.value.status_code == status
    assert body["provider_specific_fields"]["code"] == code
    assert "The guard at http://127.0.0.1" in body["message"]
    assert upstream.requests == []


def test_the_guard_gets_the_request_and_no_key_of_a_client(clients: Clients, front: Front) -> None:
    body = {"model": "gpt", "messages": [{"role": "user", "content": "Hello."}]}
    clients.openai.chat.completions.create(**body, extra_headers={"x-secret": "s"})  # type: ignore[call-overload]
    ((headers, asked),) = front.asked
    assert asked == body
    assert headers["authorization"] == f"Bearer {GUARD_KEY}"
    assert KEY not in json.dumps([headers, asked])
    assert "x-secret" not in headers
    front.asked.clear()
    body = PLACES["messages"]["user"](SAFE)
    clients.anthropic.messages.create(**body, extra_headers={"anthropic-beta": "b"})
    assert front.asked[0][1] == body


REFUSED: dict[str, tuple[str, Any]] = {
    "Gemini's own form": (
        "v1beta/models/gpt:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
    ),
    "interactions": ("interactions", {"model": "gpt", "input": "x"}),
    "OCR": ("v1/ocr", {"model": "gpt", "document": link(UNSAFE)}),
    "embeddings of a picture": ("v1/embeddings", {"model": "gpt", "input": [url(UNSAFE)]}),
    "embeddings of an address": (
        "v1/embeddings",
        {"model": "gpt", "input": ["gs://bucket/a cat.png"]},
    ),
    "embeddings of a stored file": (
        "v1/embeddings",
        {"model": "gpt", "input": "files/abc-123?x and words"},
    ),
    "embeddings of bytes": ("v1/embeddings", {"model": "gpt", "input": [*UNSAFE]}),
    "moderations of a picture": ("v1/moderations", {"model": "gpt", "input": [link(UNSAFE)]}),
    "completions of a picture": ("v1/completions", {"model": "gpt", "prompt": url(UNSAFE)}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_routes_are_closed_to_pictures(
    clients: Clients, upstream: Recorded, name: str
) -> None:
    path, body = REFUSED[name]
    answer = httpx.post(
        f"{clients.url}/{path}", json=body, headers={"Authorization": f"Bearer {KEY}"}
    )
    assert answer.status_code == 400, answer.text
    assert upstream.requests == []


TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a text": ("completions", {"prompt": "Hello."}),
    "a prefix": ("completions", {"prompt": "Use data:image/png;base64,... in CSS."}),
    "markdown": ("completions", {"prompt": "![A cat](https://example.org/a.png)"}),
    "an address in front": ("embeddings", {"input": ["https://example.org/a.png is a cat."]}),
    "ids of tokens": ("embeddings", {"input": [1, 2, 3, 4, 5, 6, 7, 8, 9]}),
    "several lists of ids": ("embeddings", {"input": [[72, 105, 33], [15339, 1917]]}),
    "a file's name": ("moderations", {"input": "file_handler opens it."}),
    "an option": ("images/generations", {"prompt": "A cat.", "partial_images": 2}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_routes_of_texts_are_open(clients: Clients, upstream: Recorded, name: str) -> None:
    path, body = TEXTS[name]
    httpx.post(
        f"{clients.url}/v1/{path}",
        json={"model": "gpt", **body},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    ((_, _, arrived_body),) = upstream.requests
    # LiteLLM makes a message of a prompt.
    assert all(json.dumps(value) in json.dumps(arrived_body) for value in body.values())


def test_the_proxy_counts_tokens_without_asking(clients: Clients, upstream: Recorded) -> None:
    """LiteLLM runs no guardrail there; the page says so."""
    clients.anthropic.messages.count_tokens(
        model="claude", messages=PLACES["messages"]["user"](UNSAFE)["messages"]
    )
    assert upstream.requests[-1][0] == "/v1/messages/count_tokens"
    assert leaks(upstream.body) == 1
    assert "/v1/messages/count_tokens" in PAGE


def test_a_picture_of_responses_stays_a_picture(clients: Clients, upstream: Recorded) -> None:
    clients.ask("responses", {"model": "gpt", "input": [said("user", shot(UNSAFE))]})
    (shown,) = upstream.body["input"][0]["content"]
    assert shown["type"] == "input_image"
    assert arrived(shown) == [False]


def test_the_code_of_the_page_runs(
    clients: Clients,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(UNSAFE)
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    part = PAGE.partition("\n## LiteLLM\n")[2].partition("\n## ")[0]
    names: dict[str, Any] = {"blocked_picture": url(HOPELESS)}
    for code in re.findall(r"```python\n(.*?)```", part, re.DOTALL):
        code = code.replace("http://127.0.0.1:4000", clients.url)
        exec(compile(code, "gateways.md", "exec"), names)
    names["client"].close()
    assert capsys.readouterr().out == "mask 1\nblock\n"


def test_the_example_of_the_package_is_the_same() -> None:
    package = Path(ROOT / "integrations" / "litellm-guardalign" / "README.md").read_text()
    (guardrails,) = re.findall(r"```yaml\n(guardrails:.*?)```", package, re.DOTALL)
    assert guardrails in PAGE
