from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.strict import Malformed, json_value, passing_value

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_python_writes_is_read_back(value: Any) -> None:
    assert json_value(json.dumps(value).encode(), max_depth=64) == value


@given(st.binary())
def test_any_bytes_are_a_value_or_one_error(data: bytes) -> None:
    for foreign in (False, True):
        try:
            json_value(data, foreign=foreign)
        except Malformed:
            pass
    try:
        passing_value(data, max_depth=2)
    except Malformed:
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 1}', "'a' appears twice"),
        ('{"a": {"b": [{"c": 1, "c": 2}]}}', "'c' appears twice"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": -Infinity}', "finite"),
        ('{"a": 1e999}', "finite"),
        ('{"a": "\\u0000"}', "a holds a NUL"),
        ('{"\\u0000": 1}', "a name in the file holds a NUL"),
        ('["\\ud83d"]', "half of a surrogate pair"),
        ("9" * 5000, "not JSON"),
        ("", "not JSON"),
        ("{} {}", "not JSON"),
        ("[" * 33 + "]" * 33, "more than 32 levels"),
        ('{"a":' * 100_000, "more than 32 levels"),
        ('{"a":[' * 17 + "]}" * 17, "more than 32 levels"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        json_value(text.encode())


def test_brackets_in_texts_are_no_nesting() -> None:
    text = '["' + "[" * 100 + '", "\\"' + "{" * 100 + '"]'
    assert json_value(text.encode()) == ["[" * 100, '"' + "{" * 100]


def test_many_values_side_by_side_are_no_nesting() -> None:
    text = "[" + ",".join(['{"a": [1]}'] * 100) + "]"
    assert json_value(text.encode()) == [{"a": [1]}] * 100


def test_half_a_text_is_searched_once() -> None:
    """It would take hours if each of its quotes were a start of its own."""
    with pytest.raises(Malformed, match="not JSON"):
        json_value(b'"' + b'\\"' * 400_000 + b"\\")


def test_a_foreign_file_keeps_its_own_rules_within_the_depth() -> None:
    value = json_value(b'{"a": 1, "a": [NaN, "\\u0000"]}', foreign=True)
    assert value["a"][1] == "\0"
    with pytest.raises(Malformed, match="levels"):
        json_value(b"[" * 100, foreign=True)


def test_what_passes_on_is_finite_and_bounded_and_else_as_it_came() -> None:
    text = b'\xef\xbb\xbf{"a": 1, "a": ["\\u0000", "\\ud83d", 1e9]}'
    assert passing_value(text, max_depth=2) == {"a": ["\0", "\ud83d", 1e9]}
    for wrong in (b"NaN", b"[-Infinity]", b"1e999", b"[[[]]]", b"9" * 5000, b'"\xff"', b"", b"{"):
        with pytest.raises(Malformed):
            passing_value(wrong, max_depth=2)
