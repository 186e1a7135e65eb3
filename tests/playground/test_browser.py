"""The page in a real browser: what a visitor does, and that nothing leaves the machine."""

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.playground.mount import mount_playground
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import picture, png, red_chain
from guardalign_middleware.testing.guards import red_config
from tests.support.serving import running

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("nicegui", reason="the extra `playground` is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    # Threads of the server and of playwright may end after the test that they served.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

EMPTY = "data:image/gif"
NAMELESS = """
[...document.querySelectorAll('button, input, textarea, img, [role=group], [role=radiogroup]')]
  .filter((each) => !(each.labels?.length || each.textContent.trim() || each.hasAttribute('alt')
    || each.ariaLabel))
  .map((each) => each.outerHTML)
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    detection = red_config().detection
    # Few crops, since the demo scenes are sixteen times as large as the tests' own pictures.
    coarse = detection.model_copy(update={"patches": PatchConfig(sizes=(0.25,))})
    app = create_app(red_chain(red_config(detection=coarse)), ServeOptions())
    mount_playground(app)
    with running(app, pages=True) as server:
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """Every address that a page has asked for, and every error in it."""
    return []


@pytest.fixture(scope="module")
def page(browser: Any, address: str, asked: list[str]) -> Any:
    return opened(browser, address, asked)


def opened(browser: Any, address: str, asked: list[str]) -> Any:
    page = browser.new_context().new_page()
    page.set_default_timeout(30_000)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(f"error: {error}"))
    page.goto(f"{address}/playground/")
    page.wait_for_selector(".ga-word:not(:empty)")
    quiet(page)
    return page


def quiet(page: Any) -> None:
    """Until what was begun is done."""
    page.wait_for_function(
        "[...document.querySelectorAll('.ga-status')].every((each) => each.textContent === '')"
    )


def upload(page: Any, *, red: bool) -> None:
    data = {"name": "a.png", "mimeType": "image/png", "buffer": png(picture(red=red))}
    with page.expect_response(re.compile("/picture/")):
        page.set_input_files("#ga-file", data)
    quiet(page)


def word(page: Any) -> str:
    return str(page.inner_text(".ga-word"))


def test_what_a_visitor_does(browser: Any, address: str, page: Any, asked: list[str]) -> None:
    assert page.evaluate(NAMELESS) == []

    upload(page, red=True)
    assert word(page) == "Masked"
    shown = page.get_attribute(".ga-shown", "src")
    assert not shown.startswith(EMPTY)
    assert shown != page.get_attribute(".ga-photo", "src")
    own = page.get_attribute(".ga-photo", "src")
    assert page.locator(".ga-region").count() > 0
    shown = json.loads(page.text_content("#ga-json"))
    assert (shown["decision"], shown["settings"]["threshold_factor"]) == ("mask", 1.0)

    # A slider by keyboard: at its right end everything is near enough.
    page.focus("#ga-threshold")
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('.ga-word').textContent === 'Blocked'")
    quiet(page)
    shown = json.loads(page.text_content("#ga-json"))
    assert (shown["decision"], shown["settings"]["threshold_factor"]) == ("block", 10**1.5)
    page.get_by_role("button", name="Reset", exact=True).click()
    page.wait_for_function("document.querySelector('.ga-word').textContent === 'Masked'")
    quiet(page)

    page.focus("#ga-frame")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.querySelector('#ga-point').textContent.startsWith('Here:')")

    page.fill("#ga-text", "what is <b>it</b>")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('.ga-said')].every(each => each.textContent"
        ".includes('echo: what is <b>it</b>') && each.ariaBusy === 'false')"
    )
    assert page.get_attribute(".ga-way-guarded .ga-said", "aria-live") == "polite"
    quiet(page)

    # Another visitor sees nothing of it, and a visitor who leaves takes the picture along.
    other = opened(browser, address, asked)
    assert own not in other.content()
    other.close()

    page.click("text=Take the tour")
    page.wait_for_function("document.querySelector('#ga-tour-title').textContent.startsWith('1.')")
    page.click("text=Next")
    page.wait_for_function("document.querySelector('#ga-tour-title').textContent.startsWith('2.')")
    page.click("text=End the tour")
    quiet(page)

    foreign = [url for url in asked if not url.startswith((address, "data:"))]
    assert foreign == []
    assert any(url.startswith(f"{address}/playground/picture/") for url in asked)


def test_a_picture_is_pasted(page: Any) -> None:
    data = list(png(picture(red=True)))
    with page.expect_response(re.compile("/picture/")):
        page.evaluate(
            """(data) => {
              const held = new DataTransfer();
              held.items.add(new File([new Uint8Array(data)], "a.png", { type: "image/png" }));
              document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: held }));
            }""",
            data,
        )
    quiet(page)
    assert word(page) == "Masked"
    shown = page.evaluate(
        "(() => { const i = document.querySelector('.ga-photo'); return i.naturalWidth; })()"
    )
    assert shown == 64


def test_what_is_refused_is_said(page: Any) -> None:
    data = {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}
    with page.expect_response(re.compile("/picture/")) as answer:
        page.set_input_files("#ga-file", data)
    assert answer.value.status == 400
    page.wait_for_selector(".ga-status.ga-bad")
    assert page.get_attribute(".ga-shown", "src").startswith(EMPTY)
    assert page.locator(".ga-is-empty").count() == 1


def test_a_picture_needs_the_token_of_a_page(address: str) -> None:
    sent = httpx.post(f"{address}/playground/picture/guessed", content=png(picture()))
    assert sent.status_code == 404
    shown = httpx.get(f"{address}/playground/", headers={"Host": "evil.example"})
    assert shown.status_code == 403


def test_there_is_one_playground_in_a_process(address: str) -> None:
    with pytest.raises(ConfigError, match="already"):
        mount_playground(create_app(red_chain(), ServeOptions()))
