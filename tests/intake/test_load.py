from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_base64, load_image
from guardalign_middleware.types import CanonicalImage
from tests.support.pictures import encode, gradient, png_header_only

REASONS = {
    "not_found",
    "is_directory",
    "unreadable",
    "empty",
    "too_many_bytes",
    "too_many_pixels",
    "extreme_aspect",
    "unknown_format",
    "format_not_allowed",
    "format_not_installed",
    "corrupt",
    "multiple_frames",
    "too_many_frames",
    "unsupported_mode",
    "bad_data_url",
    "pdf_not_allowed",
    "url_not_allowed",
    "path_not_allowed",
    "unsupported_type",
}


def rejected(source: object, policy: IntakePolicy | None = None) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        load_image(source, policy or IntakePolicy())  # type: ignore[arg-type]
    assert caught.value.reason in REASONS
    assert caught.value.remedy
    assert caught.value.source
    return caught.value


def data_url(data: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    monkeypatch.setattr(Image.Image, "load", load)


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    picture = gradient()
    data = encode(picture)
    file = tmp_path / "photo.png"
    file.write_bytes(data)
    sources: dict[str, Any] = {
        "<bytes>": data,
        "<PIL image>": picture,
        "<data URL>": data_url(data),
        str(file): file,
    }
    for label, source in sources.items():
        image = load_image(source)
        assert image.source == label
        np.testing.assert_array_equal(image.pixels, np.asarray(picture))
    assert load_image(str(file)).sha256 == load_image(bytearray(data)).sha256


def test_a_canonical_image_passes_through_but_not_past_the_caps() -> None:
    image = load_image(gradient())
    assert load_image(image) is image
    assert rejected(image, IntakePolicy(max_pixels=10)).reason == "too_many_pixels"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_allowed_formats_are_read(image_format: str) -> None:
    image = load_image(encode(gradient(), image_format))
    assert (image.width, image.height) == (24, 16)
    difference = np.abs(image.pixels.astype(int) - np.asarray(gradient()).astype(int))
    assert difference.mean() < 25


def test_a_format_off_the_list_is_named_and_not_opened() -> None:
    assert rejected(encode(gradient(), "PPM")).reason == "format_not_allowed"
    assert rejected(b"%!PS-Adobe-3.0 EPSF-3.0\n").reason == "format_not_allowed"
    only_png = IntakePolicy(formats=("PNG",))
    error = rejected(encode(gradient(), "JPEG"), only_png)
    assert error.reason == "format_not_allowed"
    assert "JPEG" in error.message
    assert rejected(b"<svg xmlns='http://www.w3.org/2000/svg'/>").reason == "unknown_format"


class TestFiles:
    def test_faults_of_the_path(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.png"
        empty.touch()
        text = tmp_path / "text.png"
        text.write_text("this is no picture at all")
        assert rejected(empty).reason == "empty"
        assert rejected(text).reason == "unknown_format"
        assert rejected(tmp_path).reason == "is_directory"
        assert rejected(tmp_path / "absent.png").reason == "not_found"
        assert rejected(text / "below").reason == "unreadable"

    def test_an_empty_path_is_told_as_such(self) -> None:
        error = rejected("")
        assert error.reason == "not_found"
        assert "empty" in str(error)

    def test_a_pipe_is_refused_without_waiting_for_it(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        assert rejected(pipe).reason == "unreadable"

    def test_the_byte_cap_holds_before_reading(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        big = tmp_path / "big.png"
        big.write_bytes(b"x" * 2000)
        monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("the file was opened"))
        assert rejected(big, IntakePolicy(max_bytes=1999)).reason == "too_many_bytes"

    def test_an_unusable_path_is_not_echoed(self) -> None:
        for path in ("QUJD" * 100, "a\0b"):
            error = rejected(path)
            assert error.reason == "unreadable"
            assert error.source == "<path>"
            assert path not in str(error)


class TestBudget:
    def test_an_extreme_aspect_is_refused_from_the_header(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = encode(Image.new("RGB", (1, 20000)), optimize=True)
        assert len(data) < 250
        forbid_decoding(monkeypatch)
        assert rejected(data).reason == "extreme_aspect"

    def test_a_bomb_is_refused_from_the_header(self, monkeypatch: pytest.MonkeyPatch) -> None:
        forbid_decoding(monkeypatch)
        assert rejected(png_header_only(60000, 60000)).reason == "too_many_pixels"

    def test_the_policys_cap_holds_and_not_the_librarys(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        assert load_image(encode(gradient())).width == 24

    @settings(max_examples=60, deadline=None)
    @given(width=st.integers(1, 2**20), height=st.integers(1, 2**20))
    @example(width=40, height=30)
    @example(width=41, height=30)
    @example(width=300, height=3)
    @example(width=301, height=3)
    def test_the_caps_decide_before_the_pixels(self, width: int, height: int) -> None:
        policy = IntakePolicy(max_pixels=1200, max_aspect=100)
        reason = rejected(png_header_only(width, height), policy).reason
        if width * height > 1200:
            assert reason == "too_many_pixels"
        elif max(width, height) > 100 * min(width, height):
            assert reason == "extreme_aspect"
        else:
            assert reason == "corrupt"

    def test_a_picture_of_the_program_has_the_same_caps(self) -> None:
        assert rejected(Image.new("L", (1, 101))).reason == "extreme_aspect"
        assert rejected(Image.new("L", (9, 9)), IntakePolicy(max_pixels=80)).reason == (
            "too_many_pixels"
        )
        assert rejected(Image.new("L", (0, 9))).reason == "corrupt"


class TestDataUrl:
    DATA = encode(gradient())

    @pytest.mark.parametrize(
        "change",
        [
            lambda url: url.replace(";base64", ""),
            lambda url: url.replace("image/png", "text/plain"),
            lambda url: url.replace("image/png", "image/jpeg"),
            lambda url: url.replace("image/png", "image/unheard-of"),
            lambda url: url.replace("image/png", "image/png;charset=utf-8"),
            lambda url: url.replace(",", ",,"),
            lambda url: url.replace(",", ", "),
            lambda url: url.replace(",", ""),
            lambda url: url + " ",
            lambda url: url[:-1] + "!",
            lambda url: url[:-3],
            lambda url: url.replace(",", ",é"),
        ],
    )
    def test_anything_unusual_is_refused(self, change: object) -> None:
        url = data_url(self.DATA)
        changed = change(url)  # type: ignore[operator]
        assert changed != url
        error = rejected(changed)
        assert error.reason == "bad_data_url"
        assert url[40:80] not in str(error)

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_line_ends_in_the_base64_are_fine(self, end: str) -> None:
        url = data_url(self.DATA)
        wrapped = end.join([url[:40], url[40:80], url[80:], ""])
        assert load_image(wrapped).sha256 == load_image(url).sha256
        tight = IntakePolicy(max_bytes=len(self.DATA))
        assert load_image(wrapped, tight).width == 24

    def test_case_and_the_common_misnomer_are_fine(self) -> None:
        jpeg = encode(gradient(), "JPEG")
        assert (
            load_image(data_url(self.DATA).replace("data:image/png", "DATA:image/PNG")).width == 24
        )
        assert load_image(data_url(jpeg, "image/jpg")).width == 24

    def test_no_bytes_and_too_many_bytes(self) -> None:
        assert rejected("data:image/png;base64,").reason == "empty"
        limit = len(self.DATA)
        assert load_image(data_url(self.DATA), IntakePolicy(max_bytes=limit)).width == 24
        small = IntakePolicy(max_bytes=limit - 1)
        assert rejected(data_url(self.DATA), small).reason == "too_many_bytes"

    def test_bare_base64_must_be_what_it_claims(self) -> None:
        text = base64.b64encode(self.DATA).decode()
        assert [image.source for image in load_base64(text, "image/png")] == ["<base64>"]
        for mime_type in ("image/webp", "text/html", ""):
            with pytest.raises(ImageRejected) as caught:
                load_base64(text, mime_type)
            assert caught.value.reason == "bad_data_url"


@pytest.mark.parametrize(
    "url",
    ["https://host/a.png?token=secret", "HTTP://host/a", "file:///etc/passwd", "s3://secret/key"],
)
def test_urls_are_refused_without_their_secrets(url: str) -> None:
    error = rejected(url)
    assert error.reason == "url_not_allowed"
    assert "secret" not in str(error) + error.source
    assert "pass its bytes" in error.remedy


@pytest.mark.parametrize("source", [None, 3, [1, 2], np.zeros((2, 2, 3)), object()])
def test_other_types_are_refused(source: object) -> None:
    assert rejected(source).reason == "unsupported_type"


SEEDS = [
    encode(gradient(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"),
    encode(gradient(), "PNG"),
    encode(gradient().convert("P"), "PNG", transparency=3),
    encode(gradient(), "WEBP"),
    encode(gradient(), "WEBP", lossless=True),
    encode(gradient(), "GIF"),
    encode(gradient(), "TIFF", compression="tiff_lzw"),
    encode(gradient(), "TIFF"),
    encode(gradient(), "BMP"),
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del data[draw(st.integers(1, len(data))) :]
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(data=st.one_of(st.binary(max_size=64), damaged_files()))
def test_any_bytes_are_an_image_or_rejected(data: bytes) -> None:
    policy = IntakePolicy(max_pixels=100_000)
    outcome = load_or_reason(data, policy)
    if isinstance(outcome, CanonicalImage):
        assert outcome.width * outcome.height <= 100_000
    else:
        assert outcome in REASONS


def load_or_reason(data: bytes, policy: IntakePolicy) -> CanonicalImage | str:
    try:
        return load_image(data, policy)
    except ImageRejected as error:
        return error.reason


@settings(max_examples=100, deadline=None)
@given(
    text=st.one_of(st.text(max_size=40), st.text(max_size=40).map("data:image/png;base64,".__add__))
)
def test_any_text_is_an_image_or_rejected(text: str) -> None:
    with pytest.raises(ImageRejected):
        load_image(text + "/no such file")
