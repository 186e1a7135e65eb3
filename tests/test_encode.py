"""Pictures leave in their source's format, about as large as they came, with nothing but pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from guardalign_middleware import encode as encoding
from guardalign_middleware.canonical import CanonicalImage, SourceEncoding
from guardalign_middleware.config import IntakePolicy, OutputConfig
from guardalign_middleware.config.intake import ImageFormat
from guardalign_middleware.encode import FORMATS, Encoded, encode, fitting_scale, scaled
from guardalign_middleware.errors import GuardError
from guardalign_middleware.intake import load_image
from guardalign_middleware.sanitize import mask_regions
from guardalign_middleware.testing import red_config, red_guard
from guardalign_middleware.testing.photos import file_of, photo
from tests.support.hostile_jpegs import COARSE, FINE, with_tables

ALL = IntakePolicy(formats=("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"))
SECRET = b"SECRET-WORDS"
ADOBE = {"keep_rgb": True}


def again(encoded: Encoded) -> CanonicalImage:
    return load_image(encoded.data, ALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 85, "subsampling": 2},
        pytest.param({"quality": 92, "subsampling": 0}, marks=pytest.mark.evidence),
        pytest.param(
            {"quality": 85, "subsampling": 2, "progressive": True, "optimize": True},
            marks=pytest.mark.evidence,
        ),
    ],
)
def test_a_photo_of_12_megapixels_leaves_as_large_as_it_came(options: dict[str, Any]) -> None:
    file = file_of(photo(4000, 3000), "JPEG", **options)
    encoded = encode(load_image(file))
    assert encoded.mime_type == "image/jpeg"
    assert len(encoded.data) <= 1.15 * len(file)
    assert again(encoded).encoding.quantization == load_image(file).encoding.quantization


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [60, 85, 95])
def test_jpeg_keeps_its_size_its_tables_and_its_looks(
    quality: int, subsampling: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": quality, "subsampling": subsampling, "exif": exif}
    file = file_of(photo(480, 320), "JPEG", **options)
    image = load_image(file)
    encoded = encode(image)
    assert len(encoded.data) <= 1.1 * len(file)
    shown = again(encoded)
    assert (shown.width, shown.height) == (image.width, image.height)
    # As near to what was scanned as the quality of the source allows.
    drift = np.abs(shown.pixels.astype(int) - image.pixels).mean()
    assert drift < 4.0


def test_a_second_and_third_encoding_lose_little() -> None:
    image = load_image(file_of(photo(480, 320), "JPEG", quality=85))
    first = encode(image)
    third = encode(again(encode(again(first))))
    assert len(third.data) <= 1.02 * len(first.data)
    drift = np.abs(again(third).pixels.astype(int) - image.pixels)
    assert drift.mean() < 2.0


def test_a_grey_jpeg_stays_grey_until_a_colour_is_in_it() -> None:
    file = file_of(photo(320, 240).convert("L"), "JPEG", quality=85)
    image = load_image(file)
    encoded = encode(image)
    assert len(encoded.data) <= 1.05 * len(file)
    with Image.open(io.BytesIO(encoded.data)) as picture:
        assert picture.mode == "L"
    pixels = image.pixels.copy()
    pixels[:50] = (255, 0, 0)
    coloured = again(encode(image.with_pixels(pixels)))
    assert abs(coloured.pixels[25, 25].astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("CMYK", {}),
        ("RGB", ADOBE),
        ("RGB", {"quality": 100, "subsampling": 0}),
        ("RGB", {"quality": 1}),
        ("L", {"quality": 100}),
        ("RGB", {"qtables": [[255] * 64]}),
        ("RGB", {"qtables": [[1] * 64, [2] * 64, [3] * 64]}),
    ],
)
def test_uncommon_jpegs_leave_as_jpegs(mode: str, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (97, 61, 3), dtype=np.uint8)
    file = file_of(Image.fromarray(noise).convert(mode), "JPEG", **options)
    encoded = encode(load_image(file))
    assert again(encoded).encoding.image_format == "JPEG"
    assert len(encoded.data) <= 1.3 * len(file)


@given(data=st.data())
@pytest.mark.parametrize("lossless", ["PNG", "WEBP", "GIF", "BMP", "TIFF", None])
def test_what_came_without_loss_leaves_without_loss(
    lossless: str | None, data: st.DataObject
) -> None:
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    colours = data.draw(st.sampled_from([1, 2, 3, 16, 17, 256, 300, 2000]))
    grey = data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    levels = rng.integers(0, 256, (colours, 1 if grey else 3), dtype=np.uint8)
    palette = np.broadcast_to(levels, (colours, 3))
    pixels = np.ascontiguousarray(palette[rng.integers(0, colours, (height, width))])
    source = None if lossless is None else SourceEncoding(lossless, pixels.size)
    encoded = encode(CanonicalImage(pixels, encoding=source))
    assert encoded.mime_type == ("image/webp" if lossless == "WEBP" else "image/png")
    assert (again(encoded).pixels == pixels).all()


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("kind", ["photo", "grey", "palette", "flat", "binary"])
def test_png_is_no_larger_than_the_usual_encoder_makes_it(kind: str, level: int) -> None:
    picture = photo(300, 200)
    picture = {
        "photo": picture,
        "grey": picture.convert("L"),
        "palette": picture.quantize(64),
        "flat": Image.new("RGB", (300, 200), (1, 2, 3)),
        "binary": picture.convert("1"),
    }[kind]
    file = file_of(picture, "PNG", compress_level=level)
    encoded = encode(load_image(file))
    assert encoded.mime_type == "image/png"
    assert len(encoded.data) <= 1.05 * len(file) + 64


def test_a_large_palette_leaves_without_loss() -> None:
    picture = photo(1000, 700).quantize(200)
    image = load_image(file_of(picture, "PNG"))
    encoded = encode(image)
    assert (again(encoded).pixels == image.pixels).all()
    assert len(encoded.data) <= 1.1 * len(image.file)


@pytest.mark.parametrize("quality", [40, 75, 95])
@pytest.mark.parametrize("size", [(300, 200), (1500, 900)])
def test_a_lossy_webp_leaves_as_large_as_it_came(size: tuple[int, int], quality: int) -> None:
    file = file_of(photo(*size), "WEBP", quality=quality)
    image = load_image(file)
    assert image.encoding.lossless is False
    encoded = encode(image)
    assert encoded.mime_type == "image/webp"
    assert len(encoded.data) <= 1.15 * len(file)
    drift = np.abs(again(encoded).pixels.astype(int) - image.pixels).mean()
    assert drift < 6.0


def sticker(side: int) -> Image.Image:
    """Small things of sharp colours, which WebP shows badly."""
    rng = np.random.default_rng(1)
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    for x, y, radius in rng.integers((0, 0, 4), (side, side, side // 10), (60, 3)):
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, tuple(rng.integers(0, 256, 3).tolist()), "black", width=2)
    return picture


@pytest.mark.parametrize("quality", [20, 40])
def test_a_webp_that_must_grow_stays_a_webp(quality: int) -> None:
    file = file_of(sticker(128), "WEBP", quality=quality)
    encoded = encode(load_image(file))
    assert encoded.mime_type == "image/webp"
    assert len(encoded.data) <= 1.6 * len(file)


def test_a_poor_photo_that_was_turned_grows_little() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    # Rough, as leaves and roofs are.
    noise = np.random.default_rng(0).normal(0, 35, (221, 333, 3))[..., :1]
    pixels = np.clip(np.asarray(photo(333, 221)) + noise, 0, 255).astype(np.uint8)
    file = file_of(Image.fromarray(pixels), "JPEG", quality=30, exif=exif)
    image = load_image(file)
    encoded = encode(image)
    assert len(encoded.data) <= 1.5 * len(file)
    assert farthest(image.pixels, encoded) <= (14, 6)


def test_a_lossless_webp_leaves_about_as_large_as_it_came() -> None:
    file = file_of(photo(400, 300), "WEBP", lossless=True)
    image = load_image(file)
    encoded = encode(image)
    assert len(encoded.data) <= 1.15 * len(file)
    assert (again(encoded).pixels == image.pixels).all()


def test_formats_that_not_every_provider_takes_become_png_or_jpeg() -> None:
    picture = photo(400, 300)
    for image_format, options, kind in (
        ("GIF", {}, "image/png"),
        ("BMP", {}, "image/png"),
        ("TIFF", {}, "image/png"),
        ("TIFF", {"compression": "jpeg"}, "image/jpeg"),
        ("AVIF", {"quality": 80}, "image/jpeg"),
    ):
        file = file_of(picture, image_format, **options)
        encoded = encode(load_image(file, ALL))
        assert encoded.mime_type == kind, image_format
        if image_format != "AVIF":
            assert len(encoded.data) <= 1.1 * len(file), image_format


def metadata_of(image_format: str) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    common: dict[str, Any] = {"exif": exif}
    if image_format in {"JPEG", "PNG", "TIFF"}:
        common["dpi"] = (301, 301)
    if image_format in {"JPEG", "WEBP"}:
        common["xmp"] = b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
    if image_format == "JPEG":
        common["comment"] = SECRET
    return common


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_nothing_but_the_pixels_leaves(image_format: str) -> None:
    file = file_of(photo(64, 48), image_format, **metadata_of(image_format)) + SECRET
    assert SECRET in file
    encoded = encode(load_image(file))
    assert SECRET not in encoded.data
    with Image.open(io.BytesIO(encoded.data)) as picture:
        picture.load()
        assert not picture.getexif()
        assert not set(picture.info) & {"comment", "xmp", "exif", "icc_profile", "dpi_x"}
    last = {"image/jpeg": b"\xff\xd9", "image/png": b"IEND\xaeB`\x82"}.get(encoded.mime_type)
    assert last is None or encoded.data.endswith(last)


def test_a_masked_picture_leaves_in_its_sources_format_and_never_as_the_original() -> None:
    file = file_of(photo(320, 240), "JPEG", quality=85)
    image = load_image(file)
    masked = mask_regions(image, [(10, 10, 200, 200)])
    assert masked.file is None
    encoded = encode(masked, OutputConfig(original=True))
    assert encoded.mime_type == "image/jpeg"
    assert len(encoded.data) <= len(file)
    inside = again(encoded).pixels[20:190, 20:190].astype(int)
    assert np.abs(inside - 127).max() <= 3


def test_original_forwards_the_bytes() -> None:
    file = file_of(photo(64, 48), "GIF") + SECRET
    encoded = encode(load_image(file), OutputConfig(original=True))
    assert encoded.data is file
    assert encoded.mime_type == "image/gif"


def test_what_exceeds_the_cap_becomes_a_jpeg_that_does_not() -> None:
    sizes = set()
    for most in (60_000, 30_000, 20_000):
        output = OutputConfig(max_bytes=most)
        image = CanonicalImage(np.asarray(photo(480, 320).filter(ImageFilter.GaussianBlur(1))))
        assert fitting_scale(image, output) == 1.0
        encoded = encode(image, output)
        assert encoded.mime_type == "image/jpeg"
        assert len(encoded.data) <= output.max_bytes
        assert (encoded.width, encoded.height, encoded.resized) == (480, 320, False)
        assert farthest(image.pixels, encoded) <= (14, 6)
        sizes.add(len(encoded.data))
    assert len(sizes) == 3


def test_a_png_that_is_far_too_large_is_not_encoded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_as_its_source", None)
    image = CanonicalImage(np.asarray(photo(900, 900)))
    encoded = encode(image, OutputConfig(max_bytes=250_000))
    assert encoded.mime_type == "image/jpeg"
    assert len(encoded.data) <= 250_000


def test_what_even_a_poor_jpeg_cannot_hold_is_scaled_once_and_says_so() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    image, output = CanonicalImage(noise), OutputConfig(max_bytes=10_000)
    with pytest.raises(GuardError, match=r"output\.max_bytes"):
        encode(image, output)
    small = scaled(image, fitting_scale(image, output))
    assert small.width < 500
    assert small.scaled_from == (500, 400)
    encoded = encode(small, output)
    assert len(encoded.data) <= output.max_bytes
    assert encoded.resized


def test_a_pattern_that_is_small_as_png_is_not_scaled() -> None:
    row = np.random.default_rng(1).integers(0, 2, (1, 2000, 3), dtype=np.uint8) * 255
    image = CanonicalImage(np.repeat(row, 500, axis=0))
    output = OutputConfig(max_bytes=50_000)
    assert fitting_scale(image, output) == 1.0
    assert encode(image, output).mime_type == "image/png"


@pytest.mark.parametrize("formats", [FORMATS, ("WEBP",), ("PNG",)])
@pytest.mark.parametrize("colours", [3, 100_000])
@pytest.mark.parametrize(("width", "height"), [(150, 130), (700, 60), (900, 850)])
def test_what_fits_shows_every_pattern_of_noise(
    width: int, height: int, colours: int, formats: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    image = CanonicalImage(levels[rng.integers(0, colours, (height, width))])
    output = OutputConfig(max_bytes=20_000)
    small = scaled(image, fitting_scale(image, output, formats))
    encoded = encode(small, output, formats)
    assert len(encoded.data) <= output.max_bytes
    assert farthest(small.pixels, encoded) <= (14, 6)
    assert small.width >= width / 10


def farthest(pixels: np.ndarray, encoded: Encoded) -> tuple[float, float]:
    """Of all blocks and channels: the largest mean difference of pixels, and of the means."""
    written = np.asarray(Image.open(io.BytesIO(encoded.data)).convert("RGB"))
    height, width = pixels.shape[:2]
    side = max(8, min(min(height, width) // 8, 32))
    differences, shifts = [0.0], [0.0]
    for top in range(0, height, side):
        for left in range(0, width, side):
            block = (slice(top, top + side), slice(left, left + side))
            difference = written[block].astype(float) - pixels[block]
            differences.append(np.abs(difference).mean(axis=(0, 1)).max())
            shifts.append(np.abs(difference.mean(axis=(0, 1))).max())
    # Compared in whole levels, to which Pillow rounds means: 14 2/3 of three pixels becomes 14.
    return max(differences) - 2 / 3, max(shifts) - 4 / 3


FINE_OR_NOT = st.lists(st.sampled_from([1, 3, 20, 255]), min_size=64, max_size=64)


@given(
    tables=st.lists(FINE_OR_NOT, min_size=1, max_size=3),
    numbers=st.permutations([0, 1, 2, 3]),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
    turned=st.sampled_from([1, 3, 6]),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    noise=st.sampled_from(["grey", "colours", "blue", "blocks"]),
    amplitude=st.integers(1, 127),
    seed=st.integers(0, 2**32),
)
def test_whatever_tables_a_sender_chooses_what_leaves_is_what_was_scanned(
    tables: list[list[int]],
    numbers: list[int],
    subsampling: int,
    progressive: bool,
    turned: int,
    size: tuple[int, int],
    noise: str,
    amplitude: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    coarse = 8 if noise == "blocks" else 1
    levels = rng.choice([-1, 1], (*(-(-side // coarse) for side in size), 3))
    levels = np.kron(levels, np.ones((coarse, coarse, 1), dtype=int))[: size[0], : size[1]]
    if noise == "grey":
        levels[:] = levels[..., :1]
    if noise == "blue":
        levels[..., :2] = 0
    picture = Image.fromarray((128 + amplitude * levels).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turned
    file = with_tables(
        picture, tables, numbers, subsampling=subsampling, progressive=progressive, exif=exif
    )
    image = load_image(file)
    encoded = encode(image)
    assert farthest(image.pixels, encoded) <= (14, 6)


def noisy(width: int, height: int) -> Image.Image:
    """A picture under noise of colours."""
    noise = np.random.default_rng(1).integers(-90, 91, (height, width, 3))
    pixels = np.asarray(photo(width, height)).astype(int) // 2 + 64 + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(with_tables(noisy(200, 160), (FINE, COARSE), (1, 0)), id="tables swapped"),
        pytest.param(
            with_tables(noisy(200, 160), (FINE, FINE, COARSE), (1, 2, 0), subsampling=0),
            id="three tables",
        ),
        pytest.param(file_of(noisy(200, 160), "JPEG", **ADOBE), id="no brightness"),
        pytest.param(file_of(noisy(200, 160).convert("CMYK"), "JPEG"), id="four inks"),
        pytest.param(file_of(noisy(200, 160), "WEBP", quality=40), id="WebP"),
        pytest.param(file_of(noisy(200, 160), "AVIF", quality=95, subsampling="4:4:4"), id="AVIF"),
        pytest.param(file_of(noisy(200, 160), "TIFF", compression="jpeg", quality=100), id="TIFF"),
    ],
)
def test_noise_leaves_as_it_was_scanned(file: bytes) -> None:
    image = load_image(file, ALL)
    masked = mask_regions(image, [(31, 33, 90, 70)])
    for shown in (image, masked):
        assert farthest(shown.pixels, encode(shown)) <= (14, 6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_noise_that_a_limit_would_remove_is_refused(kind: str) -> None:
    tables = {"JPEG": (FINE, COARSE), "PNG": None}[kind]
    picture = noisy(400, 300)
    file = file_of(picture, "PNG") if tables is None else with_tables(picture, tables, (1, 0))
    image = load_image(file)
    with pytest.raises(GuardError, match="shows what was scanned") as refused:
        encode(image, OutputConfig(max_bytes=20_000))
    assert refused.value.stage == "output"


@given(width=st.integers(1, 700), height=st.integers(1, 700), side=st.integers(64, 300))
def test_scaling_reaches_the_longest_side_and_never_thins(
    width: int, height: int, side: int
) -> None:
    image = CanonicalImage(np.zeros((height, width, 3), dtype=np.uint8))
    output = OutputConfig(max_side=side)
    small = scaled(image, fitting_scale(image, output))
    assert max(small.width, small.height) <= side
    if max(width, height) <= side:
        assert small is image
    else:
        assert max(small.width, small.height) >= side - 1
        ratio = max(width, height) / min(width, height)
        assert max(small.width, small.height) / min(small.width, small.height) <= ratio


def test_a_nearly_square_picture_keeps_its_longer_side() -> None:
    # 377 * (107 / 377) is less than 107 as a float.
    image = CanonicalImage(np.zeros((377, 374, 3), dtype=np.uint8))
    small = scaled(image, fitting_scale(image, OutputConfig(max_side=107)))
    assert (small.width, small.height) == (107, 107)


def test_original_scales_nothing() -> None:
    image = CanonicalImage(np.zeros((100, 300, 3), dtype=np.uint8))
    assert fitting_scale(image, OutputConfig(max_side=64, original=True)) == 1.0


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (("JPEG", "PNG"), "image/png"),
        (("WEBP", "GIF"), "image/webp"),
        (("JPEG", "GIF"), "image/jpeg"),
        (("GIF",), "image/png"),
    ],
)
def test_the_next_guard_accepts_the_format(formats: tuple[str, ...], expected: str) -> None:
    image = CanonicalImage(np.asarray(photo(64, 48)), encoding=SourceEncoding("GIF", 100))
    assert encode(image, formats=formats).mime_type == expected


@pytest.mark.parametrize("formats", [("JPEG",), ("PNG",), ("WEBP",), ("JPEG", "WEBP")])
@pytest.mark.parametrize("source", ["GIF", "BMP", "TIFF", "lossy AVIF", "array"])
def test_no_source_leaves_in_a_format_that_is_refused(
    source: str, formats: tuple[ImageFormat, ...]
) -> None:
    name, lossless = source.removeprefix("lossy "), not source.startswith("lossy")
    came_from = None if source == "array" else SourceEncoding(name, 9_000, lossless=lossless)
    image = CanonicalImage(np.asarray(photo(64, 48)), encoding=came_from)
    again = load_image(encode(image, formats=formats).data, IntakePolicy(formats=formats))
    assert np.abs(again.pixels.astype(int) - image.pixels).mean() < 25


def test_every_format_of_the_intake_has_a_type() -> None:
    assert set(encoding._MIME_TYPES) == set(IntakePolicy.model_fields["formats"].default) | {
        "AVIF",
        "HEIF",
    }


def test_a_sharp_picture_keeps_its_edges() -> None:
    picture = photo(320, 240).filter(ImageFilter.FIND_EDGES)
    file = file_of(picture, "JPEG", quality=92, subsampling=0)
    assert len(encode(load_image(file)).data) <= 1.1 * len(file)


def test_a_guard_that_takes_png_only_lets_out_png_only() -> None:
    guard = red_guard(
        red_config(intake=IntakePolicy(formats=("PNG",)), output=OutputConfig(max_bytes=100_000))
    )
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    image = guard.load(file_of(Image.fromarray(noise), "PNG"))
    encoded = guard.encode(image)
    assert encoded.mime_type == "image/png"
    assert len(encoded.data) <= 100_000
    assert encoded.resized
    assert np.array_equal(guard.load(encoded.data).pixels, image.pixels)
