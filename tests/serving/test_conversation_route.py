"""`/v1/guard/conversation`: what a gateway gets back for a request that it will forward itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import all_red, has_red, picture, png, red_guard
from tests.conversation.positions import (
    LOOK,
    ask,
    b64,
    block,
    chat,
    link,
    respond,
    result,
    said,
    shot,
    shown,
)

PATH = "/v1/guard/conversation"
UNSAFE, HOPELESS = png(picture(red=True)), png(all_red())
BODIES: dict[str, Any] = {
    "chat": lambda raw: chat(said("user", LOOK, link(raw))),
    "responses": lambda raw: respond(said("user", shot(raw))),
    "messages": lambda raw: ask(said("user", block(raw)), system="Be brief."),
}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(red_guard()), base_url="http://127.0.0.1:8000") as made:
        yield made


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("named", [False, True])
def test_a_request_comes_back_clean(client: TestClient, name: str, named: bool) -> None:
    answer = client.post(
        PATH, json=BODIES[name](UNSAFE), params={"dialect": name} if named else None
    )
    assert answer.status_code == 200
    got = answer.json()
    assert (got["dialect"], got["blocked"], got["reply"]) == (name, False, None)
    (seen,) = shown(got["request"])
    assert not has_red(seen)
    assert got["guardalign"]["verdicts"][0]["decision"] == "mask"
    assert b64(UNSAFE) not in answer.text


def test_a_blocked_picture_comes_back_as_a_notice_and_a_reply(client: TestClient) -> None:
    got = client.post(PATH, json=BODIES["chat"](HOPELESS)).json()
    assert got["blocked"]
    assert got["reply"] == "I cannot help with this image."
    (_, noted) = got["request"]["messages"][0]["content"]
    assert noted == {"type": "text", "text": "[image removed: it was found unsafe]"}


def test_a_tools_blocked_picture_is_only_a_notice(client: TestClient) -> None:
    got = client.post(PATH, json=ask(said("user", result([block(HOPELESS)])))).json()
    assert (got["dialect"], got["blocked"]) == ("messages", False)
    assert not list(shown(got["request"]))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "invalid_json"),
        (chat(said("user", {"type": "image_url", "image_url": {"url": "https://x/a.png"}})), None),
    ],
)
def test_what_is_refused(client: TestClient, body: Any, code: str | None) -> None:
    answer = client.post(PATH, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == (code or "url_not_allowed")


def test_limits_and_handling_of_the_configuration() -> None:
    config = ServeConfig(max_images=2, on_unsafe="notice", on_refused="notice")
    app = create_app(red_guard(), ServeOptions(config))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        pictures = [link(png(picture(colour=(0, 0, blue)))) for blue in (1, 2, 3)]
        assert client.post(PATH, json=chat(said("user", *pictures))).status_code == 413
        got = client.post(PATH, json=BODIES["chat"](UNSAFE)).json()
        assert not list(shown(got["request"]))
        refused = chat(said("user", {"type": "image_url", "image_url": {"url": "https://x/a.png"}}))
        assert "not shown" in str(client.post(PATH, json=refused).json()["request"])


@pytest.mark.parametrize("path", [PATH, "/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_too_much_text_goes_nowhere(path: str) -> None:
    # Were it forwarded, the answer would be a 502: nothing listens there.
    config = ServeConfig(max_text_characters=100, upstream="http://127.0.0.1:9/v1")
    app = create_app(red_guard(), ServeOptions(config))
    body = respond(said("user", "a" * 101)) if "responses" in path else ask(said("user", "a" * 101))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 413
    assert "at most 100 are accepted" in answer.text
