"""Promise 14: questions and images appear in no log, on no stream and in no error."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from PIL import PngImagePlugin

from guardalign_middleware import GuardAlignError
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.testing import EchoRunner, all_red, picture, red_chain
from guardalign_middleware.types import CanonicalImage
from tests.support.broken import FAULTS, guard_with
from tests.support.pictures import encode

CANARY = "canary-c0ffee"
ENCODED = base64.b64encode(CANARY.encode()).decode()


def with_comment(image: CanonicalImage) -> bytes:
    """A PNG that carries the canary beside its pixels."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", CANARY)
    return encode(image.to_pil(), pnginfo=text)


def ask(**part: Any) -> list[dict[str, Any]]:
    text = {"type": "text", "text": f"Tell me about {CANARY}."}
    return [{"role": "user", "content": [{"type": "image", **part}, text]}]


OUTCOMES: dict[str, tuple[Callable[[], GuardAlign], list[dict[str, Any]], bool]] = {
    "allowed": (red_chain, ask(image=with_comment(picture())), True),
    "masked": (red_chain, ask(image=with_comment(picture(red=True))), True),
    "blocked": (red_chain, ask(image=with_comment(all_red())), True),
    "corrupt": (red_chain, ask(image=with_comment(picture())[:-60]), False),
    "no image": (red_chain, ask(image=CANARY.encode()), False),
    "bad base64": (red_chain, ask(base64=f"{ENCODED}!", mime_type="image/png"), False),
    "bad data URL": (red_chain, ask(url=f"data:image/png;base64,{CANARY},"), False),
    "a path": (red_chain, ask(path=f"/home/{CANARY}.png"), False),
    "a URL": (red_chain, ask(url=f"https://host.example/a.png?token={CANARY}"), False),
    "a file URL": (red_chain, ask(url=f"file:///home/{CANARY}.png"), False),
    "a fault": (
        lambda: GuardAlign(guard_with(FAULTS["an error of a library"]), EchoRunner()),
        ask(image=with_comment(picture())),
        False,
    ),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_no_content_leaves_by_the_side_doors(
    outcome: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    make, messages, answered = OUTCOMES[outcome]
    chain = make()
    caplog.set_level(logging.DEBUG)
    if answered:
        reply = chain.invoke(messages)
        said = [repr(verdict) for verdict in reply.verdicts]
        said += [str(verdict.to_json()) for verdict in reply.verdicts]
    else:
        with pytest.raises(GuardAlignError) as caught:
            chain.invoke(messages)
        said = [str(caught.value), repr(caught.value), *map(str, vars(caught.value).values())]
        said += traceback.format_exception(caught.value, chain=False)
    streams = capfd.readouterr()
    for text in [*said, caplog.text, streams.out, streams.err]:
        assert CANARY not in text
        assert ENCODED not in text


def test_the_canary_would_be_heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("guardalign_middleware").debug("asked: %s", CANARY)
    assert CANARY in caplog.text
