from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_image
from tests.support.pictures import encode, gradient

BACKGROUND = (10, 200, 90)
POLICY = IntakePolicy(background=BACKGROUND)


def pixels_of(data: bytes | Image.Image) -> np.ndarray:
    return load_image(data, POLICY).pixels


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
    def test_the_picture_stands_upright_once(self, orientation: int, image_format: str) -> None:
        options = {"lossless": True} if image_format == "WEBP" else {}
        data = encode(gradient(), image_format, exif=exif(orientation), **options)
        with Image.open(BytesIO(data)) as opened:
            upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        np.testing.assert_array_equal(pixels_of(data), upright)
        np.testing.assert_array_equal(pixels_of(Image.open(BytesIO(data))), upright)

    def test_an_upright_copy_is_not_turned_again(self) -> None:
        with Image.open(BytesIO(encode(gradient(), exif=exif(6)))) as opened:
            upright = ImageOps.exif_transpose(opened)
        np.testing.assert_array_equal(pixels_of(upright), np.asarray(upright))

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    @pytest.mark.parametrize("block", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\xff\xff"])
    def test_an_unreadable_block_means_upright(self, block: bytes) -> None:
        plain = encode(gradient(), "JPEG")
        np.testing.assert_array_equal(
            pixels_of(encode(gradient(), "JPEG", exif=block)), pixels_of(plain)
        )


class TestTransparency:
    def test_hidden_colours_stay_hidden(self) -> None:
        hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
        assert (pixels_of(encode(hidden)) == BACKGROUND).all()

    def test_half_transparent_is_half_background(self) -> None:
        half = Image.new("RGBA", (4, 4), (110, 100, 190, 128))
        np.testing.assert_allclose(pixels_of(encode(half))[0, 0], (60, 150, 140), atol=1)

    def test_a_transparent_palette_entry(self) -> None:
        picture = Image.new("P", (2, 1))
        picture.putpalette([255, 0, 0, 0, 0, 255])
        picture.putdata([0, 1])
        shown = pixels_of(encode(picture, transparency=0))
        assert shown.tolist() == [[list(BACKGROUND), [0, 0, 255]]]

    @pytest.mark.parametrize(
        ("mode", "clear", "other"), [("L", 7, 9), ("1", 0, 1), ("RGB", (1, 2, 3), (4, 5, 6))]
    )
    def test_a_transparent_colour(self, mode: str, clear: Any, other: Any) -> None:
        picture = Image.new(mode, (2, 1), clear)
        picture.putpixel((1, 0), other)
        shown = pixels_of(encode(picture, transparency=255 * clear if mode == "1" else clear))
        expected = picture.convert("RGB").getpixel((1, 0))
        assert tuple(shown[0, 0]) == BACKGROUND
        assert tuple(shown[0, 1]) == expected

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa"])
    def test_every_mode_with_alpha(self, mode: str) -> None:
        straight = Image.new("RGBA", (2, 2), (200, 200, 200, 0))
        via = straight.convert("LA") if mode == "La" else straight
        assert (pixels_of(via.convert(mode)) == BACKGROUND).all()

    def test_a_palette_with_alpha(self) -> None:
        picture = Image.new("PA", (2, 2))
        picture.putalpha(0)
        assert (pixels_of(picture) == BACKGROUND).all()


class TestDeepPixels:
    @pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
    def test_sixteen_bits_are_scaled_and_not_cut(self, image_format: str) -> None:
        values = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
        shown = pixels_of(encode(Image.fromarray(values), image_format))
        assert shown[0, :, 0].tolist() == np.rint(values[0] / 257).astype(int).tolist()
        assert (shown == shown[..., :1]).all()

    def test_twelve_bits_have_a_white_of_their_own(self) -> None:
        levels = np.array([[0, 2048, 4095, 16]], dtype=np.uint16)
        shown = pixels_of(twelve_bit_tiff(levels))
        assert shown[0, :, 0].tolist() == [0, 128, 255, 1]

    def test_a_transparent_grey_of_sixteen_bits(self) -> None:
        values = np.array([[1000, 40000]], dtype=np.uint16)
        shown = pixels_of(encode(Image.fromarray(values), transparency=1000))
        assert tuple(shown[0, 0]) == BACKGROUND
        assert shown[0, 1].tolist() == [156, 156, 156]

    @pytest.mark.parametrize("kind", [np.float32, np.int32])
    def test_pixels_without_a_white_are_refused(self, kind: type) -> None:
        data = encode(Image.fromarray(np.ones((4, 4), dtype=kind)), "TIFF")
        with pytest.raises(ImageRejected) as caught:
            load_image(data)
        assert caught.value.reason == "unsupported_mode"


class TestColourSpaces:
    def test_cmyk(self) -> None:
        ink = Image.new("CMYK", (2, 2), (0, 255, 255, 0))
        np.testing.assert_allclose(pixels_of(encode(ink, "TIFF"))[0, 0], (255, 0, 0), atol=2)

    @pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "RGBX"])
    def test_plain_modes_are_as_pillow_converts_them(self, mode: str) -> None:
        picture = gradient().convert(mode)
        np.testing.assert_array_equal(pixels_of(picture), np.asarray(picture.convert("RGB")))

    def test_lab_is_refused(self) -> None:
        with pytest.raises(ImageRejected) as caught:
            load_image(Image.new("LAB", (4, 4)))
        assert caught.value.reason == "unsupported_mode"

    def test_the_profile_of_the_file_is_applied(self) -> None:
        # A profile whose primaries are those of sRGB with red and blue exchanged.
        swapped = swapped_profile()
        red = Image.new("RGB", (2, 2), (255, 0, 0))
        shown = pixels_of(encode(red, icc_profile=swapped))
        np.testing.assert_allclose(shown[0, 0], (0, 0, 255), atol=3)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
    @pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
    def test_a_profile_for_grey_takes_no_colour_away(self, mode: str, image_format: str) -> None:
        if (mode, image_format) == ("CMYK", "PNG"):
            return
        picture = gradient().convert(mode)
        data = encode(picture, image_format, icc_profile=grey_profile())
        np.testing.assert_array_equal(pixels_of(data), np.asarray(picture.convert("RGB")))

    @pytest.mark.parametrize("mode", ["L", "LA"])
    def test_a_profile_for_grey_is_applied_to_grey(self, mode: str) -> None:
        picture = Image.new("L", (2, 2), 64).convert(mode)
        shown = pixels_of(encode(picture, icc_profile=grey_profile()))
        # The levels of the profile are linear: 64/255 is 0.537 in sRGB.
        np.testing.assert_allclose(shown, 137, atol=2)

    def test_a_transparent_grey_keeps_its_profile(self) -> None:
        picture = Image.new("L", (2, 1), 64)
        picture.putpixel((0, 0), 7)
        shown = pixels_of(encode(picture, icc_profile=grey_profile(), transparency=7))
        assert tuple(shown[0, 0]) == BACKGROUND
        np.testing.assert_allclose(shown[0, 1], 137, atol=2)

    def test_alpha_survives_the_profile(self) -> None:
        clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
        clear.putpixel((1, 0), (255, 0, 0, 255))
        shown = pixels_of(encode(clear, icc_profile=swapped_profile()))
        assert tuple(shown[0, 0]) == BACKGROUND
        np.testing.assert_allclose(shown[0, 1], (0, 0, 255), atol=3)

    def test_the_profile_of_srgb_changes_nothing(self) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        shown = pixels_of(encode(gradient(), icc_profile=profile)).astype(int)
        assert np.abs(shown - np.asarray(gradient())).max() <= 1

    @pytest.mark.parametrize("picture", [gradient(), gradient().convert("CMYK")])
    def test_a_senseless_profile_is_ignored(self, picture: Image.Image) -> None:
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        for profile in (b"no profile at all", lab):
            data = encode(picture, "TIFF", icc_profile=profile)
            np.testing.assert_array_equal(pixels_of(data), np.asarray(picture.convert("RGB")))


def test_the_callers_picture_is_left_alone() -> None:
    picture = Image.new("RGBA", (3, 2), (1, 2, 3, 100))
    before = picture.tobytes()
    load_image(picture, POLICY)
    assert (picture.mode, picture.tobytes()) == ("RGBA", before)


def test_damage_that_only_warns_is_refused_where_warnings_are_errors() -> None:
    data = encode(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    with pytest.raises(ImageRejected) as caught:
        load_image(data)
    assert caught.value.reason == "corrupt"


def twelve_bit_tiff(levels: np.ndarray) -> bytes:
    """One row of an even number of grey pixels, two in three bytes."""
    pairs = levels.reshape(-1, 2).tolist()
    strip = b"".join(((left << 12) | right).to_bytes(3, "big") for left, right in pairs)
    fields = [(256, levels.size), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8)]
    fields += [(277, 1), (278, 1), (279, len(strip))]
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + struct.pack("<I", 0)


def swapped_profile() -> bytes:
    """sRGB's own profile with the tags of its red and blue primaries exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    head, tags = profile[:132], profile[132:]
    count = int.from_bytes(profile[128:132], "big")
    table, rest = tags[: 12 * count], tags[12 * count :]
    exchanged = table.replace(b"rXYZ", b"tmp_").replace(b"bXYZ", b"rXYZ").replace(b"tmp_", b"bXYZ")
    return head + exchanged + rest


def grey_profile() -> bytes:
    """A display profile for grey with linear levels."""
    white = struct.pack(">4s4x3i", b"XYZ ", *(round(one * 65536) for one in (0.9642, 1.0, 0.8249)))
    curve = struct.pack(">4s4xI", b"curv", 0)
    text = b"desc\0\0\0\0\0\0\0\x05grey\0".ljust(104, b"\0")
    bodies = {b"desc": text, b"wtpt": white, b"kTRC": curve}
    table, data, place = b"", b"", 132 + 12 * len(bodies)
    for name, body in bodies.items():
        table += struct.pack(">4sII", name, place + len(data), len(body))
        data += body
    head = struct.pack(
        ">I4sI4s4s4s12x4s40x", place + len(data), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ",
        b"acsp",
    )  # fmt: skip
    # The illuminant of the connection space stands at a fixed place.
    head = head.ljust(128, b"\0")
    head = head[:68] + white[8:] + head[80:128]
    return head + struct.pack(">I", len(bodies)) + table + data
