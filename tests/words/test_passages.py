from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.words.passages import Passage, near, passages, upright
from tests.support.words import column, line


def test_lines_of_a_paragraph_are_one_passage_and_a_blank_line_ends_it() -> None:
    lines = [*column("one", "two"), *column("three", "four", y=130)]
    assert [passage.lines for passage in passages(lines)] == [(0, 1), (2, 3)]


@pytest.mark.parametrize("angle", [0.0, 17.0, 90.0, -90.0, 180.0])
def test_turned_lines_stand_together_as_upright_ones_do(angle: float) -> None:
    first = line("first line", 200, 200, angle=angle)
    second_place = line("x", 200, 200, height=30, angle=angle).corners[3]
    second = line("second line", *second_place, angle=angle)
    other = line("of another direction", *second_place, angle=angle - 60)
    assert [one.lines for one in passages([first, second])] == [(0, 1)]
    assert len(passages([first, other])) == 2


def test_a_headline_of_another_size_and_another_column_stand_apart() -> None:
    headline = line("headline", 10, 10, height=50)
    body = line("body", 10, 62, height=14)
    aside = line("aside", 500, 62, height=14)
    assert len(passages([headline, body, aside])) == 3


def test_words_of_a_row_stand_together() -> None:
    assert len(passages([line("1.", 10, 10), line("flour", 45, 12)])) == 1


@given(st.lists(st.sampled_from(["alpha", "be ta", "g"]), min_size=1, max_size=6))
def test_each_sign_is_traced_back_to_its_line(texts: list[str]) -> None:
    lines = column(*texts)
    passage = Passage.of(lines, range(len(lines)))
    for index, start in enumerate(passage.starts):
        end = start + len(texts[index])
        assert passage.plain[start:end] == texts[index]
        assert passage.lines_at(start, end) == (index,)
    assert passage.lines_at(0, len(passage.plain)) == passage.lines


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(8, 60)), max_size=12)
)
def test_every_line_is_in_one_passage(places: list[tuple[int, int, int]]) -> None:
    lines = [line("word", x, y, height=height) for x, y, height in places]
    found = [index for passage in passages(lines) for index in passage.lines]
    assert sorted(found) == list(range(len(lines)))


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(8, 60)), max_size=12),
    st.sampled_from([0.0, 0.5, 2.0]),
)
def test_near_are_all_pairs_of_which_one_reaches_the_other(
    places: list[tuple[int, int]], reach: float
) -> None:
    boxes = [upright(line("word", 10, y, height=height)) for y, height in places]
    found = {tuple(sorted(pair)) for pair in near(boxes, reach)}
    wanted = set()
    for one in range(len(boxes)):
        for other in range(one):
            upper, lower = sorted((boxes[one], boxes[other]), key=lambda box: box[1])
            if upper[3] + reach * (upper[3] - upper[1]) >= lower[1]:
                wanted.add((other, one))
    assert found == wanted


def test_a_page_of_many_lines_is_compared_with_its_neighbours_only() -> None:
    boxes = [upright(line("1.", 50 * (n % 10), 40 * (n // 10))) for n in range(1600)]
    assert sum(1 for _ in near(boxes, 2.0)) < 30 * len(boxes)
