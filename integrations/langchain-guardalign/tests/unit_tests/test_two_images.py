"""Several pictures in one value: each is found, and replacing one changes no other field."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from guardalign_middleware.intake.found_images import Replacement
from guardalign_middleware.testing import base64_png, picture
from langchain_guardalign.message_walk import find_images, put_images

SAFE, UNSAFE = base64_png(picture()), base64_png(picture(red=True))
NOTE = Replacement(note="[image removed]", record={"decision": "block"})
PREFIX = "data:image/png;base64,"
SVG = {"type": "media", "mime_type": "image/svg+xml", "data": "HWOsNZsorYJFYktdiRZethBz"}


@pytest.mark.parametrize("value", [PREFIX + PREFIX + UNSAFE, PREFIX + UNSAFE, UNSAFE])
def test_a_picture_beside_another_file_is_replaced_and_the_file_stays(value: str) -> None:
    messages = [HumanMessage([{**SVG, "role": value}])]
    found = find_images(messages)
    assert [image.refused for image in found] == [None]
    (shown,) = put_images(messages, [NOTE])
    (block,) = shown.content
    assert {key: block[key] for key in SVG} == SVG
    assert UNSAFE not in block["role"]
    # A second guard finds nothing more to do.
    assert find_images([shown]) == []


def test_a_file_whose_bytes_have_become_a_notice_is_a_notice() -> None:
    url = f"data:image/svg+xml;base64,{UNSAFE},rest"
    block = {"type": "file", "file": {"filename": "a.png", "file_data": url}}
    messages = [HumanMessage([block])]
    (shown,) = put_images(messages, [NOTE] * len(find_images(messages)))
    assert shown.content == [{"type": "text", "text": "[image removed]"}]


@pytest.mark.parametrize(
    "more",
    [
        {"extras": {"thumb": UNSAFE}},
        {"thumb": PREFIX + UNSAFE},
        {"others": [{"type": "image", "base64": UNSAFE, "mime_type": "image/png"}]},
    ],
)
@pytest.mark.parametrize("field", ["artifact", "additional_kwargs"])
def test_no_second_picture_hides_behind_an_image_block(field: str, more: dict[str, Any]) -> None:
    block = {"type": "image", "base64": SAFE, "mime_type": "image/png", **more}
    value: Any = block if field == "artifact" else {"shown": block}
    message = ToolMessage("Done.", tool_call_id="1", **{field: value})
    found = find_images([message])
    assert len(found) == 2
    (shown,) = put_images([message], [Replacement(), NOTE])
    assert SAFE in str(getattr(shown, field))
    assert UNSAFE not in str(getattr(shown, field))


@pytest.mark.parametrize("key", ["source", "file"])
def test_a_record_about_a_file_that_holds_itself_is_refused(key: str) -> None:
    block: dict[str, Any] = {"type": "file", "mime_type": "application/pdf"}
    block[key] = block
    (found,) = find_images([HumanMessage([block])])
    assert found.refused is not None


@pytest.mark.parametrize("key", ["image", "images"])
def test_a_list_of_images_that_holds_itself_is_refused(key: str) -> None:
    circle: list[Any] = []
    circle.append(circle)
    (found,) = find_images([HumanMessage([{"type": "custom", key: circle}])])
    assert found.refused is not None
