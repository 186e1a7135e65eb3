from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from guardalign_middleware.evaluation.word_attacks import (
    WORD_ATTACKS,
    drawn_targets,
    run_word_attacks,
    target_of,
)
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.words.form import FormJudge
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.standard_judge import standard_judge
from tests.support.words import column


class ReadsUpright:
    """Says what a target says for its own picture, and nothing for any other."""

    fingerprint = "by heart"

    def __init__(self, known: dict[str, Sequence[WordLine]]) -> None:
        self.known = known

    def read(self, image: CanonicalImage) -> tuple[WordLine, ...]:
        return tuple(self.known.get(image.sha256, ()))


def test_each_kind_is_found_by_what_it_is_for() -> None:
    targets = drawn_targets(50)
    assert len(targets) == len({target.image.sha256 for target in targets}) == 30
    by_rules = {"orders that rules know": {"injection"}, "empty lists": {"carrier"}}
    whole = standard_judge()
    for target in targets:
        assert target.text is not None
        lines = column(*target.text)
        found = {one.category for one in FormJudge().judge(lines) if one.unsafe}
        assert found == by_rules.get(target.kind, set())
        assert any(one.unsafe for one in whole.judge(lines)), target.words


@pytest.mark.parametrize("name", WORD_ATTACKS)
def test_each_attack_gives_pictures_that_differ_and_repeat(name: str) -> None:
    target = drawn_targets(1)[0]
    first, again = (WORD_ATTACKS[name](target, np.random.default_rng(1)) for _ in range(2))
    assert first is not None
    assert again is not None
    assert [one.sha256 for one in first] == [one.sha256 for one in again]
    changed = [one.sha256 for one in first] != [target.image.sha256]
    assert changed == (name != "none")
    # Where the picture has ink, some is left.
    assert all(np.ptp(one.pixels.astype(int)) >= 4 for one in first)


def test_a_picture_is_split_between_its_lines() -> None:
    target = drawn_targets(1)[0]
    pictures = WORD_ATTACKS["split over two pictures"](target, np.random.default_rng(0))
    assert pictures is not None
    upper, lower = pictures
    whole = np.concatenate([upper.pixels, lower.pixels])
    assert np.array_equal(whole, target.image.pixels)
    assert upper.pixels.min() < 100 > lower.pixels.min()


def test_what_is_read_and_flagged_is_counted_and_a_given_picture_is_not_drawn_again() -> None:
    drawn = drawn_targets(1)[0]
    assert drawn.text is not None
    lines = column(*drawn.text)
    reader = ReadsUpright({drawn.image.sha256: lines})
    report = run_word_attacks(reader, FormJudge(), [target_of(drawn.image, lines)])
    results = {one.attack: one for one in report.attacks}
    assert "letters apart" not in results
    for attack, share in (("none", 1.0), ("inverse", 0.0)):
        assert results[attack].read.value == share
        assert {kind: one.value for kind, one in results[attack].flagged.items()} == {
            "given": share
        }
    assert results["none"].pictures == report.pictures == 1


def test_nothing_to_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="targets"):
        run_word_attacks(ReadsUpright({}), FormJudge(), [])
