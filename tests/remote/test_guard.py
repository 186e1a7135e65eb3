"""A guard behind a server gives what it gives by itself."""

import copy
import inspect
import io
import json
import os
import pickle
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware import (
    ConfigError,
    DetectionError,
    GuardAlign,
    GuardError,
    ImageGuard,
    ImageRejected,
    RemoteImageGuard,
    SanitizedImage,
    Unreachable,
)
from guardalign_middleware.config import (
    AuditConfig,
    DefenceConfig,
    IntakePolicy,
    OutputConfig,
    SanitizeConfig,
)
from guardalign_middleware.handles import LazyChain, LazyGuard
from guardalign_middleware.remote.parcels import as_sent
from guardalign_middleware.serving import guard_routes, sent_images
from guardalign_middleware.testing import (
    EchoRunner,
    all_red,
    has_red,
    picture,
    png,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.turns import Turn
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.wire import ScanResponse, WireVerdict
from tests.support.animations import animation
from tests.support.broken import BrokenEncoder
from tests.support.remote import behind_server, loopback
from tests.support.word_doubles import PALE, BadJudge, striped, word_guard

pytestmark = loopback


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[ImageGuard, RemoteImageGuard]]:
    guard = red_guard()
    with behind_server(guard) as remote:
        yield guard, remote


def jpeg(red: bool = True) -> bytes:
    buffer = io.BytesIO()
    picture(red=red, side=96).to_pil().save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def assert_same(one: SanitizedImage, other: SanitizedImage) -> None:
    assert one.verdict == other.verdict
    assert np.array_equal(
        one.verdict.evidence.patch_distances, other.verdict.evidence.patch_distances
    )
    assert (one.rounds, one.masked_fraction, one.residual_distance, one.boxes, one.passed) == (
        *(other.rounds, other.masked_fraction, other.residual_distance, other.boxes, other.passed),
    )
    assert (one.image is None) == (other.image is None)
    if one.image is not None and other.image is not None:
        assert one.image.sha256 == other.image.sha256
        assert one.encode().data == other.encode().data
    assert one.overlay().tobytes() == other.overlay().tobytes()


SOURCES = {
    "png": png(picture(red=True)),
    "jpeg": jpeg(),
    "allowed": png(picture()),
    "blocked": png(all_red()),
    "decoded": picture(red=True, side=80),
    "pillow": picture(red=True, side=72).to_pil(),
    "alpha": Image.new("RGBA", (64, 64), (255, 0, 0, 128)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_verdict_and_the_same_picture(name: str, pair: Any) -> None:
    guard, remote = pair
    source: Any = SOURCES[name]
    assert remote.scan(source) == guard.scan(source)
    assert_same(remote.sanitize(source), guard.sanitize(source))


def test_a_file_by_its_path(tmp_path: Path, pair: Any) -> None:
    guard, remote = pair
    path = tmp_path / "photo.png"
    path.write_bytes(png(picture(red=True)))
    assert remote.scan(path) == guard.scan(path)
    assert remote.scan(path).source == str(path)
    told = as_sent(remote.load(path))
    assert told.source == "photo.png"
    assert str(tmp_path) not in told.model_dump_json()


def test_many_at_once_in_their_order(pair: Any) -> None:
    guard, remote = pair
    sources = [SOURCES["allowed"], SOURCES["png"], SOURCES["png"], SOURCES["jpeg"]]
    assert remote.scan_many(sources) == guard.scan_many(sources)
    for one, other in zip(remote.sanitize_many(sources), guard.sanitize_many(sources), strict=True):
        assert_same(one, other)
    assert remote.scan_many([]) == []
    assert remote.sanitize_many([]) == []


async def test_in_an_event_loop(pair: Any) -> None:
    guard, remote = pair
    source = SOURCES["jpeg"]
    for each in pair:
        assert await each.ascan(source) == guard.scan(source)
        assert await each.ascan_many([source]) == [guard.scan(source)]
        assert_same(await each.asanitize(source), guard.sanitize(source))
        assert_same((await each.asanitize_many([source]))[0], guard.sanitize(source))


def test_threads_share_one(pair: Any) -> None:
    guard, remote = pair
    sources = [png(picture(red=bool(n % 2), side=64 + n)) for n in range(8)] * 2
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(remote.scan, sources)) == [guard.scan(each) for each in sources]


def test_every_method_of_a_guard_is_there_with_the_same_arguments() -> None:
    wanted = {
        name: value
        for name, value in inspect.getmembers(ImageGuard)
        if not name.startswith("_") and not name.startswith("from_")
    }
    for name, value in wanted.items():
        own = getattr(RemoteImageGuard, name)
        if callable(value):
            assert inspect.signature(own) == inspect.signature(value), name


def test_the_identity_is_the_guards_own(pair: Any) -> None:
    guard, remote = pair
    assert LazyGuard(guard=remote).identity == LazyGuard(guard=guard).identity
    chain = GuardAlign(remote, EchoRunner())
    assert LazyChain(chain=chain).identity != LazyChain(chain=red_chain()).identity


def test_a_chain_with_a_guard_elsewhere(pair: Any) -> None:
    chain = GuardAlign(pair[1], EchoRunner())
    content = [
        {"type": "image", "image": SOURCES["png"]},
        {"type": "text", "text": "What is it?"},
    ]
    reply = chain.invoke([{"role": "user", "content": content}])
    assert [verdict.decision for verdict in reply.verdicts] == ["mask"]


def test_the_worst_frame_counts() -> None:
    intake = IntakePolicy(frames="scan_all")
    guard = red_guard(red_config(intake=intake))
    film = animation(picture(), picture(red=True), picture(colour=(0, 255, 0)))
    with behind_server(guard) as remote:
        assert remote.scan(film) == guard.scan(film)
        assert remote.scan(film).source == "<bytes>#2"
        frames = guard.load_frames(film)
        for one, other in zip(
            remote.sanitize_many(frames), guard.sanitize_many(frames), strict=True
        ):
            assert_same(one, other)


@pytest.mark.parametrize("method", ["mask", "blur", "block"])
def test_every_way_to_hide(method: Any) -> None:
    guard = red_guard(red_config(sanitize=SanitizeConfig(method=method, margin=0.1)))
    with behind_server(guard) as remote:
        assert_same(remote.sanitize(SOURCES["png"]), guard.sanitize(SOURCES["png"]))


def test_a_picture_that_is_too_large_to_leave() -> None:
    guard = red_guard(red_config(output=OutputConfig(max_side=64)))
    with behind_server(guard) as remote:
        source = jpeg()
        assert remote.scan(source).scaled_from == (96, 96)
        assert remote.scan(source) == guard.scan(source)
        assert_same(remote.sanitize(source), guard.sanitize(source))


def test_random_views_are_repeated_by_their_seed() -> None:
    detection = red_config().detection.model_copy(
        update={"defence": DefenceConfig(views=("as_is", "shifted"))}
    )
    guard = red_guard(red_config(detection=detection))
    with behind_server(guard) as remote:
        first = remote.scan(SOURCES["png"])
        seed = first.evidence.view_seed
        assert seed is not None
        assert remote.scan(SOURCES["png"], view_seed=seed) == first
        assert_same(
            remote.sanitize(SOURCES["png"], view_seed=seed),
            guard.sanitize(SOURCES["png"], view_seed=seed),
        )
        with pytest.raises(ValueError, match="view_seed"):
            remote.scan(SOURCES["png"], view_seed="no seed")


def test_words_of_a_turn_are_judged_as_one() -> None:
    guard = word_guard("guard", BadJudge(), include_text=True)
    images = [striped(((8, 8, 40, 16), (0, 0, 255))), striped(((8, 8, 40, 16), PALE))]
    turns = [Turn("", 0), Turn("Do it.", 2)]
    with behind_server(guard) as remote:
        one = remote.sanitize_many(images, turns=turns)
        other = guard.sanitize_many(images, turns=turns)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
        assert one[0].verdict.words is not None
        assert one[0].verdict.words.text == ("bad",)
        assert any(region.kind == "words" for region in one[0].verdict.regions)
        with pytest.raises(ValueError, match="2 images together"):
            remote.sanitize_many(images, turns=[Turn("", 1)])


def test_more_than_one_request_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = red_guard()
    sources = [png(picture(red=n == 3, side=64 + n)) for n in range(5)]
    with behind_server(guard, max_images=2) as remote:
        assert remote.scan_many(sources) == guard.scan_many(sources)
    size = 2 * len(sources[0]) * 4 // 3 + 2000
    with behind_server(guard, max_body_bytes=size) as remote:
        assert remote.scan_many(sources) == guard.scan_many(sources)
        with pytest.raises(ImageRejected, match="needs a request of") as caught:
            remote.scan(noise(64))
        assert caught.value.reason == "too_many_bytes"
    with behind_server(guard, max_pixels=66 * 66) as remote:
        assert remote.scan_many(sources[:3]) == guard.scan_many(sources[:3])


def noise(side: int) -> CanonicalImage:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return CanonicalImage(pixels)


def test_an_audited_guard_records_every_call(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    log = tmp_path / "audit.jsonl"
    guard = red_guard(red_config(audit=AuditConfig(log=log, key_file=key, include_source=True)))
    with behind_server(guard) as remote:
        for _ in range(2):
            item = remote.sanitize(SOURCES["png"])
            remote.scan(item.encode().data)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["decision"] for line in lines] == ["mask", "allow"] * 2
    assert {line["source"] for line in lines} == {"<bytes>"}


def test_results_are_remembered_and_files_that_passed_are_not_sent_again() -> None:
    guard = red_guard()
    asked: list[int] = []

    class Counting(ImageGuard):
        def sanitize_many(self, sources: Any, *, turns: Any = ()) -> Any:
            asked.append(len(sources))
            return super().sanitize_many(sources, turns=turns)

    counting = Counting(guard.config, guard.detector)
    with behind_server(counting) as remote:
        item = remote.sanitize(SOURCES["png"])
        assert_same(remote.sanitize(SOURCES["png"]), item)
        passed = remote.sanitize(item.encode().data)
        assert passed.verdict == replace(item.passed, source="<bytes>")  # type: ignore[type-var]
        assert passed.encode().data == item.encode().data
    assert asked == [1]


def test_a_picture_is_not_waited_for_with_those_of_another_caller() -> None:
    guard = red_guard()
    entered, release = threading.Event(), threading.Event()
    sources = [png(picture(red=n == 0, side=64 + n)) for n in range(2)]

    class Slow(ImageGuard):
        def scan_many(self, sources: Any, *, turns: Any = ()) -> Any:
            if len(sources) == 2:
                entered.set()
                release.wait(300)
            return super().scan_many(sources, turns=turns)

    with (
        behind_server(Slow(guard.config, guard.detector)) as remote,
        ThreadPoolExecutor(2) as pool,
    ):
        both = pool.submit(remote.scan_many, sources[:2])
        assert entered.wait(300)
        try:
            one = pool.submit(remote.scan, sources[0]).result(60)
            assert one == guard.scan(sources[0])
        finally:
            release.set()
        assert both.result(300) == guard.scan_many(sources[:2])


def test_answers_that_arrived_before_a_fault_are_remembered() -> None:
    guard = red_guard()
    sources = [png(picture(red=n == 0, side=64 + n)) for n in range(3)]
    asked: list[int] = []

    class Failing(ImageGuard):
        def scan_many(self, sources: Any, *, turns: Any = ()) -> Any:
            asked.append(len(sources))
            if len(asked) == 2:
                raise DetectionError("No number.", stage="detection", remedy="None.")
            return super().scan_many(sources, turns=turns)

    with behind_server(Failing(guard.config, guard.detector), max_images=1) as remote:
        with pytest.raises(DetectionError):
            remote.scan_many(sources)
        assert remote.scan_many(sources) == guard.scan_many(sources)
    assert asked == [1] * 4


def test_a_fault_comes_back_as_it_was_raised() -> None:
    guard = red_guard()
    with behind_server(guard) as remote:
        remote.scan(SOURCES["allowed"])
        guard.detector.meters[0].encoder = None  # type: ignore[assignment]
        with pytest.raises(GuardError, match="AttributeError") as caught:
            remote.scan(SOURCES["png"])
        assert caught.value.stage == "detection"
        assert "Its cause is attached" in caught.value.remedy


def test_a_guard_that_fails_open_is_counted_here_too() -> None:
    guard = red_guard(red_config(on_fault="allow"))
    encoder = BrokenEncoder(lambda embeddings: embeddings * float("nan"))
    guard.detector.meters[0].encoder = encoder
    with behind_server(guard) as remote:
        verdict = remote.scan(SOURCES["png"])
        assert verdict.decision == "allow"
        assert verdict.fault is not None
        assert verdict.fault.startswith("transport")
        item = remote.sanitize(SOURCES["png"])
        assert item.passed is None
        assert item.image is not None
        assert has_red(item.image)
        assert remote.failed_open == 2


def test_a_guard_with_other_settings_in_its_place_is_refused() -> None:
    with behind_server(red_guard()) as remote:
        known = remote._guard().questions.guard
        remote._description = known.model_copy(update={"guard": "0" * 64})
        remote._known = None
        with pytest.raises(GuardError, match="not the one whose settings") as caught:
            remote.scan(SOURCES["png"])
        assert caught.value.stage == "remote"


def about(verdict: Verdict, **changes: Any) -> Verdict:
    return replace(verdict, **changes)


@pytest.mark.parametrize("lie", ["other pixels", "two", "fault"])
def test_an_answer_about_something_else_is_refused(
    lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = red_guard()
    honest = guard.scan(SOURCES["png"])
    answers = {
        "other pixels": [about(honest, sha256="0" * 64)],
        "two": [honest, honest],
        "fault": [about(honest, decision="allow", fault="encode: broken")],
    }
    monkeypatch.setattr(ImageGuard, "scan_many", lambda self, sources, **_: answers[lie])
    if lie == "two":

        def doubled(self: Any, request: Any) -> Any:
            verdicts = tuple(WireVerdict.of(each, evidence=True) for each in answers["two"])
            return guard_routes._response(
                ScanResponse(guard=self.description.guard, verdicts=verdicts)
            )

        monkeypatch.setattr(guard_routes._Asked, "scan", doubled)
    with behind_server(guard) as remote:
        with pytest.raises(GuardError, match="other pictures|against its settings") as caught:
            remote.scan(SOURCES["png"])
        assert caught.value.stage == "remote"


def test_a_picture_that_is_decoded_differently_there_is_sent_as_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def other_decoder(text: str, policy: Any, place: str) -> Any:
        return picture(red=True, side=31)

    guard = red_guard()
    with behind_server(guard) as remote:
        monkeypatch.setattr(sent_images, "_source", other_decoder)
        assert remote.scan(SOURCES["png"]) == guard.scan(SOURCES["png"])


def test_neither_copied_nor_pickled(pair: Any) -> None:
    remote = pair[1]
    assert copy.copy(remote) is remote
    assert copy.deepcopy([remote])[0] is remote
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(remote)


def test_a_forked_process_asks_by_itself(pair: Any) -> None:
    guard, remote = pair
    source = png(picture(red=True, side=70))
    remote.scan(SOURCES["png"])
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(write, remote.scan(source).decision.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert answer.read() == "mask"
    os.waitpid(child, 0)
    assert remote.scan(source) == guard.scan(source)


def test_a_closed_guard_refuses(pair: Any) -> None:
    with behind_server(red_guard()) as remote:
        remote.scan(SOURCES["png"])
        remote.close()
        with pytest.raises(Unreachable, match="was closed"):
            remote.scan(SOURCES["jpeg"])


def test_nothing_is_asked_before_it_is_used() -> None:
    remote = RemoteImageGuard("http://127.0.0.1:9", retries=0)
    with pytest.raises(Unreachable, match=r"cannot be reached: ConnectError.*guardalign serve"):
        _ = remote.config
    with pytest.raises(Unreachable):
        remote.scan(b"not even a picture")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"retries": -1}, "retries"),
    ],
)
def test_options_that_make_no_sense(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        RemoteImageGuard("http://localhost:8000", **arguments)
