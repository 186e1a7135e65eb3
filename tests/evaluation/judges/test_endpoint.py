from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.evaluation.judges import ChatEndpoint
from tests.support.servers import Answer, Server, ok

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
KEY = "sk-secret-77"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def reply(text: str | None) -> bytes:
    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
    return ok(body, "Connection: close")


def status(line: str) -> bytes:
    return f"HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


def asked(
    answer: Answer, images: tuple[bytes, ...] = (), **options: Any
) -> tuple[str, list[tuple[str, Any]]]:
    """The reply, and the requests: heads and bodies."""
    with Server({"/v1/chat/completions": answer}) as server:
        url = f"http://127.0.0.1:{server.port}/v1/"
        with ChatEndpoint(url, "judge-7b", **{"wait_s": 0.0} | options) as endpoint:
            text = endpoint.complete("Is it safe?", images)
    parts = [head.partition("\r\n\r\n") for head in server.heads]
    return text, [(head, json.loads(body)) for head, _, body in parts]


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, kind)
    return file.getvalue()


def test_a_question_is_one_message_at_temperature_0() -> None:
    text, [(head, body)] = asked(reply("safe"), max_tokens=77)
    assert text == "safe"
    assert f"authorization: bearer {KEY}" in head.lower()
    assert body == {
        "model": "judge-7b",
        "messages": [{"role": "user", "content": "Is it safe?"}],
        "temperature": 0,
        "max_tokens": 77,
    }


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("BMP", "image/png")],
)
def test_pictures_stand_before_the_text(kind: str, sent: str) -> None:
    _, [(_, body)] = asked(reply("safe"), (picture(kind),))
    image, text = body["messages"][0]["content"]
    start, _, data = image["image_url"]["url"].partition(",")
    assert (start, text["text"]) == (f"data:{sent};base64", "Is it safe?")
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert shown.size == (2, 2)


def test_what_is_no_picture_is_an_error() -> None:
    with pytest.raises(GuardError, match="cannot be shown to the judge: UnidentifiedImageError"):
        asked(reply("safe"), (b"no picture",))


def test_no_key_is_sent_where_none_is_needed() -> None:
    _, [(head, _)] = asked(reply("safe"), key_variable=None)
    assert "authorization" not in head.lower()


def test_a_reply_without_content_is_empty() -> None:
    assert asked(reply(None))[0] == ""


@pytest.mark.parametrize("line", ["429 Too Many", "500 Error", "503 Busy"])
def test_a_full_service_is_asked_again(line: str) -> None:
    with Server({"/v1/chat/completions": status(line)}) as server:
        endpoint = ChatEndpoint(f"http://127.0.0.1:{server.port}/v1", "m", tries=3, wait_s=0.0)
        with endpoint, pytest.raises(GuardError, match=f"status {line[:3]}") as caught:
            endpoint.complete("?")
    assert len(server.heads) == 3
    assert caught.value.stage == "judge"


@pytest.mark.parametrize(
    ("line", "remedy"),
    [("401 No", "the key"), ("404 No", "the model or the address"), ("400 Bad", "the URL")],
)
def test_a_refusal_is_not_repeated(line: str, remedy: str) -> None:
    with Server({"/v1/chat/completions": status(line)}) as server:
        endpoint = ChatEndpoint(f"http://127.0.0.1:{server.port}/v1", "m", wait_s=0.0)
        with endpoint, pytest.raises(GuardError, match=f"Check {remedy}") as caught:
            endpoint.complete("?")
    assert len(server.heads) == 1
    assert KEY not in str(caught.value)


def test_a_redirect_is_not_followed() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /v1/chat/completions\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(GuardError, match="status 302"):
        asked(answer)


def test_a_service_that_is_away_is_an_error() -> None:
    with Server({}) as server:
        port = server.port
    endpoint = ChatEndpoint(f"http://127.0.0.1:{port}/v1", "m", tries=2, wait_s=0.0)
    with endpoint, pytest.raises(GuardError, match="did not answer: ConnectError"):
        endpoint.complete("?")


@pytest.mark.parametrize("body", [b"{}", b"no json", b'{"choices": []}', b'{"choices": [1]}'])
def test_what_is_no_chat_completion_is_an_error(body: bytes) -> None:
    with pytest.raises(GuardError, match="no chat completion"):
        asked(ok(body, "Connection: close"))


def test_parts_instead_of_a_text_are_an_error() -> None:
    body = json.dumps({"choices": [{"message": {"content": [{"type": "text"}]}}]}).encode()
    with pytest.raises(GuardError, match="no text"):
        asked(ok(body, "Connection: close"))


def test_an_endless_answer_is_an_error() -> None:
    with pytest.raises(GuardError, match="more than 4 MiB"):
        asked(ok(b" " * (4 * 2**20 + 1), "Connection: close"))


@pytest.mark.parametrize(
    ("url", "options", "named"),
    [
        ("ftp://x/v1", {}, "not the URL"),
        ("https://", {}, "not the URL"),
        ("https://user:word@host/v1", {}, "'host/v1' is not the URL"),
        ("http://host/v1", {}, "without encryption"),
        ("HTTP://host/v1", {}, "without encryption"),
        ("https://host/v1", {"key_variable": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ("https://host/v1", {"timeout_s": 0.0}, "timeout_s"),
        ("https://host/v1", {"tries": 0}, "tries"),
        ("https://host/v1", {"max_tokens": 0}, "max_tokens"),
        ("https://host/v1", {"wait_s": -1.0}, "wait_s"),
    ],
)
def test_wrong_settings_are_refused(url: str, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        ChatEndpoint(url, "m", **options)
    assert "word" not in str(caught.value)


def test_the_name_says_model_and_host() -> None:
    with ChatEndpoint("https://api.example.org/v1", "judge-7b") as endpoint:
        assert endpoint.name == "judge-7b at api.example.org"
