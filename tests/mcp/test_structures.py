"""Objects in structured answers: of what holds a file, only the file gives way."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from guardalign_middleware.intake.blank_picture import blank_png
from guardalign_middleware.mcp import Handling, MessageGuard
from guardalign_middleware.testing import all_red, has_red, picture, png, red_guard
from guardalign_middleware.testing.guards import red_config
from guardalign_middleware.testing.pdf import PAGES, RED_PAGE, drawn_pdf
from tests.mcp.harmless_objects import HARMLESS, WITH_FILE
from tests.mcp.positions import b64, blob, embedded, image, page, tool, url
from tests.support.mcp_frames import line, passed, pictures_in

UNSAFE, SAFE, HOPELESS = png(picture(red=True)), png(picture()), png(all_red())
ICON = b"\x00\x00\x01\x00\x01\x00\x10\x10" + bytes(range(60))
PDF = drawn_pdf(RED_PAGE)
DRAWING = f"<svg><image href='{url(UNSAFE)}'/></svg>"
FORMS: dict[str, Any] = {
    "base64": b64(UNSAFE),
    "data url": url(UNSAFE),
    "words": page(UNSAFE),
    "numbers": [*UNSAFE],
    "block": image(UNSAFE),
    "resource": embedded(blob(UNSAFE)),
    "drawing": f"data:image/svg+xml;base64,{b64(DRAWING.encode())}",
    "plain drawing": f"data:image/svg+xml,{DRAWING}",
}
KEYS = ("data", "bytes", "image", "file", "result", "url", "type", "mimeType", "x")


@pytest.fixture(scope="module")
def guard() -> MessageGuard:
    return MessageGuard.of(red_guard())


def cleaned(guard: MessageGuard, value: Any) -> Any:
    out = passed(guard, line(tool(structuredContent={"x": value})))
    return json.loads(out.forward or b"")["result"]["structuredContent"]["x"]


def planted(value: Any, form: Any) -> Iterator[Any]:
    """Copies of a value with a picture in the place of something, or beside it."""
    yield form
    if isinstance(value, dict):
        for key in (*value, *(each for each in KEYS if each not in value)):
            inner = planted(value[key], form) if key in value else [form]
            yield from ({**value, key: each} for each in inner)
    elif isinstance(value, list):
        yield [*value, form]
        for index, item in enumerate(value):
            yield from (
                [*value[:index], *[each], *value[index + 1 :]] for each in planted(item, form)
            )


@pytest.mark.parametrize("form", FORMS)
def test_a_planted_picture(guard: MessageGuard, form: str) -> None:
    objects = dict(HARMLESS)
    if form != "drawing":  # Beside a file, as its name or its type, it is words.
        objects |= {name: make(b64(SAFE)) for name, make in WITH_FILE.items()}
    for name, value in objects.items():
        new = cleaned(guard, [*planted(value, FORMS[form])])
        text = json.dumps(new)
        assert b64(UNSAFE) not in text, name
        assert b64(DRAWING.encode()) not in text, name
        assert not any(map(has_red, pictures_in(new))), name


@pytest.mark.parametrize("name", WITH_FILE)
def test_a_safe_picture_stays_with_all_beside_it(guard: MessageGuard, name: str) -> None:
    given = WITH_FILE[name](b64(SAFE))
    new = cleaned(guard, given)
    (shown,) = pictures_in(new)
    assert (shown.pixels == picture().pixels).all()
    assert shape(new) == shape(given)


@pytest.mark.parametrize("name", WITH_FILE)
def test_an_unsafe_one_is_cleaned(guard: MessageGuard, name: str) -> None:
    given = WITH_FILE[name](b64(UNSAFE))
    new = cleaned(guard, given)
    (shown,) = pictures_in(new)
    assert not has_red(shown)
    assert shape(new) == shape(given)


@pytest.mark.parametrize(
    "file", [UNSAFE[:-40], ICON, PDF, HOPELESS], ids=["broken", "icon", "PDF", "all"]
)
@pytest.mark.parametrize("name", WITH_FILE)
def test_only_what_may_not_be_shown_gives_way(guard: MessageGuard, name: str, file: bytes) -> None:
    given = WITH_FILE[name](b64(file))
    new = cleaned(guard, given)
    assert b64(file) not in json.dumps(new)
    assert shape(new) == shape(given)
    assert "not shown" in json.dumps(new) or "unsafe" in json.dumps(new) or grey(new)


def test_a_picture_is_grey_and_another_file_a_text(guard: MessageGuard) -> None:
    new = cleaned(
        guard, {"type": "image", "data": b64(UNSAFE[:-40]), "mimeType": "image/png", "n": 1}
    )
    assert new == {"type": "image", "data": b64(blank_png()), "mimeType": "image/png", "n": 1}
    new = cleaned(guard, {"mime_type": "image/jpeg", "file": "a.jpg", "result": b64(ICON), "n": 1})
    assert new == {"mime_type": "image/png", "file": "a.jpg", "result": b64(blank_png()), "n": 1}
    new = cleaned(guard, {"name": "a.pdf", "mimeType": "application/pdf", "bytes": b64(PDF)})
    text = new.pop("bytes")
    assert text == "[file not shown: it is a PDF file, which is not read]"
    assert new == {"name": "a.pdf", "mimeType": "application/pdf"}


def test_pages_of_a_pdf_leave_a_text_in_its_place() -> None:
    guard = MessageGuard.of(red_guard(red_config(intake=PAGES)))
    new = cleaned(guard, {"name": "a.pdf", "mimeType": "application/pdf", "bytes": b64(PDF)})
    assert new["bytes"].startswith("[PDF file")
    assert new["name"] == "a.pdf"


def test_two_pictures_are_each_cleaned(guard: MessageGuard) -> None:
    given = {"type": "image", "data": b64(SAFE), "thumbnail": b64(UNSAFE), "mimeType": "image/png"}
    new = cleaned(guard, given)
    assert (shape(new), len([*pictures_in(new)])) == (shape(given), 2)
    assert not any(map(has_red, pictures_in(new)))


def test_a_picture_in_a_key_takes_the_object_along(guard: MessageGuard) -> None:
    for value in ({url(UNSAFE): 1, "type": "image", "url": "https://e.org/a.png"},):
        assert url(UNSAFE) not in json.dumps(cleaned(guard, value))
        assert url(UNSAFE) not in json.dumps(cleaned(guard, {**value, "data": b64(SAFE)}))


@pytest.mark.parametrize("value", HARMLESS.values(), ids=HARMLESS)
def test_content_is_read_as_strictly_as_before(guard: MessageGuard, value: Any) -> None:
    """Converters show such blocks to models, whatever their fields hold."""
    out = json.loads(passed(guard, line(tool(value))).forward or b"")["result"]["content"]
    declared = value.get("type") in {"image", "video", "file_data"}
    if declared and "body" not in value and "size" not in value:
        assert [block["type"] for block in out] == ["text"]


def test_errors_take_the_place_of_the_message_if_they_should() -> None:
    guard = MessageGuard.of(red_guard(), Handling(on_refused="raise"))
    for name, value in HARMLESS.items():
        raw = line(tool(structuredContent={"x": value}))
        assert passed(guard, raw).forward == raw, name
    raw = line(tool(structuredContent={"x": WITH_FILE["as a result"](b64(ICON))}))
    assert "error" in json.loads(passed(guard, raw).forward or b"")


def wrapped(raw: bytes, length: int) -> str:
    text = b64(raw)
    return "\n".join(text[at : at + length] for at in range(0, len(text), length))


WRITTEN: dict[str, Any] = {
    "lines": lambda raw: wrapped(raw, 40),
    "short lines": lambda raw: wrapped(raw, 4),
    "behind other characters": lambda raw: "!!!" + b64(raw),
    "spaced": lambda raw: " ".join(b64(raw)),
    "numbers": lambda raw: [*raw],
    "numbers by key": lambda raw: {str(at): each for at, each in enumerate(raw)},
    "hex": lambda raw: raw.hex(),
    "two": lambda raw: [wrapped(raw, 20), wrapped(raw, 20)],
    "pieces": lambda raw: wrapped(raw, 30).split("\n"),
    "percent": lambda raw: "data:image/png," + "".join(f"%{each:02X}" for each in raw),
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", ["ICO", "PPM", "TGA", "PCX", "JPEG2000"])
def test_a_declared_picture_does_not_stay_however_it_is_written(
    guard: MessageGuard, name: str, written: str
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 0)).save(file, name)
    data = WRITTEN[written](file.getvalue())
    new = cleaned(guard, {"type": "image", "mimeType": "image/png", "data": data})
    assert new["data"] != data
    assert new["type"] == "image"


def test_a_picture_in_a_drawing_may_be_in_escapes(guard: MessageGuard) -> None:
    escaped = "".join(f"%{each:02X}" for each in UNSAFE)
    drawing = f"<svg><image href='data:image/png,{escaped}'/></svg>"
    given = f"data:image/svg+xml,{quote(drawing)}"
    assert cleaned(guard, {"icon": given}) != {"icon": given}


def test_a_key_in_content_makes_no_structure(guard: MessageGuard) -> None:
    video = {"type": "video", "mimeType": "video/mp4", "data": "abc"}
    block = {"type": "text", "text": "a", "structuredContent": video}
    assert passed(guard, line(tool(block))).forward != line(tool(block))


def test_a_removed_picture_leaves_one_under_its_key(guard: MessageGuard) -> None:
    red = b64(HOPELESS)
    for given in ({"type": "image", "image": red}, {"type": "image", "data": red, "thumb": red}):
        new = cleaned(guard, given)
        assert shape(new) == shape(given)
        assert new["image" if "image" in given else "data"] == b64(blank_png())


def shape(value: Any) -> Any:
    """The keys and the types of a value, as a schema states them."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


def grey(value: Any) -> bool:
    return b64(blank_png()) in json.dumps(value)
