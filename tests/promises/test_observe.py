"""In the mode `observe` every picture passes as it is, through every way in, and all is recorded.

What would have been done stands in the verdicts. One without a threshold is never read as allowed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guardalign_middleware import (
    ConfigError,
    GuardAlign,
    GuardAlignConfig,
    GuardError,
    ImageGuard,
    ImageRejected,
    SanitizedImage,
    Verdict,
)
from guardalign_middleware.audit import differences, read_entries, verify
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Job
from guardalign_middleware.bulk.scanner import Scanner
from guardalign_middleware.config import (
    AuditConfig,
    OutputConfig,
    PrefixConfig,
    RunnerConfig,
    SanitizeConfig,
)
from guardalign_middleware.conversation import CHAT, ConversationGuard, Handling
from guardalign_middleware.detection import Detector
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.mcp import MessageGuard
from guardalign_middleware.preset_files import available_presets
from guardalign_middleware.sanitize import sanitize
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import (
    EchoRunner,
    all_red,
    base64_png,
    counting_guard,
    data_url,
    open_png,
    picture,
    png,
    red_config,
    red_detector,
)
from guardalign_middleware.unscanned import worst
from tests.mcp.positions import image as mcp_image
from tests.mcp.positions import tool
from tests.support.audit_logs import KEY, write_key
from tests.support.broken import FAULTS, ask, guard_with
from tests.support.mcp_frames import line, passed
from tests.support.remote import behind_server
from tests.support.serving import AUTHORIZED
from tests.support.serving import KEY as KEY_OF_CLIENTS
from tests.support.word_doubles import BLUE, striped, word_guard

PAINTED = striped(((8, 10, 80, 18), BLUE))
PLAIN, UNSAFE, HOPELESS = picture(), picture(red=True), all_red()
WOULD_BE = {"allow": PLAIN, "mask": UNSAFE, "block": HOPELESS}
EACH = pytest.mark.parametrize("would_be", WOULD_BE)


def observer(**changes: Any) -> ImageGuard:
    config = red_config(mode="observe", **changes)
    return ImageGuard(config, red_detector(config))


def without_thresholds(**changes: Any) -> ImageGuard:
    config = red_config(**{"mode": "observe", **changes})
    known = red_detector(config)
    return ImageGuard(config, Detector(known.meters, config.detection))


def watching(guard: ImageGuard, *, profile: bool = True) -> ImageGuard:
    """The same guard, which only observes."""
    config, known = guard.config.in_mode("observe"), guard.detector
    detector = known if profile else Detector(known.meters, config.detection)
    return ImageGuard(config, detector, guard.words)


def judged(guard: ImageGuard, *images: Any) -> list[tuple[str, str | None]]:
    return [(one.decision, one.would_be) for one in guard.scan_many(images)]


class TestTheGuard:
    def test_it_is_never_the_default(self) -> None:
        assert red_config().mode == "enforce"
        assert all(GuardAlignConfig.load(name).mode == "enforce" for name in available_presets())

    @EACH
    def test_a_scan_says_what_would_have_been_decided(self, would_be: str) -> None:
        verdict = observer().scan(WOULD_BE[would_be])
        # Whether a mask is enough, only cleaning finds out.
        found = "mask" if would_be == "block" else would_be
        assert (verdict.decision, verdict.would_be) == ("observe", found)
        assert not verdict.flagged
        assert bool(verdict.regions) == (would_be != "allow")
        told = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
        assert (told["decision"], told["would_be"]) == ("observe", found)

    @EACH
    def test_cleaning_leaves_the_picture_as_it_is(self, would_be: str) -> None:
        image = WOULD_BE[would_be]
        item = observer().sanitize(image)
        assert item.image is item.original
        assert item.original.sha256 == image.sha256
        assert (item.verdict.decision, item.verdict.would_be) == ("observe", would_be)
        assert (item.boxes, item.rounds, item.masked_fraction) == ((), 0, 0.0)
        assert open_png(item.encode().data).sha256 == image.sha256

    def test_the_worst_of_several_frames_is_the_one_that_would_be_stopped(self) -> None:
        verdicts = observer().scan_many([UNSAFE, PLAIN])
        assert worst([(UNSAFE, PLAIN)], verdicts)[0].would_be == "mask"

    def test_with_the_method_block_it_would_have_been_blocked(self) -> None:
        guard = observer(sanitize=SanitizeConfig(method="block"))
        assert judged(guard, UNSAFE) == [("observe", "block")]

    def test_the_log_of_the_program_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            observer()
        assert "only observes" in caplog.text

    def test_a_file_that_was_let_out_is_known_to_observers_only(self) -> None:
        config = red_config(mode="observe", output=OutputConfig())
        detector = red_detector(config)
        guard = ImageGuard(config, detector)
        item = guard.sanitize(png(UNSAFE))
        file = item.encode().data
        assert guard.scan(file).would_be == "mask"
        enforcing = ImageGuard(config.in_mode("enforce"), detector)
        assert enforcing.scan(file).decision == "mask"
        # Even if it is handed the observed verdict itself.
        again = enforcing.encode(enforcing.load(png(UNSAFE)), item.passed)
        assert enforcing.scan(again.data).decision == "mask"

    def test_words_count_as_found(self) -> None:
        item = watching(word_guard("mask")).sanitize(PAINTED)
        assert item.verdict.would_be in {"mask", "block"}
        assert item.image is item.original


class TestWithoutThresholds:
    @EACH
    def test_distances_are_measured_and_nothing_is_decided(self, would_be: str) -> None:
        image, guard = WOULD_BE[would_be], without_thresholds()
        verdict = guard.scan(image)
        assert (verdict.decision, verdict.would_be) == ("observe", "undecided")
        assert math.isnan(verdict.threshold)
        assert verdict.distance == observer().scan(image).distance
        assert (verdict.regions, verdict.profile, verdict.decided) == ((), "", False)
        told = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
        assert told["threshold"] is told["profile"] is None
        item = guard.sanitize(image)
        assert item.image is item.original
        assert item.overlay().size

    def test_words_are_judged_all_the_same(self) -> None:
        verdict = watching(word_guard("mask"), profile=False).scan(PAINTED)
        assert (verdict.decision, verdict.would_be) == ("observe", "mask")
        assert math.isnan(verdict.threshold)

    def test_an_enforcing_guard_gets_no_verdict_and_does_not_start(self) -> None:
        guard = without_thresholds(mode="enforce")
        with pytest.raises(ConfigError, match="no threshold profile"):
            guard.scan(PLAIN)
        with pytest.raises(ConfigError, match="set mode to observe"):
            ImageGuard.from_config(red_config())

    @pytest.mark.parametrize("decision", ["allow", "mask", "block"])
    def test_there_is_no_such_verdict_with_a_decision(self, decision: Any) -> None:
        fields = vars(without_thresholds().scan(PLAIN)) | {"would_be": None}
        with pytest.raises(ValueError, match="no decision"):
            Verdict(**(fields | {"decision": decision}))
        with pytest.raises(ValueError, match="would_be"):
            Verdict(**(fields | {"decision": "observe"}))

    def test_nothing_is_cleaned_by_it(self) -> None:
        verdict = without_thresholds().scan(PLAIN)
        image = observer().load(PLAIN)
        with pytest.raises(GuardError, match="only observed"):
            sanitize(image, verdict, lambda _: verdict)


class TestFaults:
    def test_a_picture_that_cannot_be_scanned_is_a_fault_as_ever(self) -> None:
        guard = guard_with(FAULTS["NaN"], mode="observe")
        with pytest.raises(GuardError):
            guard.sanitize(PLAIN)
        runner = EchoRunner()
        with pytest.raises(GuardError):
            GuardAlign(guard, runner).invoke(ask(PLAIN))
        assert runner.calls == []

    @pytest.mark.parametrize("profile", [True, False])
    def test_fail_open_is_set_apart_and_counted(self, profile: bool) -> None:
        guard = guard_with(FAULTS["NaN"], mode="observe", on_fault="allow")
        if not profile:
            guard = ImageGuard(
                guard.config, Detector(guard.detector.meters, guard.config.detection)
            )
        item = guard.sanitize(PLAIN)
        assert item.image is item.original
        assert item.passed is None
        expected = ("observe", "allow" if profile else "undecided")
        assert (item.verdict.decision, item.verdict.would_be) == expected
        assert item.verdict.fault
        assert guard.failed_open == 1

    def test_what_is_no_picture_is_refused(self) -> None:
        for guard in (observer(), without_thresholds()):
            with pytest.raises(ImageRejected):
                guard.scan(png(PLAIN)[:-40])


def chat(*images: Any) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": data_url(each)}} for each in images]
    return {"model": "m", "messages": [{"role": "user", "content": parts}]}


def pictures_in(body: Any) -> list[str]:
    parts = body["messages"][0]["content"]
    urls = [each["image_url"]["url"] for each in parts if each["type"] == "image_url"]
    return [open_png(base64.b64decode(url.partition(",")[2])).sha256 for url in urls]


GUARDS: dict[str, Callable[[], ImageGuard]] = {
    "observe": observer,
    "without thresholds": without_thresholds,
}
BOTH = pytest.mark.parametrize("kind", GUARDS)
ALL = list(WOULD_BE.values())


@BOTH
class TestWaysIn:
    def test_the_chain(self, kind: str) -> None:
        runner = EchoRunner()
        runner.config = RunnerConfig(model="echo", prefix=PrefixConfig(policy="when_flagged"))
        chain = GuardAlign(GUARDS[kind](), runner)
        reply = chain.invoke(ask(*ALL))
        assert [each.sha256 for each in runner.calls[0].images] == [each.sha256 for each in ALL]
        assert reply.finish_reason != "blocked"
        assert {each.decision for each in reply.verdicts} == {"observe"}
        assert not runner.calls[0].prefix
        pieces = "".join(chunk.text for chunk in chain.stream(ask(HOPELESS)))
        assert pieces != chain.config.blocked_reply

    @pytest.mark.parametrize("on_unsafe", ["mask", "notice", "block"])
    def test_gateways_and_agents(self, kind: str, on_unsafe: Any) -> None:
        guard = ConversationGuard(GUARDS[kind](), Handling(on_unsafe))
        cleaned = guard.clean(chat(*ALL), CHAT)
        assert pictures_in(cleaned.body) == [each.sha256 for each in ALL]
        assert (cleaned.blocked, cleaned.decision) == ((), "observe")
        told = cleaned.to_json()["verdicts"]
        assert {(each["decision"], each["action"]) for each in told} == {("observe", "none")}

    def test_mcp(self, kind: str) -> None:
        out = passed(MessageGuard.of(GUARDS[kind]()), line(tool(mcp_image(png(HOPELESS)))))
        content = json.loads(out.forward or b"")["result"]["content"]
        assert open_png(base64.b64decode(content[0]["data"])).sha256 == HOPELESS.sha256

    def test_the_service_and_its_metrics(self, kind: str) -> None:
        app = create_app(GUARDS[kind](), ServeOptions(api_key=KEY_OF_CLIENTS))
        with TestClient(app, headers=AUTHORIZED) as client:
            sent = {"images": [{"image": base64_png(each)} for each in ALL]}
            scanned = client.post("/v1/guard/scan", json=sent).json()["verdicts"]
            cleaned = client.post("/v1/guard/sanitize", json={**sent, "picture": True}).json()
            asked = client.post("/v1/guard/conversation", json=chat(*ALL)).json()
            parts = [{"type": "image_url", "image_url": {"url": data_url(each)}} for each in ALL]
            moderated = client.post("/v1/moderations", json={"input": parts}).json()
            ready = client.get("/ready").json()
            counted = client.get("/metrics").text
        assert {each["decision"] for each in scanned} == {"observe"}
        shown = [each["image"].partition(",")[2] for each in cleaned["results"]]
        assert [open_png(base64.b64decode(each)).sha256 for each in shown] == [
            each.sha256 for each in ALL
        ]
        assert (asked["blocked"], asked["guardalign"]["decision"]) == (False, "observe")
        assert pictures_in(asked["request"]) == [each.sha256 for each in ALL]
        assert moderated["results"][0]["flagged"] is False
        assert not any(moderated["results"][0]["categories"].values())
        assert ready["parts"]["mode"] == "observe"
        assert 'guardalign_images_total{decision="observe"} 12.0' in counted
        would_be = {"allow": 4, "mask": 6, "block": 2} if kind == "observe" else {"undecided": 12}
        for name, count in would_be.items():
            assert f'guardalign_observed_total{{would_be="{name}"}} {count}.0' in counted

    @pytest.mark.allow_hosts(["127.0.0.1"])
    def test_a_guard_in_another_process(self, kind: str) -> None:
        own = GUARDS[kind]()
        with behind_server(own) as remote:
            for image in ALL:
                item, here = remote.sanitize(image), own.sanitize(image)
                assert item.image is item.original
                assert item.verdict.to_json() == here.verdict.to_json()
                assert item.verdict.would_be == here.verdict.would_be
                assert remote.scan(image).to_json() == own.scan(image).to_json()

    def test_a_scan_of_files(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        guard = GUARDS[kind]()
        monkeypatch.setattr(ImageGuard, "from_config", classmethod(lambda *_: guard))
        (tmp_path / "in.png").write_bytes(png(HOPELESS))
        job = Job(guard.config, copies=tmp_path / "out", overlays=tmp_path)
        entry = Entry(str(tmp_path / "in.png"), place="in.png", number=1)
        outcome = Scanner(job).scan(entry)
        assert outcome.status == 0
        assert outcome.records[0]["decision"] == "observe"
        copy = (tmp_path / "out" / outcome.records[0]["copy"]).read_bytes()
        assert open_png(copy).sha256 == HOPELESS.sha256

    def test_the_audit_log(self, kind: str, tmp_path: Path) -> None:
        log, key = tmp_path / "audit.jsonl", write_key(tmp_path)
        made = GUARDS[kind]()
        config = made.config.model_copy(update={"audit": AuditConfig(log=log, key_file=key)})
        guard = ImageGuard(config, made.detector)
        results: list[Verdict | SanitizedImage] = [guard.scan(UNSAFE), guard.sanitize(HOPELESS)]
        assert verify(log, KEY).intact
        entries = list(read_entries(log, KEY))
        assert [each.decision for each in entries] == ["observe", "observe"]
        first, second = (each.would_be or {} for each in entries)
        expected = ["mask", "block"] if kind == "observe" else ["undecided"] * 2
        assert [first["decision"], second["decision"]] == expected
        assert first["binding"] == guard.detector.meters[0].fingerprint
        assert first["distances"] == [{"native": {"weapon": entries[0].distance}}]
        assert (entries[0].threshold is None) == (kind != "observe")
        assert entries[1].cleaned == entries[1].image
        for entry, result, image in zip(entries, results, (UNSAFE, HOPELESS), strict=True):
            assert differences(entry, result, image, KEY) == ()
        other = ImageGuard(config.model_copy(update={"mode": "enforce"}), red_detector(config))
        assert "would_be" in differences(entries[0], other.scan(UNSAFE), UNSAFE, KEY)

    def test_async_forms(self, kind: str) -> None:
        guard = GUARDS[kind]()
        item = asyncio.run(guard.asanitize(HOPELESS))
        assert item.image is item.original


def test_an_enforcing_chain_still_stops_what_an_observing_one_let_pass() -> None:
    """They may share a detector, whose verdicts are remembered."""
    config = red_config(mode="observe")
    detector = red_detector(config)
    assert ImageGuard(config, detector).sanitize(HOPELESS).image is not None
    assert ImageGuard(config.in_mode("enforce"), detector).sanitize(HOPELESS).image is None


def test_adapters_know_the_mode_before_they_load(tmp_path: Path) -> None:
    guard, _ = counting_guard()
    assert LazyGuard(guard=guard).config.mode == "enforce"
    assert LazyGuard(guard=observer()).identity != LazyGuard(guard=guard).identity


def test_a_handle_on_a_preset_takes_the_mode_and_keeps_it_in_a_pickle() -> None:
    observing = LazyGuard("mini", mode="observe")
    again = pickle.loads(pickle.dumps(observing))
    assert (observing.config.mode, again.config.mode) == ("observe", "observe")
    assert observing.identity == again.identity != LazyGuard("mini").identity
    with pytest.raises(ConfigError, match="mode needs a preset"):
        LazyGuard(guard=observer(), mode="enforce")
