"""A visit carries out what is asked for, within the server's limits, and reports what fails."""

import asyncio
from typing import Any

import pytest

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import Overloaded
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.playground.answers import WAYS, Answers, Way
from guardalign_middleware.playground.inspection import Inspector
from guardalign_middleware.playground.session import Session
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.playground.visit import Visit
from guardalign_middleware.serving import ServeOptions, Service
from guardalign_middleware.testing import EchoRunner, picture, png, red_chain
from guardalign_middleware.testing.guards import THRESHOLD
from tests.support.serving import GatedRunner

OWN = Settings(0.0, 0.0, None)


class Seen:
    """A view that writes down what it is shown."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.said: dict[Way, str] = {}
        self.failures: list[str] = []

    def working(self, words: str) -> None:
        pass

    def failed(self, words: str) -> None:
        self.failures.append(words)

    def emptied(self) -> None:
        self.calls.append("emptied")

    def picture(self) -> None:
        self.calls.append("picture")

    def decided(self) -> None:
        self.calls.append("decided")

    def answering(self, way: Way, text: str, *, ended: bool) -> None:
        self.said[way] = text

    def attention(self, attention: Any) -> None:
        self.calls.append("attention")


def visiting(chain: GuardAlign | None = None, **limits: Any) -> tuple[Visit, Seen]:
    chain = chain or red_chain()
    service = Service.of(chain, ServeOptions(ServeConfig(**limits)))
    inspector = Inspector(chain.guard, service.config.max_pixels)  # type: ignore[arg-type]
    seen = Seen()
    return Visit(Session(inspector, OWN), Answers(chain), service, seen), seen


async def test_three_answers_of_which_only_the_guarded_one_misses_the_picture() -> None:
    runner = EchoRunner()
    visit, seen = visiting(red_chain(runner=runner))
    image = picture(red=True)
    assert await visit.take(png(image))
    await visit.ask("what is it")
    assert {way.way for way in WAYS} == set(seen.said)
    assert all("what is it" in said for said in seen.said.values())
    calls = {(call.prefix, call.calibrate): call.images[0] for call in runner.calls}
    assert calls[False, False].sha256 == calls[True, False].sha256 == image.sha256
    assert calls[True, True].sha256 != image.sha256
    assert seen.calls == ["emptied", "picture", "decided", "attention"]
    assert not seen.failures


async def test_a_blocked_picture_reaches_the_guarded_model_never() -> None:
    runner = EchoRunner()
    chain = red_chain(runner=runner)
    chain.guard.config = chain.config = chain.config.model_copy(
        update={"sanitize": chain.config.sanitize.model_copy(update={"method": "block"})}
    )
    visit, seen = visiting(chain)
    await visit.take(picture(red=True))
    await visit.ask("what is it")
    assert seen.said["guarded"] == chain.config.blocked_reply
    assert len(runner.calls) == 2


async def test_the_newest_position_of_a_slider_is_the_one_that_counts() -> None:
    visit, seen = visiting()
    await visit.take(picture(red=True))
    positions = [Settings(0.1 * step, 0.0, None) for step in range(8)]
    await asyncio.gather(*map(visit.move, positions))
    assert visit.session.settings == positions[-1]
    await asyncio.gather(visit.move(OWN), visit.settle())
    cleaned = visit.session.cleaned
    assert cleaned is not None
    assert cleaned.verdict.threshold == visit.session.verdict.threshold == THRESHOLD
    assert seen.calls.count("decided") < 1 + len(positions)


async def test_what_is_refused_is_said_and_nothing_stays() -> None:
    visit, seen = visiting(max_text_characters=20)
    assert not await visit.take(b"no picture")
    assert seen.calls == ["emptied"]
    await visit.ask("what is it")
    await visit.take(picture())
    await visit.ask(" ")
    await visit.ask("x" * 21)
    assert [words.split(".")[0] for words in seen.failures[1:]] == [
        "There is nothing to ask about",
        "The question is empty",
        "The question has more than 20 characters",
    ]


async def test_a_visit_takes_a_place_of_the_server() -> None:
    visit, seen = visiting(max_requests=1)
    with visit._service.admission.slot():
        assert not await visit.take(picture())
    assert "limit" in seen.failures[0]
    visit._service.admission.drain()
    await visit.take(picture())
    assert "closing" in seen.failures[1]


async def test_a_visitor_who_was_refused_gets_nothing_done() -> None:
    visit, seen = visiting()
    visit.refused = Overloaded("Too many people.", stage="process")
    assert not await visit.take(picture())
    await visit.settle()
    await visit.ask("what is it")
    await visit.move(Settings(1.0, 0.0, None))
    assert seen.failures == ["Too many people."] * 4
    assert (seen.calls, seen.said) == ([], {})
    assert visit.session.settings == OWN


@pytest.mark.parametrize("end", ["stop", "leave"])
async def test_leaving_ends_the_answers(end: str) -> None:
    runner = GatedRunner()
    visit, _ = visiting(red_chain(runner=runner))
    await visit.take(picture())
    asking = asyncio.ensure_future(visit.ask("what is it"))
    for _ in WAYS:
        await asyncio.to_thread(runner.asked.acquire, timeout=60)
    getattr(visit, end)()
    await asking
    for _ in WAYS:
        assert runner.cancelled.acquire(timeout=60)
    assert visit._service.admission.at_work == 0
