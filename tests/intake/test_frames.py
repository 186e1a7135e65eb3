from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import GifImagePlugin, Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_frames, load_image
from tests.support.pictures import encode, gradient

ALL = IntakePolicy(frames="scan_all")
COLOURS = [(0, 255, 0), (255, 0, 0), (0, 0, 255)]
FORMATS = ["GIF", "PNG", "WEBP", "TIFF", "MPO"]


def several(image_format: str, count: int = 3, size: tuple[int, int] = (24, 16)) -> bytes:
    frames = [Image.new("RGB", size, COLOURS[index % 3]) for index in range(count)]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    if image_format == "WEBP":
        options["lossless"] = True
    return encode(frames[0], image_format, **options)


def rejected(source: object, policy: IntakePolicy = ALL) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        load_frames(source, policy)  # type: ignore[arg-type]
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("image_format", FORMATS)
class TestEveryFormat:
    def test_every_frame_is_given_in_order(self, image_format: str) -> None:
        images = load_frames(several(image_format), ALL)
        assert [image.source for image in images] == ["<bytes>#1", "<bytes>#2", "<bytes>#3"]
        for image, colour in zip(images, COLOURS, strict=True):
            assert np.abs(image.pixels.astype(int) - colour).max() <= 2

    def test_they_are_refused_by_default(self, image_format: str) -> None:
        error = rejected(several(image_format), IntakePolicy())
        assert error.reason == "multiple_frames"
        assert "scan_all" in error.remedy

    def test_one_image_is_never_one_of_several_frames(self, image_format: str) -> None:
        with pytest.raises(ImageRejected) as caught:
            load_image(several(image_format), ALL)
        assert caught.value.reason == "multiple_frames"

    def test_all_of_them_or_none(self, image_format: str) -> None:
        data = several(image_format)
        assert len(load_frames(data, IntakePolicy(frames="scan_all", max_frames=3))) == 3
        error = rejected(data, IntakePolicy(frames="scan_all", max_frames=2))
        assert error.reason == "too_many_frames"
        assert "intake.max_frames" in error.remedy

    def test_the_pixels_of_all_frames_count_together(self, image_format: str) -> None:
        data = several(image_format)
        enough = 3 * 24 * 16
        exact = IntakePolicy(frames="scan_all", max_total_pixels=enough)
        assert len(load_frames(data, exact)) == 3
        error = rejected(data, IntakePolicy(frames="scan_all", max_total_pixels=enough - 1))
        assert error.reason == "too_many_pixels"
        assert "intake.max_total_pixels" in error.remedy


@pytest.mark.parametrize("policy", [ALL, IntakePolicy()])
def test_one_frame_is_one_image_as_always(policy: IntakePolicy) -> None:
    data = encode(gradient())
    for source in (data, gradient(), load_image(data)):
        (image,) = load_frames(source, policy)
        assert image.sha256 == load_image(data).sha256
        assert "#" not in image.source


def test_pages_may_differ_in_size_and_mode_but_not_leave_the_caps() -> None:
    pages = [
        gradient(30, 20),
        Image.new("L", (8, 40), 7),
        Image.new("RGBA", (5, 5), (255, 0, 0, 0)),
    ]
    data = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    images = load_frames(data, ALL)
    assert [(image.width, image.height) for image in images] == [(30, 20), (8, 40), (5, 5)]
    assert (images[1].pixels == 7).all()
    assert (images[2].pixels == 255).all()
    thin = encode(pages[0], "TIFF", save_all=True, append_images=[Image.new("L", (1, 101))])
    assert rejected(thin).reason == "extreme_aspect"
    large = IntakePolicy(frames="scan_all", max_pixels=600)
    big = encode(pages[0], "TIFF", save_all=True, append_images=[Image.new("L", (30, 21))])
    assert rejected(big, large).reason == "too_many_pixels"


def test_frames_are_what_a_viewer_shows_and_not_the_parts_that_changed() -> None:
    changed = gradient()
    changed.paste((255, 0, 0), (0, 0, 4, 4))
    data = encode(gradient(), "PNG", save_all=True, append_images=[changed])
    shown = load_frames(data, ALL)
    np.testing.assert_array_equal(shown[1].pixels, np.asarray(changed))


def test_the_still_picture_of_an_animation_is_a_frame_too() -> None:
    red = Image.new("RGB", (24, 16), (255, 0, 0))
    data = encode(gradient(), "PNG", save_all=True, append_images=[red], default_image=True)
    assert rejected(data, IntakePolicy()).reason == "multiple_frames"
    assert [image.pixels[0, 0].tolist() for image in load_frames(data, ALL)] == [
        [0, 0, 0],
        [255, 0, 0],
    ]


@pytest.mark.parametrize("image_format", ["GIF", "TIFF"])
def test_the_programs_picture_stays_at_its_frame(image_format: str) -> None:
    with Image.open(BytesIO(several(image_format))) as picture:
        picture.seek(1)
        assert len(load_frames(picture, ALL)) == 3
        assert picture.tell() == 1
        assert picture.convert("RGB").getpixel((3, 3)) == COLOURS[1]
        assert rejected(picture, IntakePolicy()).reason == "multiple_frames"


def test_a_damaged_later_frame_spoils_the_file() -> None:
    data = several("WEBP")
    assert rejected(data[: len(data) * 2 // 3]).reason == "corrupt"
    apng = several("PNG")
    assert rejected(apng[: apng.rindex(b"fcTL") - 4]).reason == "corrupt"


def test_fewer_frames_than_promised_spoil_the_file() -> None:
    apng = several("PNG")
    place = apng.index(b"acTL")
    control = b"acTL" + struct.pack(">II", 5, 0)
    changed = control + struct.pack(">I", zlib.crc32(control))
    assert rejected(apng[:place] + changed + apng[place + len(changed) :]).reason == "corrupt"


def test_a_reader_that_gives_fewer_frames_than_it_counts_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GifImagePlugin.GifImageFile, "n_frames", 5)
    assert rejected(several("GIF")).reason == "corrupt"


def test_the_caps_hold_for_each_page_before_it_is_decoded() -> None:
    # There are no pixels behind the second page, so that decoding it could only fail.
    data = tiff((1, 1), (100, 100))
    small = IntakePolicy(frames="scan_all", max_pixels=100)
    assert rejected(data, small).reason == "too_many_pixels"
    assert rejected(data).reason == "corrupt"
    assert rejected(tiff((1, 1), (1, 101))).reason == "extreme_aspect"


def test_a_million_pages_are_not_counted() -> None:
    # Pages without any field: six bytes that lead to the next one.
    data = tiff((1, 1), more=True)
    empty = b"".join(struct.pack("<HI", 0, len(data) + 6 * page) for page in range(1, 1_000_000))
    for policy in (IntakePolicy(), ALL):
        assert rejected(data + empty, policy).reason in {"multiple_frames", "corrupt"}


def tiff(*sizes: tuple[int, int], more: bool = False) -> bytes:
    """Grey pages that all have the same single byte for a strip; the last may lead further."""
    data = b"II*\0" + struct.pack("<I", 16) + b"\0" * 8
    for number, (width, height) in enumerate(sizes, start=1):
        fields = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1)]
        fields += [(278, height), (279, 1)]
        data += struct.pack("<H", len(fields))
        data += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
        data += struct.pack("<I", len(data) + 4 if more or number < len(sizes) else 0)
    return data


SEEDS = [several(image_format, count=2, size=(12, 10)) for image_format in FORMATS]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_gives_images_or_a_typed_error(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 5))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    policy = IntakePolicy(frames="scan_all", max_frames=4, max_pixels=10_000)
    with suppress(ImageRejected):
        assert 1 <= len(load_frames(bytes(file), policy)) <= 4
