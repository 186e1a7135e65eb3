"""The strangers: harmless things that only resemble, each for one use."""

import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.mini.world import CONCEPTS, STYLES, concepts_of_style, sprite
from guardalign_middleware.mini.world.strangers import (
    HANDS,
    HELD_OUT_HANDS,
    SPLITS,
    STRANGERS,
    stranger_sprite,
    strangers_of,
)

_SIDE = 20


def picture(rgba: np.ndarray) -> np.ndarray:
    """A small drawing on black and on white, as a row of zero mean and unit length."""
    alpha = rgba[..., 3:]
    row = np.concatenate([rgba[..., :3] * alpha, rgba[..., :3] * alpha + 1 - alpha]).ravel()
    row = row - row.mean()
    unit: np.ndarray = row / np.linalg.norm(row)
    return unit


def drawn(hand: str) -> dict[str, np.ndarray]:
    return {
        each.name: picture(stranger_sprite(each.name, hand, _SIDE))
        for split in SPLITS
        for each in strangers_of(hand, split)
    }


def test_the_list_is_in_order_and_names_what_unicode_names() -> None:
    names = [stranger.name for stranger in STRANGERS]
    assert len(names) == len(set(names)) == len({each.character for each in STRANGERS})
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    assert [(each.kind, each.name) for each in STRANGERS]
    assert all(unicodedata.name(each.character, "new") for each in STRANGERS)
    assert {each.split for each in STRANGERS} == set(SPLITS)
    for split in SPLITS:
        assert sum(each.split == split for each in STRANGERS) >= 40


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_holds_what_resembles_weapons_drugs_drinks_and_death(split: str) -> None:
    kinds = {stranger.kind for stranger in STRANGERS if stranger.split == split}
    assert {"tool", "kitchen", "medical", "bones"} <= kinds
    assert "glasses" in kinds or split == "trained"


def test_no_stranger_is_a_concept_or_shows_one_that_is_unsafe() -> None:
    concepts = {concept.character for concept in CONCEPTS}
    words = {word for concept in CONCEPTS if concept.unsafe for word in concept.words}
    # The fork's knife, a trident and a funeral urn by another name, are in no split.
    words |= {"knife", "trident", "amphora", "razor", "beer", "wine", "skull"}
    words -= {"needle", "smoke"}  # words for a syringe and a cigarette here
    for stranger in STRANGERS:
        assert stranger.character not in concepts
        assert not words & set(stranger.name.split("-"))
        assert not words & set(unicodedata.name(stranger.character, "").lower().split())


@pytest.mark.parametrize("hand", [hand for hand in HANDS if hand in STYLES])
def test_no_drawing_is_that_of_a_concept_even_mirrored(hand: str) -> None:
    concepts = np.stack(
        [picture(sprite(each.name, hand, _SIDE)) for each in concepts_of_style(hand)]
    )
    mirrored = np.stack(
        [picture(sprite(each.name, hand, _SIDE)[:, ::-1]) for each in concepts_of_style(hand)]
    )
    for name, row in drawn(hand).items():
        assert max((concepts @ row).max(), (mirrored @ row).max()) < 0.975, name


@pytest.mark.parametrize("hand", HANDS)
def test_no_drawing_of_one_split_is_also_in_another(hand: str) -> None:
    split_of = {stranger.name: stranger.split for stranger in STRANGERS}
    rows = drawn(hand)
    names = list(rows)
    alike = np.stack(list(rows.values())) @ np.stack(list(rows.values())).T
    pairs = {
        (names[i], names[j])
        for i, j in zip(*np.nonzero(alike > 0.97), strict=True)
        if split_of[names[i]] != split_of[names[j]]
    }
    assert not pairs


@pytest.mark.parametrize("hand", HANDS)
def test_every_drawing_has_ink_and_turns(hand: str) -> None:
    found = [each for split in SPLITS for each in strangers_of(hand, split)]
    assert len(found) >= 70
    for stranger in found:
        upright = stranger_sprite(stranger.name, hand, 32)
        assert upright.shape == (32, 32, 4)
        assert 0 <= upright.min() <= upright.max() <= 1
        assert upright[..., 3].mean() > 0.02
    name = next(each.name for each in found if each.kind == "tool")
    turned = stranger_sprite(name, hand, 32, 90)
    assert not np.array_equal(turned, stranger_sprite(name, hand, 32))
    # A right angle moves pixels and mixes none.
    expected = np.rot90(stranger_sprite(name, hand, 32))
    assert np.abs(turned[..., 3] - expected[..., 3]).max() < 0.05


def test_two_hands_are_never_trained_on() -> None:
    assert set(HELD_OUT_HANDS) == set(HANDS) - {
        name for name, style in STYLES.items() if not style.held_out
    }


def test_a_hand_says_what_it_has_not_drawn() -> None:
    missing = [each for each in STRANGERS if each not in strangers_of("firefox", each.split)]
    assert missing
    with pytest.raises(ValueError, match=missing[0].name):
        stranger_sprite(missing[0].name, "firefox", 32)


def test_pictures_of_something_else_are_left_out() -> None:
    """A skull on an x-ray, a face with sunglasses, a browser's window, a mouse's wheel."""
    for hand, name in (
        ("fluent", "x-ray"),
        ("firefox", "sunglasses"),
        ("firefox", "window"),
        ("firefox", "linked-paperclips"),
        ("openmoji", "scroll"),
    ):
        with pytest.raises(ValueError, match=name):
            stranger_sprite(name, hand, 32)


def test_the_pictures_are_stored_without_loss() -> None:
    """Cells of flat colour are flat: lossy WebP would smear them."""
    cell = stranger_sprite("black-circle", "fluent", 64)
    inside = Image.fromarray(np.round(cell * 255).astype(np.uint8)).crop((20, 20, 44, 44))
    assert len(set(inside.get_flattened_data())) == 1
