"""What was judged once is not asked again; what is another question is."""

import pytest

from guardalign_middleware.errors import GuardError
from guardalign_middleware.testing import red_config
from guardalign_middleware.words.remembered import RememberingJudge
from tests.support.word_doubles import BadJudge, line_at

LINE, OTHER = line_at((8, 8, 40, 16), "bad"), line_at((8, 8, 40, 16), "fine")


def test_equal_words_are_judged_once() -> None:
    judge = BadJudge()
    remembering = RememberingJudge(judge, red_config().detection)
    first = remembering.judge([LINE, OTHER], "Why?")
    assert remembering.judge((LINE, OTHER), "Why?") is first
    assert first == BadJudge().judge([LINE, OTHER])
    assert judge.asked == [("bad", "fine")]
    assert remembering.fingerprint == "bad"


def test_other_words_and_other_places_are_another_question() -> None:
    judge = BadJudge()
    remembering = RememberingJudge(judge, red_config().detection)
    below = line_at((8, 40, 40, 48), "bad")
    for lines, text in (([LINE], ""), ([LINE], "Why?"), ([below], ""), ([LINE, below], "")):
        remembering.judge(lines, text)
    assert len(judge.asked) == 4


def test_a_fault_is_not_remembered() -> None:
    class Fails(BadJudge):
        def judge(self, lines: object, text: str = "") -> tuple[()]:
            self.asked.append(())
            raise GuardError("down", stage="words")

    judge = Fails()
    remembering = RememberingJudge(judge, red_config().detection)
    for _ in range(2):
        with pytest.raises(GuardError, match="down"):
            remembering.judge([LINE])
    assert len(judge.asked) == 2
