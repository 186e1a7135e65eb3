"""Words stay to the letter; a complete picture among them is found, and nothing else changes."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import SupportsIndex
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.extent import picture_format, picture_size
from guardalign_middleware.intake.hidden_images import (
    HiddenImage,
    hidden_images,
    may_hide_image,
    replace_hidden,
)
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.testing import all_red, picture, png
from guardalign_middleware.testing.harmless import files, snippets
from guardalign_middleware.testing.photos import file_of

BEFORE = ("", "x ", "\\n", "b'", '"', "=", ">", "data='", "\n\n", "(", "a/", "0")
AFTER = ("", " and words", '" and more', "\n\nwords", ")", "…")
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
POLICY = IntakePolicy()
NEW = png(all_red())


@cache
def encoded(kind: str, side: int = 64, **options: bool) -> bytes:
    return file_of(picture(red=True, side=side).to_pil(), kind, **options)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decodes(image: HiddenImage) -> bool:
    try:
        load_picture({"type": "image", "image": image.data}, "text", POLICY)
    except ImageRejected:
        return False
    return True


def cleaned(text: str) -> str:
    """What a guard that finds every picture unsafe makes of a text."""
    return replace_hidden(text, lambda image: "<gone>" if decodes(image) else None)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "without padding": lambda text: text.rstrip("="),
    "url alphabet": lambda text: text.translate(str.maketrans("+/", "-_")),
    "escaped slashes": lambda text: text.replace("/", "\\/"),
    "twice escaped slashes": lambda text: text.replace("/", "\\\\\\/"),
    "unicode escapes": lambda text: text.replace("+", "\\u002B").replace("=", "\\u003d"),
    "percent": lambda text: quote(text, safe=""),
    "entities": lambda text: text.replace("/", "&#x2F;").replace("=", "&#x3D;"),
    "lines": lambda text: "\n".join(textwrap.wrap(text, 76)),
    "lines of windows": lambda text: "\r\n".join(textwrap.wrap(text, 64)),
    "escaped lines": lambda text: "\\n".join(textwrap.wrap(text, 76)),
    "indented lines": lambda text: "\n    ".join(textwrap.wrap(text, 76)),
}


class TestAPictureIsFound:
    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_in_every_format_and_spelling(self, kind: str, spelling: str) -> None:
        data = encoded(kind)
        body = SPELLINGS[spelling](b64(data))
        for before, after in product(BEFORE, AFTER):
            (image,) = hidden_images(before + body + after)
            assert (image.data, image.complete) == (data, True)
            assert (image.start, image.end) == (len(before), len(before) + len(body))
            assert image.whole == (not (before + after).strip())
        assert cleaned(f"a {body} b") == "a <gone> b"

    @pytest.mark.parametrize("spelling", SPELLINGS)
    @pytest.mark.parametrize(
        "header",
        [
            "data:image/png;base64,",
            "DATA:Image/PNG;Base64,",
            "data:image/png;charset=utf-8;base64,",
            "data:image\\/png;base64,",
            "data:;base64,",
            "data%3Aimage%2Fpng%3Bbase64%2C",
        ],
    )
    def test_with_the_header_of_its_data_url(self, header: str, spelling: str) -> None:
        data = encoded("PNG")
        url = header + SPELLINGS[spelling](b64(data))
        text = f"<img src=\"{url}\"> and ![]({url}) and '{url}'\n{url}\nThanks"
        assert [image.data for image in hidden_images(text)] == [data] * 4
        assert cleaned(text) == "<img src=\"<gone>\"> and ![](<gone>) and '<gone>'\n<gone>\nThanks"

    # A TIFF does not say where it ends.
    @pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "TIFF"])
    def test_in_front_of_a_line_of_words(self, kind: str) -> None:
        body = b64(encoded(kind)).rstrip("=")
        assert cleaned(f"{body}\nhello\nall\n") == "<gone>\nhello\nall\n"
        assert cleaned(f"hello\n{body}\n{body}\nall") == "hello\n<gone>\n<gone>\nall"
        for word in ("a", "abc", "word", "elephant", "a/", "\\n", "a\\/b%2"):
            assert cleaned(f"{word}{body} end") == f"{word}<gone> end"

    def test_with_bytes_behind_it_in_quotes(self) -> None:
        data = encoded("JPEG") + b"thumbnails" * 9
        assert cleaned(f"data='{b64(data)}', x") == "data='<gone>', x"
        assert cleaned(f"url(data:image/jpeg;base64,{b64(data)})") == "url(<gone>)"

    def test_in_the_words_of_a_tool(self) -> None:
        shown = f"[ImageContent(type='image', data='{b64(encoded('PNG'))}', mimeType='image/png')]"
        assert cleaned(shown) == (
            "[ImageContent(type='image', data='<gone>', mimeType='image/png')]"
        )

    @given(
        st.lists(st.text(" \n\t.,:;!?()<>\"'éabcXYZ019=&", max_size=30), min_size=2, max_size=6),
        st.sampled_from(FORMATS),
        st.sampled_from(list(SPELLINGS)),
        st.booleans(),
        st.data(),
    )
    def test_among_words_exactly_its_span_is_replaced(
        self, words: list[str], kind: str, spelling: str, url: bool, data: st.DataObject
    ) -> None:
        header = f"data:image/{kind.lower()};base64," if url else ""
        body = header + SPELLINGS[spelling](b64(encoded(kind)))
        pieces = data.draw(st.lists(st.sampled_from([" ", "\n\n", ' "', ") "]), min_size=12))
        marks = iter([*pieces, *[" "] * 12])
        parts = [f"{next(marks)}{word}{next(marks)}".replace("=", "") for word in words]
        # A quote that opens before and closes behind a picture says that all of it is one thing.
        assume(not any(part.endswith(('"', "'")) for part in parts))
        assert cleaned(body.join(parts)) == "<gone>".join(parts)


class TestWordsStay:
    @pytest.mark.parametrize("name", snippets())
    def test_ordinary_snippets(self, name: str) -> None:
        assert cleaned(snippets()[name]) == snippets()[name]

    @pytest.mark.parametrize("name", files())
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_base64_of_other_files(self, name: str, spelling: str) -> None:
        body = SPELLINGS[spelling](b64(files()[name]))
        for text in (body, f'{{"data": "{body}", "x": 1}}', f"data:audio/wav;base64,{body} end"):
            assert cleaned(text) == text
        assert not any(image.complete and decodes(image) for image in hidden_images(body))

    @pytest.mark.parametrize("head", [b"ID3", b"%PDF-1.7\n", b"PK\x03\x04..", b"\x7fELF\x02\x01"])
    def test_base64_of_a_file_right_around_a_picture(self, head: bytes) -> None:
        for kind in FORMATS:
            text = f"x {b64(head + encoded(kind))} y"
            assert cleaned(text) == text

    @given(st.text())
    def test_any_words(self, text: str) -> None:
        assert cleaned(text) == text

    @given(st.data())
    def test_fragments_of_pictures_sound_and_archives(self, data: st.DataObject) -> None:
        whole = [b64(content) for content in files().values()]
        broken = [b64(encoded(kind))[:-60] for kind in FORMATS if kind != "BMP"]
        joints = [" ", "\n", "\\n", '"', "'", "data:image/png;base64,", "/9j/", "=", "==", "\\/"]
        pieces = []
        for _ in range(data.draw(st.integers(1, 6))):
            source = data.draw(st.sampled_from([*whole, *broken]))
            # Too short to hold a whole picture.
            first = data.draw(st.integers(0, 200))
            pieces.append(source[first : first + data.draw(st.integers(0, 150))])
            pieces.append(data.draw(st.sampled_from(joints)))
        text = "".join(pieces)
        # A cut picture's stream can go on in the next fragment and still give every pixel.
        assume(not any(decodes(image) for image in hidden_images(text) if not image.complete))
        assert cleaned(text) == text

    @given(st.sampled_from(FORMATS), st.data())
    def test_a_damaged_picture(self, kind: str, data: st.DataObject) -> None:
        body = b64(encoded(kind))
        at = data.draw(st.integers(0, len(body) - 1))
        text = f"data:image/x;base64,{body[:at]} {body[at:]}"
        found = list(hidden_images(text))
        assert cleaned(text) == text or any(map(decodes, found))

    def test_what_the_policy_does_not_accept(self) -> None:
        frames = [picture(side=64).to_pil(), picture(red=True, side=64).to_pil()]
        data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
        text = f"an animation: data:image/gif;base64,{b64(data)}"
        assert cleaned(text) == text


class TestWriting:
    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_another_picture_is_found_where_the_first_was(self, kind: str, spelling: str) -> None:
        body = SPELLINGS[spelling](b64(encoded(kind)))
        url = f"data:image/{kind.lower()};base64,{body}"
        for text in (f"a '{body}' b", f"a {url} b", f'{{"a": "{url}"}}', body, url):
            new = replace_hidden(text, lambda _: NEW)
            (image,) = hidden_images(new)
            assert image.data == NEW
            assert (new[: image.start], new[image.end :]) == (
                text[: len(new[: image.start])],
                text[len(text) - len(new[image.end :]) :],
            )
            assert f"image/{kind.lower()}" not in new.replace("image/png", "")

    def test_the_type_beside_it_changes_and_nothing_else(self) -> None:
        jpeg = b64(encoded("JPEG"))
        before = '{ "accept":"image/jpeg", "items": [ {"type":"image","data":"'
        after = '",  "mimeType":"image/jpeg" , "name":"a image/jpeg.jpg"}, "image/jpeg"]}\n'
        new = replace_hidden(before + jpeg + after, lambda _: NEW)
        assert new == before + b64(NEW) + after.replace("image/jpeg", "image/png", 1)
        shown = f"ImageContent(mimeType='image/jpeg', data='{jpeg}') 'image/jpeg'"
        assert replace_hidden(shown, lambda _: NEW) == (
            f"ImageContent(mimeType='image/png', data='{b64(NEW)}') 'image/jpeg'"
        )

    def test_lines_and_alphabet_stay(self) -> None:
        wrapped = "\r\n".join(textwrap.wrap(b64(encoded("PNG")), 60))
        new = replace_hidden(f"x\r\n{wrapped}\r\n", lambda _: NEW)
        assert max(map(len, new.split("\r\n"))) == 60
        url = base64.urlsafe_b64encode(encoded("JPEG")).decode()
        assert "/" not in replace_hidden(f"?i={url}", lambda _: NEW)

    def test_a_notice_keeps_json_valid(self) -> None:
        text = json.dumps({"a": f"see data:image/png;base64,{b64(encoded('PNG'))} there"})
        new = replace_hidden(text, lambda _: 'say "no" \\ \n')
        assert json.loads(new) == {"a": 'see say "no" \\ \n there'}


class TestExtent:
    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("size", [1, 7, 64, 300])
    def test_the_end_is_found_and_needed(self, kind: str, size: int) -> None:
        data = encoded(kind, size)
        assert picture_format(data) == kind
        assert picture_size(data) == len(data)
        if kind != "TIFF":
            assert picture_size(data + b"\xff\xd9 more IEND;") == len(data)
            assert picture_size(data[:-1]) in {None, len(data) - 1 if kind == "WEBP" else None}

    def test_progressive_and_interlaced(self) -> None:
        for data in (encoded("JPEG", progressive=True), encoded("GIF", interlace=True)):
            assert picture_size(data + b"more") == len(data)
        webp = encoded("WEBP", lossless=True)
        assert picture_size(webp) == len(webp)

    @given(st.binary(max_size=200), st.sampled_from(FORMATS), st.integers(0, 60))
    def test_any_bytes_have_an_end_or_none(self, junk: bytes, kind: str, kept: int) -> None:
        size = picture_size(encoded(kind)[:kept] + junk)
        assert size is None or 0 < size <= kept + len(junk)


@given(st.binary(min_size=18, max_size=64))
def test_the_quick_test_misses_no_image(data: bytes) -> None:
    for kind in FORMATS:
        assert may_hide_image(f"x {b64(encoded(kind))}")
    assert may_hide_image(b64(b"\0\0\0\x1cftypavif" + data + bytes(32)))


ADVERSARIES = {
    "headers": "data:image/png;base64,",
    "starts": "iVBORw0KGgo",
    "starts of lines": f"iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbybl{'A' * 32}\n",
    "short lines": "/9j/4AAQSkZJRgABAQAAAQABAAD\n",
    "odd lines": "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UH\n",
    "tiffs": "SUkqAAgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ",
    "backslashes": "\\",
    "escaped slashes": "\\/",
    "escaped starts": "\\/9j\\/4",
    "escaped lines": "AAAA\\n",
    "base64": "QUJD/9j/",
    "spaces": " ",
    "types": '"image/jpeg",',
    "quotes": '"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwc"',
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_the_work_grows_with_the_length(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from guardalign_middleware.intake import base64_runs
    from guardalign_middleware.intake import hidden_images as finder

    steps: list[int] = []

    class Counting:
        """A pattern that counts the characters it is given to go through."""

        def __init__(self, pattern: object) -> None:
            self.pattern = pattern

        def __getattr__(self, method: str) -> Callable[..., object]:
            real = getattr(self.pattern, method)

            def call(text: str, *bounds: int) -> object:
                match = real(text, *bounds)
                first = bounds[0] if bounds else 0
                end = match.end() if hasattr(match, "end") else first + 100
                steps.append(end - first + 1)
                return match

            return call

    class Sliced(str):
        """A text that counts the characters that are copied out of it."""

        def __getitem__(self, key: SupportsIndex | slice) -> str:
            piece = super().__getitem__(key)
            steps.append(len(piece))
            return piece

    for module, pattern in ((base64_runs, "_TOKEN"), (finder, "_START"), (finder, "_HEADER")):
        monkeypatch.setattr(module, pattern, Counting(getattr(module, pattern)))
    unit = ADVERSARIES[name]
    work = []
    for length in (20_000, 80_000):
        steps.clear()
        list(hidden_images(Sliced("iVBORw0KGgo" + unit * (length // len(unit)))))
        work.append(sum(steps))
    assert work[1] <= 5 * work[0] + 5000
