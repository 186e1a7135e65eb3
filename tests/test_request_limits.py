"""The whole chain: what cannot be answered is refused before it costs anything."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ContextOverflow, GuardAlignError, GuardError
from guardalign_middleware.generation.output import OutputRunner
from guardalign_middleware.intake import decode
from guardalign_middleware.pixel_memory import MEMORY
from guardalign_middleware.testing import EchoRunner, all_red, picture, png, red_chain, red_config
from guardalign_middleware.testing.guards import red_detector
from guardalign_middleware.types import CanonicalImage


class ShortRunner(EchoRunner):
    """A model that reads a hundred words; a picture takes ten."""

    def check_length(self, texts: Sequence[str], pictures: int, others: int) -> None:
        words = sum(len(text.split()) for text in texts) + 10 * pictures + others
        if words > 100:
            raise ContextOverflow("Too long.", tokens=words, limit=100)


def ask(*images: bytes, text: str = "What is it?") -> list[dict[str, Any]]:
    blocks = [{"type": "image", "image": each} for each in images]
    return [{"role": "user", "content": [*blocks, {"type": "text", "text": text}]}]


class Nothing:
    """A guard that must not be asked."""

    config = red_config()

    def sanitize_many(self, images: Any) -> Any:
        raise AssertionError("an image was scanned")


@pytest.mark.parametrize(
    "messages", [ask(png(picture()), text="word " * 101), ask(*[png(picture())] * 11)]
)
@pytest.mark.parametrize("hooked", [False, True])
def test_a_prompt_that_cannot_fit_is_refused_before_the_scan(
    monkeypatch: pytest.MonkeyPatch, messages: Any, hooked: bool
) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(decode, "to_srgb_pixels", fail)
    runner = OutputRunner(ShortRunner(), lambda _, answer: answer) if hooked else ShortRunner()
    chain = GuardAlign(Nothing(), runner)  # type: ignore[arg-type]
    with pytest.raises(ContextOverflow):
        chain.invoke(messages)


def test_pictures_that_a_notice_may_replace_count_as_little() -> None:
    older = [*ask(*[png(picture())] * 11), {"role": "assistant", "content": "A square."}]
    chain = GuardAlign(red_chain().guard, ShortRunner())
    assert chain.invoke([*older, *ask()]).text
    shown = GuardAlign(red_chain().guard, ShortRunner(), on_blocked="notice")
    assert shown.invoke(ask(*[png(picture())] * 11)).text
    thought = {"role": "assistant", "content": f"<think>{'hm ' * 200}</think> A square."}
    assert chain.invoke([*ask(), thought, *ask()]).text


class TestThreads:
    """Sixteen threads, mixed faults: every answer is the one that the request gets alone."""

    def test_mixed_faults_give_nobody_a_wrong_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # So little that pictures are given up and decoded again all the time.
        monkeypatch.setattr(MEMORY, "_most", 20_000)
        monkeypatch.setattr(decode, "to_srgb_pixels", _failing(decode.to_srgb_pixels))
        detector = red_detector()
        monkeypatch.setattr(detector, "scan_many", _failing_scan(detector.scan_many))
        config = red_config(
            intake=IntakePolicy(max_request_images=4, max_pixels=200_000),
            detection=red_config().detection.model_copy(update={"remembered_verdicts": 0}),
        )
        chain = GuardAlign(ImageGuard(config, detector), ShortRunner())
        requests = [
            ask(_file(1)),
            ask(_file(2), _red(3)),
            ask(_file(4), _file(4), _red(5), _file(6)),
            ask(_everything_red()),
            ask(_NO_MEMORY),
            ask(_file(7), _NO_MEMORY),
            ask(_NAN),
            ask(_file(8)[:60]),
            ask(*[_file(9)] * 5),
            ask(_file(1), text="word " * 200),
            ask(_file(1), _red(2), text="And this?"),
            [{"role": "user", "content": [{"type": "image", "base64": 1}]}],
        ]
        expected = [_outcome(chain, request) for request in requests]
        assert {kind for kind, *_ in expected} == {
            *("stop", "blocked", "OutOfMemory", "GuardError"),
            *("ImageRejected", "ContextOverflow", "MessageError"),
        }
        work = [(start + step) % len(requests) for start in range(16) for step in range(24)]
        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(lambda index: _outcome(chain, requests[index]), work))
        for index, outcome in zip(work, outcomes, strict=True):
            assert outcome == expected[index]


def _file(seed: int) -> bytes:
    return png(_tinted(picture(), seed))


def _red(seed: int) -> bytes:
    return png(_tinted(picture(red=True), seed))


def _everything_red() -> bytes:
    return png(all_red())


def _tinted(image: CanonicalImage, seed: int) -> CanonicalImage:
    pixels = np.array(image.pixels)
    pixels[0, 0] = (seed, seed, seed)
    return CanonicalImage(pixels)


_NO_MEMORY, _NAN = _file(201), _file(202)


def _failing(original: Any) -> Any:
    def convert(image: Any, policy: Any, source: str) -> Any:
        if image.getpixel((0, 0)) == (201, 201, 201):
            raise MemoryError
        return original(image, policy, source)

    return convert


def _failing_scan(original: Any) -> Any:
    def scan(images: Any) -> Any:
        if any((image.pixels[0, 0] == 202).all() for image in images):
            raise FloatingPointError("NaN")
        return original(images)

    return scan


def _outcome(chain: GuardAlign, messages: Any) -> tuple[Any, ...]:
    try:
        reply = chain.invoke(messages)
    except GuardAlignError as error:
        stage = error.stage if isinstance(error, GuardError) else ""
        return (type(error).__name__, error.message, stage)
    verdicts = [replace(verdict, source="").to_json() for verdict in reply.verdicts]
    return (reply.finish_reason, reply.text, verdicts)
