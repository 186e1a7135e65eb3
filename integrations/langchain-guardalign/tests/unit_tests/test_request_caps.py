"""The caps of one request, which the core sets, in front of any model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError, OutOfMemory
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.intake import decode
from guardalign_middleware.testing import data_url, picture, red_config
from guardalign_middleware.testing.guards import red_detector
from langchain_guardalign import ImageGuardRunnable


def guarded(on_refused: Any = "raise", **caps: Any) -> ImageGuardRunnable:
    config = red_config(intake=IntakePolicy(**caps))
    guard = ImageGuard(config, red_detector(config))
    return ImageGuardRunnable(guard=guard, on_refused=on_refused)


def asks(count: int, text: str = "What is it?") -> HumanMessage:
    block = {"type": "image_url", "image_url": {"url": data_url(picture())}}
    return HumanMessage([*[block] * count, {"type": "text", "text": text}])


def shown(message: Any) -> list[str]:
    return [block["type"] for block in message.content]


@pytest.mark.parametrize(
    "caps", [{"max_request_images": 2}, {"max_request_pixels": 2 * 64 * 64, "max_pixels": 4096}]
)
def test_too_many_pictures_are_refused_before_any_is_decoded(
    monkeypatch: pytest.MonkeyPatch, caps: Any
) -> None:
    assert shown(guarded(**caps).invoke([asks(2)])[0]) == ["image_url", "image_url", "text"]
    loaded = []
    original = decode.to_srgb_pixels

    def counting(*args: Any) -> Any:
        loaded.append(args)
        return original(*args)

    monkeypatch.setattr(decode, "to_srgb_pixels", counting)
    with pytest.raises(ImageRejected, match="max_request"):
        guarded(**caps).invoke([asks(3)])
    # Those that there is room for are equal, and decoded once.
    assert len(loaded) <= 1


def test_older_turns_give_way() -> None:
    messages = [asks(1), AIMessage("Red."), asks(1), AIMessage("Red."), asks(1)]
    cleaned = guarded(max_request_images=2).invoke(messages)
    assert [shown(each)[0] for each in cleaned[::2]] == ["text", "image_url", "image_url"]
    assert "too many images" in cleaned[0].content[0]["text"]
    again = guarded(max_request_images=2).invoke(cleaned)
    assert [shown(each)[0] for each in again[::2]] == ["text", "image_url", "image_url"]


def test_a_scan_that_is_remembered_is_no_way_around_the_caps() -> None:
    guard = guarded(max_request_images=2)
    guard.invoke([asks(2)])
    with pytest.raises(ImageRejected, match="max_request_images"):
        guard.invoke([asks(3)])


def test_too_much_text_and_too_many_messages_are_refused_one_by_one() -> None:
    guard = guarded(max_request_text=100)
    long, short = [HumanMessage("x" * 200)], [HumanMessage("x")]
    results = guard.batch([long, short], return_exceptions=True)
    assert isinstance(results[0], MessageError)
    assert results[1] == short
    with pytest.raises(MessageError, match="max_request_messages"):
        guarded(max_request_messages=2).invoke([HumanMessage("x")] * 3)


def test_a_lack_of_memory_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    guard = guarded(on_refused="notice")
    with monkeypatch.context() as patch:
        patch.setattr(decode, "to_srgb_pixels", fail)
        with pytest.raises(OutOfMemory):
            guard.invoke([asks(1)])
    assert shown(guard.invoke([asks(1)])[0]) == ["image_url", "text"]
