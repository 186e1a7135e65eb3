"""Pictures give their pixels up and get the same ones back."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.canonical import CanonicalImage, Pixels, packed
from guardalign_middleware.encode import scaled
from guardalign_middleware.errors import GuardError
from guardalign_middleware.intake import load_frames, load_image
from guardalign_middleware.pixel_memory import MEMORY, PixelMemory
from guardalign_middleware.sanitize import mask_regions
from tests.support.pictures import encode, gradient


class Picture:
    """A picture that notes whether it has pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.held = True

    def release(self) -> None:
        self.held = False


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    again=st.lists(st.integers(0, 19), max_size=20),
)
def test_the_memory_keeps_its_bound_and_the_latest(sizes: list[int], again: list[int]) -> None:
    memory = PixelMemory(12)
    pictures = [Picture(size, 1) for size in sizes]
    for picture in [*pictures, *(pictures[index % len(pictures)] for index in again)]:
        picture.held = True
        memory.hold(picture)
        held = sum(each.width for each in pictures if each.held and _is_known(memory, each))
        assert picture.held
        assert memory.pixels == held
        assert held <= max(12, picture.width)


def _is_known(memory: PixelMemory, picture: Picture) -> bool:
    return id(picture) in memory._held


def test_a_picture_that_is_gone_takes_no_room() -> None:
    memory = PixelMemory(100)
    memory.hold(Picture(9, 9))
    assert memory.pixels == 0


def without_pixels(image: CanonicalImage) -> CanonicalImage:
    assert "pixels" in vars(image)
    image.release()
    assert "pixels" not in vars(image)
    return image


def test_pixels_come_back_the_same_whatever_the_picture_is_of() -> None:
    file = load_image(encode(gradient(30, 20)))
    drawn = load_image(gradient(30, 20))
    made = [file, drawn, scaled(file, 0.5), mask_regions(file, [(1, 2, 9, 8)]), file.named("a")]
    for image in made:
        before = image.pixels.copy()
        width, height = image.width, image.height
        without_pixels(image)
        assert (image.width, image.height) == (width, height)
        assert np.array_equal(image.pixels, before)
        assert not image.pixels.flags.writeable


def test_a_changed_copy_outlives_the_pixels_of_its_original() -> None:
    file = load_image(encode(gradient(30, 20)))
    masked = mask_regions(file, [(1, 2, 9, 8)])
    expected = masked.pixels.copy()
    without_pixels(masked)
    without_pixels(file)
    assert np.array_equal(masked.pixels, expected)


def test_other_pixels_than_were_scanned_are_a_fault() -> None:
    other = np.zeros((4, 4, 3), dtype=np.uint8)

    def again() -> Pixels:
        return other + 1

    image = CanonicalImage(other, again=again)
    without_pixels(image)
    with pytest.raises(GuardError, match="other pixels") as fault:
        _ = image.pixels
    assert fault.value.stage == "intake"


def test_copies_and_pickles_have_their_pixels() -> None:
    image = load_image(encode(gradient(8, 8)))
    for copied in (copy.deepcopy(image), pickle.loads(pickle.dumps(image))):
        assert np.array_equal(copied.pixels, image.pixels)
        assert copied.again is None
    with pytest.raises(AttributeError, match="shape"):
        _ = image.shape  # type: ignore[attr-defined]


def test_a_picture_of_the_program_keeps_its_pixels() -> None:
    image = CanonicalImage(np.zeros((4, 4, 3), dtype=np.uint8))
    image.release()
    assert "pixels" in vars(image)


def test_pictures_without_a_file_are_packed() -> None:
    pixels = np.asarray(gradient(40, 30)).copy()
    image = CanonicalImage(pixels, again=packed)
    without_pixels(image)
    assert np.array_equal(image.pixels, pixels)


def test_everything_that_is_loaded_can_be_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, "_most", 150)
    pictures = [load_image(encode(gradient(10, height))) for height in range(5, 12)]
    pictures += load_frames(gradient(10, 10))
    held = [image for image in pictures if "pixels" in vars(image)]
    assert sum(image.width * image.height for image in held) <= 150
    for image in pictures:
        assert image.pixels.shape == (image.height, image.width, 3)
