from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.detection.anchor_file import entries_of
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.errors import ConfigError

BOMB = "a0: &a0 [x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]\n" for n in range(1, 9)
)
GOOD = "categories:\n  weapon: [gun, knife]\nneutral:\n  dog: [dog, puppy]\n"


def load(tmp_path: Path, text: str) -> AnchorBank:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return AnchorBank.load(file)


def test_reads_both_banks_in_order(tmp_path: Path) -> None:
    bank = load(tmp_path, GOOD)
    assert dict(bank.categories) == {"weapon": ("gun", "knife")}
    assert dict(bank.neutral) == {"dog": ("dog", "puppy")}
    assert not load(tmp_path, "categories: {weapon: [gun]}").neutral


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    first = load(tmp_path, GOOD)
    assert load(tmp_path, "# a comment\n" + GOOD).fingerprint == first.fingerprint
    assert load(tmp_path, GOOD.replace("puppy", "pup")).fingerprint != first.fingerprint
    assert load(tmp_path, GOOD.replace("dog:", "hound:")).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mapping"),
        ("- gun", "mapping"),
        ("categories: {}", "categories"),
        ("neutral: {dog: [dog]}", "categories"),
        ("categories: {weapon: []}", "categories.weapon"),
        ("categories: {weapon: gun}", "categories.weapon"),
        ("categories: {weapon: [gun, 3]}", "categories.weapon holds 3"),
        ("categories: {weapon: [gun, yes]}", "in quotes"),
        ("categories: {weapon: [gun, '  ']}", "categories.weapon"),
        ("categories: {1: [gun]}", "name 1"),
        ("categories: {weapon: [gun, Gun]}", "categories.weapon"),
        (GOOD.replace("puppy", "gun"), r"yaml:4: 'gun' is in categories.weapon \(line 2\)"),
        (GOOD + "  dog: [hound]\n", "yaml:5: 'dog' appears twice"),
        (GOOD + "categories: {drug: [pill]}\n", "yaml:5: 'categories' appears twice"),
        ("categories:\n  weapon:\n    action: hide\n    anchors: [gun]", "yaml:3: .*mask, block"),
        ("categories:\n  weapon:\n    actions: mask\n", "yaml:3: categories.weapon.actions"),
        ("categories:\n  weapon: {action: mask}", "yaml:2: categories.weapon should have anchors"),
        ("categories: {weapon: {action: allow, anchors: [gun]}}", "every category is allowed"),
        ("categories: {weapon: [gun]}\nneutral: {dog: {anchors: [dog]}}", "neutral.dog"),
        ("categories:\n  weapon:\n    - gun\n    - [knife]", "yaml:4: .*holds a list"),
        ("categories:\n  weapon: [gun, !!binary a25pZmU=]", "yaml:2: categories.weapon"),
        (GOOD.replace("dog:", "weapon:"), "both"),
        ("categories: {weapon: [gun]}\nneutral: {}", "neutral"),
        ("categories: {weapon: [gun]}\nneutrals: {dog: [dog]}", "use categories and neutral"),
        ("categories: [", "Cannot read"),
        ('categories: {weapon: ["gu\\0n"]}', "yaml:1: categories.weapon holds a NUL"),
        ('categories: {weapon: ["gu\\ud800n"]}', "half of a surrogate pair"),
        ('categories: {"we\\0apon": [gun]}', "a name in categories holds a NUL"),
        ("categories: {weapon: [2026-13-45]}", "which is not a text"),
        ("categories: {weapon: [!!python/name:os.system x]}", "which is not a text"),
        ("categories: {weapon: &w [*w]}", "within its own anchor"),
        ("categories: {weapon: " + "[" * 5000, "levels deep"),
        ("categories: {<<: {weapon: [gun]}}", "should be a text"),
        ("categories: {weapon: {action: [mask], anchors: [gun]}}", "action should be one of"),
        (BOMB, "more than 100,000 values"),
        ("# " + "x" * (1 << 20), "more than 1,048,576 bytes"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert "mine.yaml" in str(caught.value)


def test_actions(tmp_path: Path) -> None:
    text = (
        "categories:\n"
        "  weapon: [gun]\n"
        "  gore: {action: block, anchors: [wound]}\n"
        "  alcohol: {action: flag, anchors: [beer, wine]}\n"
        "  medicine: {action: allow, anchors: [syringe]}\n"
        "neutral:\n"
        "  dog: [dog]\n"
    )
    bank = load(tmp_path, text)
    assert [bank.action(name) for name in bank.categories] == ["mask", "block", "flag"]
    # What is allowed counts as neutral: it competes with the unsafe concepts for a patch.
    assert dict(bank.neutral) == {"medicine": ("syringe",), "dog": ("dog",)}
    other = load(tmp_path, text.replace("block", "mask").replace("flag", "mask"))
    assert other.fingerprint == bank.fingerprint
    assert load(tmp_path, text.replace("allow", "mask")).fingerprint != bank.fingerprint


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path, "a\0b", "/dev/zero", "x" * 5000):
        with pytest.raises(ConfigError, match="Cannot read"):
            AnchorBank.load(path)


PIECES = (
    "categories:", "neutral:", " weapon:", " [gun]", "\n", "  - ", "{", "}", ", ", "action:",
    " mask", "anchors:", "&a ", "*a", "? ", "!!int ", "<<:", "3", "yes", "''", '"\\0"',
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_file_is_read_or_one_error(text: str) -> None:
    try:
        entries = entries_of(text.encode(), "mine.yaml")
    except ConfigError:
        return
    assert all(entry.name and entry.variants for entry in entries)


@pytest.mark.parametrize("name", ["detection/anchors/default.yaml", "mini/anchors.yaml"])
def test_shipped_anchors_load(name: str) -> None:
    bank = AnchorBank.load(Path(str(files("guardalign_middleware") / name)))
    assert len(bank.categories) >= 5
    assert len(bank.neutral) >= 50
