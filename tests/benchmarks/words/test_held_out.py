"""The held-out screenshots: all different, unlike those of development, and not edited since."""

import hashlib
from pathlib import Path

import pytest

from benchmarks.words import held_out
from benchmarks.words.held_out.designs import DESIGNS, LOOKS
from benchmarks.words.held_out.screens import held_out_harmless, held_out_orders
from benchmarks.words.held_out.texts import orders, sentences_for_people
from benchmarks.words.orders import LOOK_ALIKES, ORDERS
from benchmarks.words.page import Picture
from benchmarks.words.screens import SCREENS

TABLES = {
    "orders": "22a37a7d6f6d6080160899f8aa141b1d3b74d1b553d470b0cab9c5570be6a025",
    "people": "29a39f6feaef6c82eb5c6dbc668aa9917e17717ff566ef1712400ad18dd7c266",
    "background": "62978aea23f70fa1cd89bd8981adb762931f696979d235cc73fcb80f8cd1b5f1",
}
"""Of the tables as they were when the rules had not been asked about them."""


@pytest.fixture(scope="module", params=[held_out_orders, held_out_harmless])
def pictures(request: pytest.FixtureRequest) -> list[Picture]:
    return list(request.param())


@pytest.mark.parametrize("table", TABLES)
def test_no_sentence_was_changed_after_the_first_measurement(table):
    text = (Path(held_out.__file__).parent / f"{table}.tsv").read_bytes()
    assert hashlib.sha256(text).hexdigest() == TABLES[table]


def test_every_picture_is_another(pictures):
    assert len(pictures) == 160
    assert len({picture.name for picture in pictures}) == 160
    assert len({picture.pixels.tobytes() for picture in pictures}) == 160


def test_every_design_and_look_occurs_and_no_line_leaves_its_picture(pictures):
    assert {picture.design.split(", ")[1] for picture in pictures} == set(LOOKS)
    for picture in pictures:
        for line in picture.lines:
            left, top, right, bottom = line.box
            assert left >= 0
            assert top >= 0
            assert right <= picture.image.width
            assert bottom <= picture.image.height


def test_nothing_is_shared_with_the_screenshots_of_development():
    known = {*ORDERS["development"], *ORDERS["report"]}
    known |= {*LOOK_ALIKES["development"], *LOOK_ALIKES["report"]}
    mine = {text for _, text in (*orders(), *sentences_for_people())}
    assert len(mine) == 320
    assert not mine & known
    assert not set(DESIGNS) & set(SCREENS)
