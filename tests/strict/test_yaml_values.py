from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.strict import Malformed, yaml_node, yaml_value
from guardalign_middleware.strict.yaml_nodes import MAX_NODES

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=10
)
# Pieces of YAML, so that many of their joins parse.
PIECES = st.lists(
    st.sampled_from(
        ["a", ": ", "\n", "- ", "[", "]", "{", "}", ", ", "&x ", "*x", "<<: ", "!!int ", "!!set ",
         "!!binary ", "!!timestamp ", "!!float ", "!!bool ", "!x ", "? ", '"', "'", "|", ">", "  ",
         "1", ".", "e9", "0x", "0b", "-", "_", ":", ".nan", "2026-13-45", "---", "...", "%YAML 1",
         "#", "\\0", "\\ud800", "\\UFFFFFFFF", "~", "yes", "\t", "=", "\ufeff", "\u2028"]
    )
)  # fmt: skip


@given(VALUES)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    data = yaml.safe_dump(value, allow_unicode=True).encode()
    assert yaml_value(data) == value


@given(
    PIECES.map("".join).map(str.encode)
    | st.binary()
    | st.text().map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_bytes_are_plain_values_or_one_error(data: bytes) -> None:
    try:
        value = yaml_value(data)
    except Malformed:
        return
    assert type(value) in (dict, list, str, int, float, bool, type(None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"a appears twice \(line 3\)"),
        ("a: {b: {c: 1, c: 2}}", r"a\.b\.c appears twice"),
        ("a: [{b: 1}, {b: .nan}]", r"a\[1\]\.b should be a finite number. Received .nan"),
        ("a: -.inf", "a should be a finite number"),
        ("a: 1.0e+999", "a should be a finite number"),
        ('a: "x\\0"', "a in line 1 holds a NUL"),
        ('"\\0": 1', "a name in the file in line 1 holds a NUL"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ("a: !!python/object/apply:os.system [x]", "a has the tag .*os.system"),
        ("a: !!binary eA==", "a has the tag .*binary"),
        ("a: !!set {x, y}", "a has the tag .*set"),
        ("a: !mine x", "a has the tag !mine"),
        ("a: !!str [x]", "a has the tag"),
        ("a: !!int x", "a should be a value of the kind int"),
        ("a: " + "9" * 5000, "kind int"),
        ("1: a", "the file has a name that is not a text"),
        ("? [a]\n: b", "not a text"),
        ("a: {yes: 1}", "a has a name that is not a text"),
        ("a: {<<: 3}", "a merges what is no mapping"),
        ("a: &x {b: *x}", r"alias \*x in line 1 lies within its own anchor"),
        ("a: *x", "undefined alias"),
        ("--- a\n--- b", "single document"),
        ("a: [", "not YAML"),
        ("\0", "not YAML"),
        ("[" * 40, "more than 32 levels"),
        ("- " * 40, "more than 32 levels"),
        ("[" * 1_000_000, "more than 32 levels"),
    ],
)
def test_what_is_refused_and_where(text: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        yaml_value(text.encode())


def bomb(levels: int, width: int = 10) -> bytes:
    lines = ["a0: &a0 [" + ", ".join("x" * width) + "]"]
    for level in range(1, levels):
        repeated = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{repeated}]")
    return "\n".join(lines).encode()


@pytest.mark.parametrize("levels", [6, 30])
def test_an_alias_bomb_is_counted_before_it_is_built(levels: int) -> None:
    for read in (yaml_node, yaml_value):
        with pytest.raises(Malformed, match=f"more than {MAX_NODES:,} values"):
            read(bomb(levels))


def test_a_bomb_of_merged_mappings_is_counted_as_well() -> None:
    lines = ["a0: &a0 {k: 1}"]
    lines += [
        f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}], k{level}: 1}}"
        for level in range(1, 9)
    ]
    with pytest.raises(Malformed, match="values"):
        yaml_value("\n".join(lines).encode())


def test_levels_that_aliases_add_are_counted() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(Malformed, match="line 32 is nested more than 32 levels"):
        yaml_value("\n".join(lines).encode())
    assert yaml_value("\n".join(lines[:31]).encode())["a1"] == [["x"]]


def test_aliases_and_merged_mappings_of_ordinary_files_are_read() -> None:
    text = "base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}\nboth: {<<: [{x: 0}, *b]}\nsame: *b"
    assert yaml_value(text.encode()) == {
        "base": {"x": 1, "y": 2},
        "mine": {"x": 1, "y": 3},
        "both": {"x": 0, "y": 2},
        "same": {"x": 1, "y": 2},
    }


def test_a_date_is_a_text() -> None:
    assert yaml_value(b"notes: 2026-13-45") == {"notes": "2026-13-45"}
    assert yaml_value(b"notes: 2026-11-28T10:00:00Z") == {"notes": "2026-11-28T10:00:00Z"}
    assert yaml_value(b"") is None
