"""The public double behaves like a runner."""

from __future__ import annotations

import pytest

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.generation import Runner
from guardalign_middleware.testing import EchoRunner
from tests.support.messages import picture, user


def test_it_remembers_what_it_was_given() -> None:
    echo = EchoRunner()
    contract: Runner = echo
    image = picture()
    reply = contract.generate([user(image, "hello you")], prefix=False)
    assert reply.text == "echo: hello you [1 image]"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 5)
    assert reply.calibration.state == "off"
    assert echo.calls[0].images == (image,)
    assert (echo.calls[0].prefix, echo.calls[0].calibrate) == (False, True)


def test_stream_and_batch_agree_with_generate() -> None:
    echo = EchoRunner()
    rows = [[user("a b c")], [user(picture(), picture(1), "d")]]
    answers = echo.generate_batch(rows, prefix=[True, False])
    assert [answer.text for answer in answers] == ["echo: a b c", "echo: d [2 images]"]
    stream = echo.stream(rows[0])
    assert "".join(stream) == stream.result.text == answers[0].text
    assert len(echo.calls) == 3


def test_limits() -> None:
    echo = EchoRunner()
    reply = echo.generate([user("a b c d")], max_new_tokens=3)
    assert (reply.text, reply.finish_reason) == ("echo: a b", "length")
    assert echo.generate([user("a STOP b")], stop=["STOP"]).text == "echo: a"
    with pytest.raises(MessageError):
        echo.generate([])
    with pytest.raises(ConfigError):
        echo.generate_batch([[user("a")]], prefix=[])
