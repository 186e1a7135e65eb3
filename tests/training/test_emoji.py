"""Emoji from packages of icon sets."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.mini.world import CONCEPTS, concepts_of_style
from training import emoji
from training.emoji import PACKAGES, draw_emoji

CONCEPT = {concept.name: concept for concept in CONCEPTS}
RED, BLUE = '<path fill="#f00" d="M{0} 0h8v16H{0}z"/>', '<path fill="#00f" d="M0 0h32v8H0z"/>'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Packages of two icon sets: one names a picture with hyphens, one without."""

    def write(package: str, file: str, content: object) -> None:
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / file).write_text(json.dumps(content))

    icons = {"crossed-swords": {"body": RED.format(0)}, "bow": {"body": RED.format(8)}}
    write("twemoji", "icons.json", {"icons": icons})
    write("twemoji", "chars.json", {"2694": "crossed-swords", "1f3f9": "bow-and-arrow"})
    squeezed = {"crossedswords": {"body": BLUE, "width": 32}, "bow": {"body": BLUE}}
    write("fxemoji", "icons.json", {"icons": squeezed, "width": 32, "height": 32})
    monkeypatch.setattr(emoji, "FOLDER", tmp_path)
    emoji._read.cache_clear()
    emoji._sets.cache_clear()
    yield tmp_path
    emoji._read.cache_clear()
    emoji._sets.cache_clear()


@pytest.mark.usefixtures("folder")
def test_a_picture_is_found_by_its_short_name_and_fills_the_square_its_set_gives() -> None:
    swords = draw_emoji("twemoji", CONCEPT["swords"])
    assert swords is not None
    pixels = np.asarray(swords)
    half = pixels.shape[0] // 2
    assert (pixels[:, :half] == (255, 0, 0, 255)).all()
    assert not pixels[:, half:, 3].any()

    swords = draw_emoji("firefox", CONCEPT["swords"])
    assert swords is not None
    pixels = np.asarray(swords)
    quarter = pixels.shape[0] // 4
    assert (pixels[:quarter] == (0, 0, 255, 255)).all()
    assert not pixels[quarter:, :, 3].any()


def test_the_own_table_of_a_set_goes_before_the_short_names_of_another(folder: Path) -> None:
    own = {"2694-fe0f": "bow"}
    (folder / "fxemoji" / "chars.json").write_text(json.dumps(own))
    swords, bow = (draw_emoji("firefox", CONCEPT[name]) for name in ("swords", "bow"))
    assert bow is None  # left out
    assert swords is not None
    # Not the squeezed picture that the other set's short name leads to.
    assert np.asarray(swords)[: swords.height // 4, :, 3].all()


@pytest.mark.usefixtures("folder")
def test_a_picture_is_found_by_the_concept_or_not_at_all() -> None:
    assert draw_emoji("twemoji", CONCEPT["bow"]) is not None
    assert draw_emoji("twemoji", CONCEPT["axe"]) is None


@pytest.mark.usefixtures("folder")
def test_a_picture_of_something_else_of_that_name_is_left_out() -> None:
    assert draw_emoji("firefox", CONCEPT["bow"]) is None


@pytest.mark.parametrize("style", PACKAGES)
def test_the_atlases_leave_out_the_same(style: str) -> None:
    left_out = set(emoji._LEFT_OUT.get(style, ()))
    assert not left_out & {concept.name for concept in concepts_of_style(style)}
