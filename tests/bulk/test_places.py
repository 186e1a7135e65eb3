"""Places of cleaned copies: each input has its own, and ordinary names keep theirs."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest

from guardalign_middleware.bulk import places
from guardalign_middleware.bulk.entries import Inputs, find_inputs
from guardalign_middleware.bulk.places import claim_of, distinct, with_ending
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError

URL = "data:image/png;base64,"
TYPES = ("image/jpeg", "image/png", "image/webp")


def placed(*paths: str, copied: dict[str, str] | None = None) -> list[set[str]]:
    """Where the copy of each input can be, in any format or as a folder of frames."""
    found, stems = distinct(find_inputs(paths, [], IntakePolicy()), copied or {})
    return [
        {place, *(with_ending(place, stems.get(place, place), kind) for kind in TYPES)}
        for _, place in found.files
    ]


def apart(places: list[set[str]]) -> bool:
    """Whether none has a place of another one, or one below it."""
    return all(
        one != other and not one.startswith(f"{other}/") and not other.startswith(f"{one}/")
        for mine, others in combinations(places, 2)
        for one in mine
        for other in others
    )


@pytest.mark.parametrize(
    "paths",
    [
        ("-", f"{URL}a", f"{URL}b", "image", "image-3.png", "image-2/a.png"),
        ("photo.tiff", "photo.tiff.jpg", "photo.tiff-2.png", "photo.tiff-3/x.gif"),
        ("photo.tiff.png", "photo.tiff", "photo", "photo.jpg", "photo.jpg.webp", "photo-2"),
        ("a", "a-2", "a.png", "a-2.jpg", "a-3"),
        ("x/a.heic", "x/a.heic.jpg/b.png", "y/a.heic.jpg"),
    ],
)
def test_no_two_inputs_share_a_place(paths: tuple[str, ...]) -> None:
    assert apart(placed(*paths))
    assert apart(placed(*reversed(paths)))


def test_ordinary_names_keep_theirs(tmp_path: Path) -> None:
    names = ["a.jpg", "a.jpg.png", "b/a.jpg", "b/c.tiff", "d"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"GIF89a" + bytes(64))
    inputs = find_inputs([str(tmp_path)], [], IntakePolicy())
    found, stems = distinct(inputs, {})
    assert (found, stems) == (inputs, {"a.jpg": "a.jpg-2"})
    assert [place for _, place in found.files] == names
    assert with_ending("a.jpg", "a.jpg-2", "image/jpeg") == "a.jpg"
    assert with_ending("b/c.tiff", "b/c.tiff", "image/jpeg") == "b/c.tiff.jpg"


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        ("/data/x.jpg", "data/x.jpg", "data/x.jpg"),
        ("../x.jpg", "up/x.jpg", "up/x.jpg"),
        ("/s.tar", "s.tar", "s.tar"),
        ("s.tar", "/s.tar.parts/0.png", "s.tar.parts"),
        ("/a.gif", "a.gif/1.png", "a.gif"),
        ("a.gif/1.png", "/a.gif", "a.gif"),
    ],
)
def test_files_in_each_others_way_are_refused(one: str, other: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        placed("b.png", one, other)
    assert str(caught.value).endswith("for each.")
    for name in (f" {one} ", f" {other} ", f" {place}."):
        assert name in str(caught.value)


def test_one_file_may_be_named_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(placed("a.png", "./a.png", "a.png", "s.tar", "./s.tar")) == 5
    monkeypatch.chdir("/")
    assert len(placed("data/x.png", "/data/x.png")) == 2


def test_a_place_is_below_the_folder_of_copies() -> None:
    for path in ("//data/x.jpg", "/data/x.jpg", "../../x.jpg", "a/../../../x.jpg"):
        ((_, place),) = find_inputs([path], [], IntakePolicy()).files
        assert not os.path.isabs(place)
        assert ".." not in Path(place).parts


class TestEarlierCopies:
    def test_they_are_not_written_over(self) -> None:
        copied = {"photo.jpg": "a/photo", "image.png": "-", "moving.gif": "/moving.gif"}
        found = placed("photo", "-", copied=copied)
        assert not set.union(*found) & copied.keys()
        for path in ("photo.jpg", "moving.gif", "photo.jpg/x.png"):
            with pytest.raises(ConfigError, match="would overwrite each other"):
                placed(path, copied=copied)

    def test_their_own_input_keeps_its_place(self) -> None:
        copied = {"a.tiff.jpg": "a.tiff", "s.tar": "s.tar", "b.png": "b.png"}
        assert placed("a.tiff", "s.tar", "b.png", copied=copied) == placed(
            "a.tiff", "s.tar", "b.png"
        )

    @pytest.mark.parametrize(
        ("record", "claim"),
        [
            ({"source": "a.tiff", "copy": "x/a.tiff.jpg"}, ("x/a.tiff.jpg", "a.tiff")),
            (
                {"source": "a.gif", "frame": 1, "frames": 2, "copy": "x/a.gif/1.png"},
                ("x/a.gif", "a.gif"),
            ),
            (
                {"source": "a.pdf", "page": 1, "pages": 1, "copy": "a.pdf.png"},
                ("a.pdf.png", "a.pdf"),
            ),
            (
                {"source": "./s.tar!a.png", "shard": "./s.tar", "copy": "s.tar.parts/12"},
                ("s.tar", "./s.tar"),
            ),
            (
                {"source": "s.tar!s.tar!a", "shard": "s.tar!s.tar", "copy": "s.tar!s.tar.parts/1"},
                ("s.tar!s.tar",) * 2,
            ),
            ({"source": "s.tar!a.png", "copy": "s.tar!a.png"}, ("s.tar!a.png",) * 2),
            ({"source": "a.png", "copy": None}, None),
            ({"source": "a.png", "error": "no"}, None),
        ],
    )
    def test_what_a_line_takes(
        self, record: dict[str, object], claim: tuple[str, str] | None
    ) -> None:
        assert claim_of(record) == claim


def test_thousands_without_a_name_take_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    with_endings = places._with_endings

    def counted(stem: str) -> list[str]:
        tried.append(stem)
        return with_endings(stem)

    monkeypatch.setattr(places, "_with_endings", counted)
    found, _ = distinct(Inputs(tuple((f"{URL}{n}", "image") for n in range(2_000))), {})
    assert len({place for _, place in found.files}) == len(tried) == 2_000
