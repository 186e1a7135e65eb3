"""What follows from words: the real guard around a reader of paint and a judge of one word."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.audit import read_entries, verify
from guardalign_middleware.config import AuditConfig, SanitizeConfig
from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.overlay import draw_overlay
from guardalign_middleware.testing import red_config, red_detector
from guardalign_middleware.verdict_records import flat_record
from guardalign_middleware.words.judge import Judgement
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.policy import WordPolicy, covers
from tests.support.audit_logs import KEY, write_key
from tests.support.word_doubles import (
    BLUE,
    PALE,
    BadJudge,
    BrokenReader,
    PaintReader,
    line_at,
    striped,
    word_guard,
)

BAD, FINE = ((8, 10, 80, 18), BLUE), ((8, 40, 80, 48), PALE)
BOTH = striped(BAD, FINE)
SMALL_MASKS = SanitizeConfig(margin=0.0)


def test_a_report_counts_and_changes_nothing() -> None:
    cleaned = word_guard("report").sanitize(BOTH.to_pil())
    verdict = cleaned.verdict
    assert (verdict.decision, verdict.regions) == ("allow", ())
    assert verdict.words is not None
    assert (verdict.words.lines, verdict.words.characters, verdict.words.unread) == (2, 7, 0)
    assert cleaned.image is cleaned.original


def test_mask_hides_every_line_and_nothing_else() -> None:
    cleaned = word_guard("mask").sanitize(BOTH.to_pil())
    assert cleaned.verdict.decision == "mask"
    assert cleaned.verdict.category == "words"
    assert cleaned.image is not None
    expected = BOTH.pixels.copy()
    for (x0, y0, x1, y1), _ in (BAD, FINE):
        expected[y0:y1, x0:x1] = (127, 127, 127)
    np.testing.assert_array_equal(cleaned.image.pixels, expected)
    assert cleaned.passed is not None
    assert cleaned.passed.words is not None
    assert cleaned.passed.words.lines == 0


def test_guard_hides_what_is_unsafe_and_leaves_the_rest() -> None:
    cleaned = word_guard("guard", BadJudge()).sanitize(BOTH.to_pil())
    (region,) = cleaned.verdict.regions
    assert (region.box, region.kind, region.category) == (BAD[0], "words", "order")
    assert region.distance == 0.1
    assert cleaned.verdict.category == "order"
    assert cleaned.image is not None
    np.testing.assert_array_equal(cleaned.image.pixels[40:48, 8:80], BOTH.pixels[40:48, 8:80])
    assert not (cleaned.image.pixels == BLUE).all(axis=2).any()


def test_the_margin_around_a_line_is_a_share_of_its_height() -> None:
    guard = word_guard("guard", BadJudge(), sanitize=SanitizeConfig(margin=0.25))
    cleaned = guard.sanitize(BOTH.to_pil())
    assert cleaned.boxes == ((6, 8, 82, 20),)


@pytest.mark.parametrize(
    ("action", "decision"), [("flag", "allow"), ("mask", "mask"), ("block", "block")]
)
def test_a_category_of_words_has_the_action_of_its_judgement(action, decision) -> None:
    cleaned = word_guard("guard", BadJudge(action)).sanitize(BOTH.to_pil())
    assert cleaned.verdict.decision == decision
    assert [region.action for region in cleaned.verdict.regions] == [action]
    assert (cleaned.image is None) == (decision == "block")


def test_what_it_shows_and_what_it_says_are_both_hidden() -> None:
    cleaned = word_guard("guard", BadJudge()).sanitize(striped(BAD, FINE, red=True).to_pil())
    assert {region.kind for region in cleaned.verdict.regions} == {"picture", "words"}
    assert cleaned.verdict.category == "weapon"
    assert cleaned.image is not None
    assert not (cleaned.image.pixels == BLUE).all(axis=2).any()
    assert (cleaned.image.pixels[64:96, 64:96] == 127).mean() > 0.7


class Reappearing(PaintReader):
    """Reads bad words wherever nothing is masked yet."""

    def read(self, image) -> tuple[WordLine, ...]:
        rows = np.flatnonzero(~(image.pixels == 127).all(axis=(1, 2)))
        return tuple(line_at((0, y, 96, y + 1), "bad") for y in map(int, rows[:1]))


def test_words_without_end_block_the_picture() -> None:
    cleaned = word_guard("guard", BadJudge(), Reappearing()).sanitize(striped().to_pil())
    assert cleaned.verdict.decision == "block"
    assert cleaned.image is None


def test_an_equal_picture_is_read_once() -> None:
    reader = PaintReader()
    guard = word_guard("report", reader=reader)
    guard.scan_many([BOTH.to_pil(), striped(BAD).to_pil(), BOTH.to_pil()])
    guard.scan(BOTH.to_pil())
    guard.sanitize(BOTH.to_pil())
    assert len(reader.read_pictures) == len(set(reader.read_pictures)) == 2


@pytest.mark.parametrize("mode", ["report", "mask", "guard"])
def test_a_reader_that_fails_lets_nothing_through(mode: str) -> None:
    guard = word_guard(mode, BadJudge(), BrokenReader())
    for call in (guard.scan, guard.sanitize):
        with pytest.raises(GuardError) as caught:
            call(BOTH.to_pil())
        assert caught.value.stage == "words"
        assert "secret" not in str(caught.value)


def test_with_fail_open_a_fault_is_counted_and_what_was_found_stays() -> None:
    guard = word_guard("guard", BadJudge(), BrokenReader(), on_fault="allow")
    verdict = guard.scan(BOTH.to_pil())
    assert verdict.decision == "allow"
    assert verdict.fault is not None
    assert verdict.fault.startswith("words:")
    assert guard.failed_open == 1
    unsafe = striped(BAD, red=True).to_pil()
    assert guard.scan(unsafe).decision == "mask"
    with pytest.raises(GuardError):
        guard.sanitize(unsafe)
    assert guard.failed_open == 1


class Beyond(BadJudge):
    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        return (Judgement((len(lines),), "order", 0.1, 0.5),)


class Failing(BadJudge):
    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        raise OSError("no answer")


@pytest.mark.parametrize("judge", [Beyond(), Failing()])
def test_a_judge_that_fails_is_a_fault(judge: BadJudge) -> None:
    with pytest.raises(GuardError) as caught:
        word_guard("guard", judge).scan(BOTH.to_pil())
    assert caught.value.stage == "words"


class Mute(PaintReader):
    """Finds lines that it cannot read."""

    def read(self, image) -> tuple[WordLine, ...]:
        return tuple(line_at(line.box, "") for line in super().read(image))


def test_unreadable_lines_are_hidden_with_all_words_and_are_not_judged() -> None:
    assert word_guard("mask", reader=Mute()).scan(BOTH.to_pil()).decision == "mask"
    judge = BadJudge()
    verdict = word_guard("guard", judge, Mute()).scan(BOTH.to_pil())
    assert verdict.decision == "allow"
    assert judge.asked == [()]
    assert verdict.words is not None
    assert (verdict.words.lines, verdict.words.unread) == (0, 2)


def test_a_file_that_one_judge_let_out_is_judged_by_another() -> None:
    lenient = BadJudge("flag")
    lenient.fingerprint = "lenient"
    cleaned = word_guard("guard", lenient).sanitize(BOTH.to_pil())
    assert cleaned.verdict.decision == "allow"
    file = cleaned.encode().data
    judge = BadJudge()
    assert word_guard("guard", judge).scan(file).decision == "mask"
    assert judge.asked == [("bad", "fine")]
    again = BadJudge("flag")
    again.fingerprint = "lenient"
    assert word_guard("guard", again).scan(file).decision == "allow"
    assert again.asked == []


def test_what_was_read_is_told_only_if_asked_for() -> None:
    quiet = word_guard("guard", BadJudge()).scan(BOTH.to_pil())
    told = word_guard("guard", BadJudge(), include_text=True).scan(BOTH.to_pil())
    assert quiet.words is not None
    record = quiet.to_json()
    assert record["words"].keys() == {"lines", "characters", "unread", "sha256", "reader"}
    assert record["regions"] == [
        {"box": list(BAD[0]), "category": "order", "distance": 0.1, "kind": "words"}
    ]
    assert "fine" not in json.dumps(record) + repr(quiet)
    assert told.to_json()["words"]["text"] == ["bad", "fine"]
    assert json.loads(str(flat_record([record])["guardalign_words"]))["lines"] == 2


def test_the_audit_log_has_counts_and_a_keyed_code(tmp_path: Path) -> None:
    key = write_key(tmp_path)
    log = tmp_path / "log.jsonl"
    audit = AuditConfig(log=log, key_file=key)
    guard = word_guard("guard", BadJudge(), include_text=True, audit=audit)
    cleaned = guard.sanitize(BOTH.to_pil())
    word_guard("off", audit=audit)
    (entry,) = read_entries(log, KEY)
    assert entry.words is not None
    assert (entry.words["lines"], entry.words["characters"]) == (2, 7)
    assert cleaned.verdict.words is not None
    line = log.read_text()
    assert cleaned.verdict.words.sha256 not in line
    assert "fine" not in line
    assert verify(log, KEY).intact


def test_a_line_without_words_is_written_as_before(tmp_path: Path) -> None:
    key = write_key(tmp_path)
    config = red_config(audit=AuditConfig(log=tmp_path / "log.jsonl", key_file=key))
    ImageGuard(config, red_detector(config)).scan(BOTH.to_pil())
    assert "words" not in json.loads((tmp_path / "log.jsonl").read_text())
    (entry,) = read_entries(tmp_path / "log.jsonl", KEY)
    assert entry.words is None


def test_the_overlay_draws_lines_and_counts_them() -> None:
    with_words = word_guard("guard", BadJudge()).scan(BOTH.to_pil())
    without = word_guard("report").scan(BOTH.to_pil())
    assert draw_overlay(BOTH, with_words).tobytes() != draw_overlay(BOTH, without).tobytes()


def test_guard_without_anything_that_judges_is_an_error() -> None:
    config = red_config(words={"mode": "guard"})
    with pytest.raises(ConfigError, match="guard of texts"):
        WordPolicy.load(config.words, config.detection)


@pytest.mark.parametrize("mode", ["report", "mask"])
def test_a_judge_that_would_not_be_asked_is_an_error(mode: str) -> None:
    config = red_config(words={"mode": mode})
    with pytest.raises(ConfigError, match="asks no guard of texts"):
        WordPolicy.load(config.words, config.detection, BadJudge())


@pytest.mark.parametrize("changed", [{"mode": "report"}, {"include_text": True}])
def test_a_policy_of_another_config_is_refused(changed: dict[str, object]) -> None:
    config = red_config(words={"mode": "guard"})
    words = config.words.model_copy(update=changed)
    policy = WordPolicy(words, PaintReader(), BadJudge(), config.detection)
    with pytest.raises(ConfigError, match="another config of words"):
        ImageGuard(config, red_detector(config), policy)


@given(
    centre=st.tuples(st.floats(0, 200), st.floats(0, 150)),
    sides=st.tuples(st.floats(2, 150), st.floats(2, 60)),
    turn=st.floats(0, 2 * math.pi),
)
def test_boxes_cover_a_turned_line_inside_the_picture(centre, sides, turn) -> None:
    width, height = 200, 150
    along, across = sides
    axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    halves = np.array([(-along, -across), (along, -across), (along, across), (-along, across)]) / 2
    corners = halves @ axes + centre
    low = np.floor(corners.min(axis=0)).clip(0, (width - 1, height - 1)).astype(int)
    high = np.ceil(corners.max(axis=0)).clip(low + 1, (width, height)).astype(int)
    quad = tuple((float(a), float(b)) for a, b in corners)
    line = WordLine("a", (*low.tolist(), *high.tolist()), quad, 0.0, 1.0)
    boxes = covers(line, width, height)
    for x0, y0, x1, y1 in boxes:
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
    rng = np.random.default_rng(0)
    inside = (rng.uniform(-0.5, 0.5, (100, 2)) * (along, across)) @ axes + centre
    for a, b in inside:
        if 0 <= a < width and 0 <= b < height:
            assert any(x0 <= a <= x1 and y0 <= b <= y1 for x0, y0, x1, y1 in boxes)
