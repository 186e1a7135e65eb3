"""What becomes of a message where the guard fails, and of each direction."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from torch import Tensor

from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.mcp import Handling, MessageGuard
from guardalign_middleware.mcp.messages import FAULT, WITHHELD
from guardalign_middleware.testing import CountingEncoder, counting_guard, picture, png, red_guard
from guardalign_middleware.testing.guards import red_config
from tests.mcp.positions import FROM_CLIENTS, IN_REQUESTS, asked, b64, image, notified, tool
from tests.support.mcp_frames import line, passed

UNSAFE, BROKEN = png(picture(red=True)), png(picture(red=True))[:-40]


class Failing(CountingEncoder):
    def encode_images(self, pixels: Tensor) -> Tensor:
        raise DetectionError("no numbers", stage="encode")


def failing(**config: Any) -> MessageGuard:
    guard = red_guard(red_config(**config))
    guard.detector.meters[0].encoder = Failing()
    return MessageGuard.of(guard)


def test_a_fault_puts_an_error_in_the_place_of_a_response() -> None:
    out = passed(failing(), line(tool(image(UNSAFE))))
    assert out.replies == ()
    said = json.loads(out.forward or b"")
    assert said["id"] == 7
    assert said["error"]["code"] == FAULT
    assert said["error"]["data"] == {"guardalign": {"error": "DetectionError", "stage": "encode"}}
    assert b64(UNSAFE) not in json.dumps(said)


def test_a_fault_answers_a_request_of_the_server() -> None:
    out = passed(failing(), line(asked(image(UNSAFE))))
    assert out.forward is None
    (reply,) = map(json.loads, out.replies)
    assert (reply["id"], reply["error"]["code"]) == (8, FAULT)


def test_a_fault_leaves_a_notification_out() -> None:
    out = passed(failing(), line(notified("message", level="info", data=b64(UNSAFE))))
    assert (out.forward, out.replies) == (None, ())


def test_a_fault_is_told_to_the_server_that_asked_for_sampling() -> None:
    raw = line(FROM_CLIENTS["CreateMessageResult: ImageContent"](UNSAFE))
    said = json.loads(passed(failing(), raw, "client").forward or b"")
    assert (said["id"], said["error"]["code"]) == (7, FAULT)


def test_failing_open_is_a_setting_of_the_guard() -> None:
    out = json.loads(passed(failing(on_fault="allow"), line(tool(image(UNSAFE)))).forward or b"")
    (block,) = out["result"]["content"]
    assert block["type"] == "image"


def test_a_guard_that_cannot_be_made_passes_nothing_on() -> None:
    def make() -> Any:
        raise ConfigError("no such preset")

    guard = MessageGuard(make)
    out = json.loads(passed(guard, line(tool(image(UNSAFE)))).forward or b"")
    assert out["error"]["code"] == WITHHELD
    with pytest.raises(ConfigError):
        guard.load()


def test_of_a_batch_only_what_failed_is_an_error() -> None:
    batch = [tool(image(UNSAFE)), asked(image(UNSAFE)), {"jsonrpc": "2.0", "method": "ping"}]
    out = passed(failing(), line(batch))
    kept = json.loads(out.forward or b"")
    assert ["error" in each for each in kept] == [True, False]
    assert [json.loads(reply)["id"] for reply in out.replies] == [8]


@pytest.mark.parametrize("name", IN_REQUESTS)
def test_what_a_client_asks_is_not_read(name: str) -> None:
    """Its own model has written it, and a program receives it."""
    guard, encoder = counting_guard()
    raw = line(IN_REQUESTS[name](UNSAFE))
    assert passed(MessageGuard.of(guard), raw, "client").forward == raw
    assert encoder.batches == 0


def test_what_people_fill_in_is_not_read() -> None:
    raw = line({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {"image": 1}}})
    assert passed(MessageGuard.of(red_guard()), raw, "client").forward == raw


def test_equal_pictures_are_scanned_once() -> None:
    guard, encoder = counting_guard()
    message_guard = MessageGuard.of(guard)
    passed(message_guard, line(tool(image(UNSAFE), structuredContent={"result": image(UNSAFE)})))
    batches = encoder.batches
    passed(message_guard, line(tool(image(UNSAFE))))
    assert encoder.batches == batches > 0


def test_logs_say_what_was_done_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    message = tool(image(UNSAFE), image(BROKEN), structuredContent={"a-canary": image(UNSAFE)})
    passed(MessageGuard.of(red_guard()), line(message))
    assert "mask (mask, weapon)" in caplog.text
    assert "block (refused, corrupt)" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("wrong", [{"on_unsafe": "flag"}, {"on_refused": "drop"}])
def test_other_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="should be one of"):
        Handling(**wrong)
