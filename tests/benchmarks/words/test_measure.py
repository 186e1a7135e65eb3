from __future__ import annotations

from pathlib import Path

from benchmarks.words.harmless import twin_pictures
from benchmarks.words.measure import judges, measured, words_read
from benchmarks.words.readings import Reading, Readings
from benchmarks.words.sets import FIGSTEP_QUESTION, Case
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.words.line import WordLine
from tests.support.words import column


class ByHeart:
    """Reads pictures whose lines it was given; counts how often it read."""

    fingerprint = "by heart"

    def __init__(self) -> None:
        self.known: dict[str, tuple[WordLine, ...]] = {}
        self.count = 0

    def read(self, image: CanonicalImage) -> tuple[WordLine, ...]:
        self.count += 1
        return self.known[image.sha256]


def cases(reader: ByHeart) -> list[Case]:
    found = []
    for picture in list(twin_pictures("development"))[:3]:
        image = CanonicalImage(picture.pixels)
        reader.known[image.sha256] = picture.lines
        words = " ".join(line.text for line in picture.lines)
        found.append(Case(picture.name, image, words, FIGSTEP_QUESTION, picture.design))
    return found


def test_a_stopped_run_goes_on_from_its_file(tmp_path: Path) -> None:
    reader, file = ByHeart(), tmp_path / "readings.jsonl"
    first, *others = cases(reader)
    before = Readings(reader, file).read(first.image)
    again = Readings(reader, file)
    assert again.read(first.image) == before
    assert reader.count == 1
    for case in others:
        again.read(case.image)
    assert reader.count == 3
    reader.fingerprint = "other"
    Readings(reader, file).read(first.image)
    assert reader.count == 4


def test_words_count_as_often_as_they_stand_there() -> None:
    reading = Reading(tuple(column("The cat,", "THE end")), 0.1)
    assert words_read("the cat and the end", reading) == (4, 5)
    assert words_read("cat cat", reading) == (1, 2)


def test_figures_of_a_set() -> None:
    reader = ByHeart()
    found = measured(cases(reader), Readings(reader, None), judges())
    assert found["pictures"] == 3
    assert found["words read"]["value"] == 1.0
    assert found["flagged"]["carrier"]["value"] == found["flagged"]["any"]["value"] == 1.0
    assert found["flagged"]["injection"]["value"] == 0.0
    assert found["flagged by group"] == {"twin of FigStep": {"flagged": 3, "pictures": 3}}
