from __future__ import annotations

import base64
import io
import textwrap
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.testing import picture
from langchain_guardalign.hidden_images import hidden_images, looks_like_image, may_hide_image


def encoded(kind: str, side: int = 64) -> bytes:
    buffer = io.BytesIO()
    picture(red=True, side=side).to_pil().save(buffer, kind)
    return buffer.getvalue()


FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("before", ["", "x ", "\\n", "b'", '"', "=", "a/", "0"])
def test_base64_of_every_format_is_found(kind: str, before: str) -> None:
    data = encoded(kind)
    assert looks_like_image(data)
    text = base64.b64encode(data).decode()
    for body in (text, text.rstrip("="), base64.urlsafe_b64encode(data).decode()):
        (image,) = hidden_images(f'{before}{body}" and more')
        assert image.data == data
        assert not image.is_url
        assert image.end - image.start == len(body)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("line", ["\n", "\r\n", "\\n", "\\r\\n", "\n    "])
def test_wrapped_base64_is_one_image(kind: str, line: str) -> None:
    data = encoded(kind)
    body = line.join(textwrap.wrap(base64.b64encode(data).decode(), 76))
    (image,) = hidden_images(f"here: {body}\n\nwords")
    assert image.data == data
    (image,) = hidden_images(f"here: data:image/x;base64,{body}\n\nwords")
    assert image.data == data
    assert image.is_url


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,{}",
        "DATA:Image/PNG;Base64,{}",
        "data:image/png;charset=utf-8;base64,{}",
        "data:image/jpeg;base64,{}",
    ],
)
def test_data_urls_are_found_between_other_words(url: str) -> None:
    data = encoded("PNG")
    address = url.format(base64.b64encode(data).decode())
    text = f"<img src=\"{address}\"> and ![]({address}) and '{address}'"
    assert [image.data for image in hidden_images(text)] == [data] * 3
    assert all(image.is_url for image in hidden_images(text))
    escaped = url.format(quote(base64.b64encode(data).decode(), safe=""))
    (image,) = hidden_images(escaped)
    assert image.data == data


def test_svg_in_data_urls_is_found() -> None:
    (image,) = hidden_images("<img src='data:image/svg+xml,%3Csvg%3E'>" + " " * 32)
    assert image.data == b"<svg>"


def test_broken_base64_has_no_bytes_and_is_still_found() -> None:
    (image,) = hidden_images("data:image/png;base64,iVBORw0KGgo!!!AAAA and words after it")
    assert image.data == b""


@given(st.text())
def test_words_are_not_images(text: str) -> None:
    assert "iVBOR" in text or list(hidden_images(text)) == []


@given(st.binary(max_size=600))
def test_other_base64_is_not_an_image(data: bytes) -> None:
    text = base64.b64encode(b"%PDF-1.7 " + data).decode()
    assert list(hidden_images(text)) == []


@given(st.binary(min_size=18, max_size=64))
def test_the_quick_test_misses_no_image(data: bytes) -> None:
    for magic in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"):
        text = base64.b64encode(magic + data + bytes(32)).decode()
        assert may_hide_image(text)
        assert len(list(hidden_images(text))) == 1


def test_sound_and_archives_are_not_images() -> None:
    assert not looks_like_image(b"RIFF\x00\x00\x00\x00WAVEfmt \x00\x00\x00")
    assert not looks_like_image(b"PK\x03\x04" + bytes(40))
    assert not looks_like_image(b"")
