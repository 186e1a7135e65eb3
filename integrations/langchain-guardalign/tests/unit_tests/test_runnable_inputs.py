"""What the runnable takes, returns and refuses."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue, ImagePromptValue, StringPromptValue

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import (
    ImageRejected,
    MessageError,
)
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import (
    all_red,
    base64_png,
    data_url,
    open_png,
    picture,
    png,
    red_config,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ImageBlocked, ImageGuardRunnable
from langchain_guardalign.message_walk import find_images
from langchain_support.agents import ask, covered, red_runnable

Forms = Callable[[CanonicalImage], dict[str, Any]]
Pictures = Callable[[object], list[CanonicalImage]]

PLAIN, RED, ALL_RED = picture(), picture(red=True), all_red()


def test_every_kind_of_input_keeps_its_shape(pictures: Pictures) -> None:
    runnable = red_runnable()
    message = ask(RED)
    assert isinstance(runnable.invoke(message), HumanMessage)
    assert runnable.invoke("just words") == "just words"
    mixed = runnable.invoke([("system", "be brief"), message, {"role": "user", "content": "x"}])
    assert [type(item) for item in mixed] == [SystemMessage, HumanMessage, HumanMessage]
    chat = runnable.invoke(ChatPromptValue(messages=[message]))
    assert isinstance(chat, ChatPromptValue)
    assert covered(pictures(chat.messages)[0])
    text = runnable.invoke(StringPromptValue(text=f"see {data_url(RED)}"))
    assert isinstance(text, StringPromptValue)
    assert covered(pictures(text.text)[0])
    image = runnable.invoke(ImagePromptValue(image_url={"url": data_url(RED), "detail": "low"}))
    assert isinstance(image, ImagePromptValue)
    assert covered(pictures(image.image_url["url"])[0])
    assert image.image_url["detail"] == "low"
    unsafe = ImagePromptValue(image_url={"url": data_url(ALL_RED)})
    with pytest.raises(ImageBlocked):
        runnable.invoke(unsafe)
    gone = red_runnable(on_blocked="notice").invoke(unsafe)
    assert gone == StringPromptValue(text=UNSAFE)
    state = {"messages": [message], "files": {"a.png": png(RED)}, "count": 3}
    new = runnable.invoke(state)
    assert (list(new), new["count"]) == (list(state), 3)
    assert all(map(covered, pictures(new)))
    assert len(pictures(new)) == 2


def test_single_images_keep_their_type(pictures: Pictures) -> None:
    runnable = red_runnable()
    assert covered(open_png(runnable.invoke(png(RED))))
    assert covered(open_png(runnable.invoke(bytearray(png(RED)))))
    assert covered(CanonicalImage(np.asarray(runnable.invoke(RED.to_pil()))))
    assert covered(pictures(runnable.invoke(data_url(RED)))[0])
    with pytest.raises(ImageBlocked, match="on_blocked"):
        runnable.invoke(data_url(ALL_RED))
    quiet = red_runnable(on_blocked="notice", on_refused="notice")
    assert quiet.invoke(data_url(ALL_RED)) == UNSAFE
    for image in (png(ALL_RED), ALL_RED.to_pil()):
        for each in (runnable, quiet):
            with pytest.raises(ImageBlocked, match="inside a message"):
                each.invoke(image)
    for wrong in (b"no image", "data:image/png;base64,AAAA"):
        with pytest.raises(ImageRejected):
            runnable.invoke(wrong)
    # There is no room for a text in the place of a picture.
    with pytest.raises(ImageRejected):
        quiet.invoke(b"no image")
    assert "not shown" in quiet.invoke("data:image/png;base64,AAAA")


@pytest.mark.parametrize("wrong", [3, None, [3], [object()], [["a", "b", "c"]]])
def test_other_values_are_refused(wrong: object) -> None:
    with pytest.raises(MessageError, match="Pass messages"):
        red_runnable().invoke(wrong)


def test_documents_are_for_the_transformer() -> None:
    with pytest.raises(MessageError, match="ImageGuardDocumentTransformer"):
        red_runnable().invoke([Document("words")])


REFUSED = {
    "http": {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}},
    "https string": {"type": "image_url", "image_url": "https://example.org/a.png"},
    "file url": {"type": "image", "url": "file:///etc/passwd"},
    "path": {"type": "image", "path": "/etc/passwd"},
    "file id": {"type": "image", "file_id": "file-1"},
    "google uri": {"type": "media", "mime_type": "image/png", "file_uri": "gs://bucket/a.png"},
    "anthropic url": {"type": "image", "source": {"type": "url", "url": "https://example.org/a"}},
    "bare base64 as url": {"type": "image", "url": base64_png(PLAIN)},
    "parameters": {
        "type": "image_url",
        "image_url": data_url(PLAIN).replace("png;", "png;charset=utf-8;"),
    },
    "wrong type": {"type": "image", "base64": base64_png(PLAIN), "mime_type": "image/jpeg"},
    "broken": {"type": "image", "base64": "iVBORw0KGgoAAAA=", "mime_type": "image/png"},
}


@pytest.mark.parametrize("part", REFUSED.values(), ids=REFUSED.keys())
def test_an_image_that_cannot_be_scanned_is_never_forwarded(part: dict[str, Any]) -> None:
    for message in (
        HumanMessage(["look", part]),
        HumanMessage("", additional_kwargs={"blocks": [part]}),
    ):
        with pytest.raises(ImageRejected) as caught:
            red_runnable().invoke([HumanMessage("hello"), message])
        assert caught.value.remedy
    result = ToolMessage([{"type": "tool_result", "content": [part]}], tool_call_id="1")
    (new,) = red_runnable().invoke([result])
    assert not find_images(new)
    assert "not shown" in repr(new)
    with pytest.raises(ImageRejected, match=r"input\[1\]\.content\[1\]"):
        red_runnable().invoke([HumanMessage("hello"), HumanMessage(["look", part])])


def test_wrapped_base64_is_one_image(pictures: Pictures) -> None:
    wrapped = "\r\n".join(textwrap.wrap(base64_png(RED), 76))
    parts = [
        {"type": "image", "base64": wrapped, "mime_type": "image/png"},
        {"type": "image", "url": f"data:image/png;base64,{wrapped}"},
    ]
    assert all(map(covered, pictures(red_runnable().invoke(HumanMessage(parts)))))


def test_a_path_that_the_policy_allows_becomes_bytes(pictures: Pictures, tmp_path: Path) -> None:
    file = tmp_path / "shot.png"
    file.write_bytes(png(RED))
    config = red_config(intake=IntakePolicy(allow_paths=True))
    runnable = ImageGuardRunnable(guard=red_guard(config))
    parts = [{"type": "image", "path": str(file)}, {"type": "image", "url": file.as_uri()}]
    new = runnable.invoke(HumanMessage(parts))
    assert "shot.png" not in repr(new.content)
    assert all(map(covered, pictures(new)))
    # The file may have changed, so it is read and scanned again.
    file.write_bytes(png(PLAIN))
    found = pictures(runnable.invoke(HumanMessage(parts)))
    assert [image.sha256 for image in found] == [PLAIN.sha256] * 2


def test_an_error_without_a_type_names_its_place() -> None:
    part = {"type": "image", "base64": base64_png(PLAIN)}
    with pytest.raises(MessageError, match=r"input\.content\[0\] should have strings"):
        red_runnable().invoke(HumanMessage([part]))
