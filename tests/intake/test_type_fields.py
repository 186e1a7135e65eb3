"""Types and file names beside a picture follow it; everything else stays."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest

from guardalign_middleware.intake.hidden_images import replace_hidden
from guardalign_middleware.intake.type_fields import (
    file_type,
    retyped,
    type_of_value,
    with_types_beside,
)
from guardalign_middleware.testing import picture
from guardalign_middleware.testing.photos import file_of

FILES = {kind: file_of(picture().to_pil(), kind.upper()) for kind in ("png", "jpeg", "webp", "gif")}


@pytest.mark.parametrize("kind", FILES)
def test_the_type_of_a_file_is_in_its_first_bytes(kind: str) -> None:
    data = FILES[kind]
    text = base64.b64encode(data).decode()
    assert file_type(data) == f"image/{kind}"
    assert type_of_value(data) == type_of_value(bytearray(data)) == f"image/{kind}"
    assert type_of_value(text) == f"image/{kind}"
    assert type_of_value(text[:20] + "\n" + text[20:]) == f"image/{kind}"
    assert type_of_value(f"data:image/{kind};base64,{text}") == f"image/{kind}"
    spaces = " " * 600
    assert type_of_value(spaces + text) == f"image/{kind}"
    assert type_of_value(f"{spaces}data:image/{kind};base64,{spaces}{text}") == f"image/{kind}"


def test_what_a_data_url_states_says_nothing() -> None:
    text = base64.b64encode(FILES["png"]).decode()
    assert type_of_value(f"data:image/webp;base64,{text}") == "image/png"
    assert type_of_value(f"data:image/webp;base64,{quote(text, safe='')}") == "image/png"
    assert type_of_value("data:image/png;base64,[image removed]") is None


@pytest.mark.parametrize("value", ["words", "", "data:text/plain,x", b"words", 3, None, "Zm9v"])
def test_other_values_have_none(value: object) -> None:
    assert type_of_value(value) is None


@pytest.mark.parametrize(
    "key",
    [
        "image_mime_type",
        "mimetype",
        "mimeType",
        "mime_type",
        "media_type",
        "mediaType",
        "content_type",
        "contentType",
        "Content-Type",
        "file_type",
        "type",
    ],
)
def test_media_types_follow(key: str) -> None:
    assert retyped({key: "image/jpeg", "n": 1}, "image/png") == {key: "image/png"}
    assert retyped({key: "image/png"}, "image/png") == {}
    assert retyped({key: "text/plain"}, "image/png") == {}
    assert retyped({key: "image"}, "image/png") == {}


@pytest.mark.parametrize(
    ("fields", "mime_type", "changed"),
    [
        ({"format": "jpeg"}, "image/png", {"format": "png"}),
        ({"format": "JPEG"}, "image/png", {"format": "PNG"}),
        ({"output_format": "webp"}, "image/png", {"output_format": "png"}),
        ({"format": "jpg"}, "image/jpeg", {}),
        ({"format": "pdf"}, "image/png", {}),
        ({"extension": ".gif"}, "image/png", {"extension": ".png"}),
        ({"filename": "a.gif"}, "image/png", {"filename": "a.png"}),
        ({"file_name": "b/a.tar.GIF"}, "image/jpeg", {"file_name": "b/a.tar.jpg"}),
        ({"filename": "a.jpg"}, "image/jpeg", {}),
        ({"filename": "a.txt", "name": "gif"}, "image/png", {}),
        ({"title": "how I made a.gif", "text": "image/gif"}, "image/png", {}),
        ({1: "image/gif", "type": 7}, "image/png", {}),
    ],
)
def test_formats_and_file_names_follow(
    fields: dict[Any, Any], mime_type: str, changed: dict[Any, Any]
) -> None:
    assert retyped(fields, mime_type) == changed


def test_only_a_changed_picture_changes_types() -> None:
    fields = {"data": FILES["gif"], "mime_type": "image/gif", "text": "x"}
    assert with_types_beside(fields, {"text": "y"}) == {"text": "y"}
    assert with_types_beside(fields, {"data": FILES["png"]}) == {
        "data": FILES["png"],
        "mime_type": "image/png",
    }


SVG = "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="


@pytest.mark.parametrize(
    ("beside", "stays"),
    [
        # Another file has the type.
        ({"data": SVG, "mime_type": "image/svg+xml"}, ["mime_type"]),
        ({"data": FILES["gif"], "mime_type": "image/gif"}, ["mime_type"]),
        ({"base64": "R0lGODlhAQABAAAA", "format": "gif", "filename": "a.gif"}, ["format"]),
        ({"image": FILES["gif"], "image_mime_type": "image/gif"}, ["image_mime_type"]),
        ({"poster": FILES["gif"], "poster_type": "image/gif"}, ["poster_type"]),
        ({"file_data": "data:image/gif;base64,R0lG", "filename": "a.gif"}, ["filename"]),
        # Nothing else could have it.
        ({"mime_type": "image/gif"}, []),
        ({"data": "some words", "mime_type": "image/gif"}, []),
        ({"thumb_type": "image/gif", "filename": "a.gif"}, []),
        ({"source": {"page": 3}, "content_type": "image/gif"}, []),
    ],
)
def test_the_type_of_another_file_stays(beside: dict[str, Any], stays: list[str]) -> None:
    fields = {**beside, "thumb": FILES["jpeg"]}
    changed = with_types_beside(fields, {"thumb": FILES["png"]})
    assert not set(stays) & set(changed)
    assert bool(stays) == (set(changed) == {"thumb"})


def test_each_picture_has_its_own_types() -> None:
    fields = {
        "image": FILES["jpeg"],
        "image_type": "image/jpeg",
        "thumb": FILES["gif"],
        "thumb_mime_type": "image/gif",
        "mime_type": "image/jpeg",
    }
    changed = {"thumb": FILES["png"], "image": FILES["webp"]}
    assert with_types_beside(fields, changed) == {
        **changed,
        "image_type": "image/webp",
        "thumb_mime_type": "image/png",
        "mime_type": "image/webp",
    }


@pytest.mark.parametrize("old", FILES)
@pytest.mark.parametrize("new", ["png", "jpeg", "webp"])
def test_words_state_the_type_of_the_new_picture(old: str, new: str) -> None:
    body = base64.b64encode(FILES[old]).decode()
    text = f"ImageContent(data='{body}', mimeType='image/{old}') or data:image/{old};base64,{body}"
    shown = replace_hidden(text, lambda _: FILES[new])
    other = base64.b64encode(FILES[new]).decode()
    assert shown == (
        f"ImageContent(data='{other}', mimeType='image/{new}') or data:image/{new};base64,{other}"
    )
