"""What a message says, in any dialect."""

import base64
import json
import random
from typing import Any

import pytest

from guardalign_middleware.intake.said import said_in, words_of

URL = {"url": "data:image/png;base64,iVBORw0KGgo="}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("words", "words"),
        (None, ""),
        ([], ""),
        (["one", "two"], "one\ntwo"),
        ([{"type": "text", "text": "one"}, {"type": "input_text", "text": "two"}], "one\ntwo"),
        ([{"text": "Bedrock"}, {"image": {"source": {"bytes": b"x"}}}], "Bedrock"),
        (
            [{"type": "image_url", "image_url": URL}, {"type": "text", "text": "a"}],
            "a",
        ),
        ([{"type": "input_image", "file_id": "f"}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "video", "url": "https://x.example"}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "tool_result", "content": [{"type": "text", "text": "found"}]}], "found"),
        ([{"type": "function_call_output", "call_id": "1", "output": "found"}], "found"),
        ([{"type": "tool_use", "input": {"url": "x"}}, {"type": "text", "text": "a"}], "a"),
        ([object(), {"type": "text", "text": "a"}], "a"),
        (7, ""),
    ],
)
def test_the_words_of_a_message(content: Any, said: str) -> None:
    assert said_in(content) == said


FILE = random.Random(0).randbytes(3000)
DATA = base64.b64encode(FILE).decode()


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        f"data:image/png;base64,{DATA}",
        base64.urlsafe_b64encode(FILE).decode(),
        base64.encodebytes(FILE).decode(),
        DATA.replace("/", "\\/"),
    ],
    ids=["base64", "data URL", "URL alphabet", "lines", "escaped"],
)
def test_base64_is_no_words(data: str) -> None:
    assert words_of(f"See {data} there.").split() == ["See", "there."]
    assert said_in([{"type": "text", "text": json.dumps({"shot": data, "a": "word"})}]).count(
        "word"
    )
    assert len(said_in([{"type": "text", "text": json.dumps({"shot": data})}])) < 100


@pytest.mark.parametrize(
    "words",
    [
        "Steps to bake: 1. Flour 2. Water " * 90,
        "Stepstobake" * 90,
        "https://example.org/a/path/of/Words/2026/" + "b" * 80,
        "sha256 " + "0123456789abcdefABCDEF" * 3,
    ],
)
def test_words_stay(words: str) -> None:
    assert said_in(words) == words
