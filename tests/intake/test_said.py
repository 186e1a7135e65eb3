"""What a message says, in any dialect."""

from typing import Any

import pytest

from guardalign_middleware.intake.said import said_in

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
