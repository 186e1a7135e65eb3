from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.types import ImagePart, Message, TextPart
from tests.support.pictures import encode, gradient

PNG = encode(gradient())
TEXT64 = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{TEXT64}"
WITH_PATHS = IntakePolicy(allow_paths=True)


def user(*parts: object) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def fault(messages: Any, policy: IntakePolicy | None = None) -> MessageError:
    with pytest.raises(MessageError) as caught:
        parse_messages(messages, policy or IntakePolicy())
    return caught.value


def rejected(messages: Any, policy: IntakePolicy | None = None) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        parse_messages(messages, policy or IntakePolicy())
    return caught.value


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": URL},
        {"type": "image", "base64": TEXT64, "mime_type": "image/png", "id": "part-1"},
        {"type": "image", "image": PNG},
        {"type": "image", "image": gradient()},
        {"type": "image", "image": load_image(gradient())},
        {"type": "image", "image": URL},
        {"type": "image", "url": URL},
        ImagePart(load_image(gradient())),
    ],
)
def test_every_accepted_image_part(part: object) -> None:
    (message,) = parse_messages(user({"type": "text", "text": "what?"}, part, "and now?"))
    assert message.text == "what?\nand now?"
    assert [type(piece) for piece in message.parts] == [TextPart, ImagePart, TextPart]
    np.testing.assert_array_equal(message.images[0].pixels, np.asarray(gradient()))


def test_images_in_every_turn_are_taken_in() -> None:
    image = {"type": "image", "image": PNG}
    conversation: list[dict[str, Any]] = [
        {"role": "system", "content": ["Look.", image]},
        {"role": "user", "content": [image, image]},
        {"role": "assistant", "content": "I see."},
        {"role": "tool", "content": [image]},
    ]
    parsed = parse_messages(conversation)
    assert [message.role for message in parsed] == ["system", "user", "assistant", "tool"]
    assert [len(message.images) for message in parsed] == [1, 2, 0, 1]


def test_a_string_is_a_user_message() -> None:
    assert parse_messages("hello") == (Message("user", (TextPart("hello"),)),)


def test_finished_messages_pass_through_and_keep_the_caps() -> None:
    image = load_image(gradient())
    message = Message("user", (TextPart("what?"), ImagePart(image)))
    (parsed,) = parse_messages([message])
    assert parsed.images[0] is image
    assert rejected([message], IntakePolicy(max_pixels=5)).reason == "too_many_pixels"


class TestPaths:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "a photo.png"
        path.write_bytes(PNG)
        return path

    def forms(self, file: Path) -> list[dict[str, Any]]:
        return [
            {"type": "image", "path": str(file)},
            {"type": "image", "path": file},
            {"type": "image", "image": str(file)},
            {"type": "image", "image": file},
            {"type": "image", "url": file.as_uri()},
            {"type": "image_url", "image_url": {"url": file.as_uri()}},
            {"type": "image_url", "image_url": str(file)},
        ]

    def test_refused_by_default_and_never_opened(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("a file was opened"))
        for part in self.forms(file):
            error = rejected(user(part))
            assert error.reason == "path_not_allowed"
            assert "intake.allow_paths" in error.remedy

    def test_read_when_the_policy_allows_it(self, file: Path) -> None:
        for part in self.forms(file):
            (message,) = parse_messages(user(part), WITH_PATHS)
            assert message.images[0].source == str(file)

    def test_a_file_of_another_machine_is_a_url(self) -> None:
        part = {"type": "image", "url": "file://server/share/a.png"}
        assert rejected(user(part), WITH_PATHS).reason == "url_not_allowed"


@pytest.mark.parametrize("policy", [IntakePolicy(), WITH_PATHS])
def test_urls_are_refused(policy: IntakePolicy) -> None:
    for part in (
        {"type": "image_url", "image_url": {"url": "https://host/a.png?key=secret"}},
        {"type": "image", "url": "http://host/secret.png"},
    ):
        error = rejected(user("what?", part), policy)
        assert error.reason == "url_not_allowed"
        assert error.message.startswith("messages[0].content[1]: ")
        assert "secret" not in str(error)


def test_a_rejected_image_keeps_its_reason_and_names_its_place() -> None:
    half = {"type": "image", "image": PNG[: len(PNG) // 2]}
    error = rejected([*user("hi"), {"role": "tool", "content": ["x", half]}])
    assert (error.reason, error.source) == ("corrupt", "<bytes>")
    assert error.message.startswith("messages[1].content[1]: ")
    assert error.remedy


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video", "url": URL},
        {"type": "input_image", "image_url": URL},
        {"type": "image"},
        {"type": "image", "image": 3},
        {"type": "image", "path": 3},
        {"type": "image", "image": PNG, "url": URL},
        {"type": "image", "base64": TEXT64},
        {"type": "image", "base64": PNG, "mime_type": "image/png"},
        {"type": "image_url"},
        {"type": "image_url", "image_url": {"uri": URL}},
        {"type": "text"},
        {"type": "text", "text": None},
        {"type": ["text"], "text": "a"},
        {},
        None,
        7,
        PNG,
        gradient(),
    ],
)
def test_a_part_that_is_not_understood_is_never_dropped(part: object) -> None:
    error = fault([{"role": "system", "content": "be kind"}, *user("what?", part)])
    assert error.message.startswith("messages[1].content[1] ")
    assert "Accepted parts" in error.remedy or "exactly one" in error.message


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([], "no user message"),
        ("", "messages[0] is empty"),
        (" \n", "messages[0] is empty"),
        (None, "messages should be a list"),
        (b"hello", "messages should be a list"),
        ({"role": "user", "content": "hi"}, "messages should be a list"),
        (["hi"], "messages[0] should be a mapping"),
        ([{"role": "user"}], "messages[0] has no content"),
        ([{}], "messages[0] has no role and no content"),
        ([{"role": "human", "content": "hi"}], "unknown role 'human'"),
        ([{"role": ["user"], "content": "hi"}], "unknown role"),
        ([{"role": "user", "content": None}], "messages[0].content should be"),
        (
            [{"role": "user", "content": {"type": "text", "text": "a"}}],
            "messages[0].content should",
        ),
        ([{"role": "user", "content": []}], "messages[0].content has no parts"),
        ([{"role": "system", "content": "be kind"}], "no user message"),
        ([{"role": "assistant", "content": "hello"}], "no user message"),
        (
            [{"role": "user", "content": "a"}, {"role": "user", "content": [""]}],
            "messages[1] is empty",
        ),
    ],
)
def test_malformed_conversations(messages: Any, place: str) -> None:
    assert place in fault(messages).message


def test_a_tool_or_assistant_may_answer_with_nothing() -> None:
    parsed = parse_messages(
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": ""},
            {"role": "tool", "content": ""},
        ]
    )
    assert [message.text for message in parsed] == ["hi", "", ""]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "image_url", "url", "image", "path"]
            )
            | st.text(max_size=4),
            inner | st.sampled_from(["user", "text", "image", "image_url", "tool", URL]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(messages=JSON)
def test_any_json_is_a_conversation_or_a_typed_error(messages: Any) -> None:
    try:
        parsed = parse_messages(messages)
    except (MessageError, ImageRejected):
        return
    assert any(message.role == "user" for message in parsed)
    assert all(message.parts for message in parsed)


HALF = "\ud83d"
WITH_HALF: list[Any] = [
    f"What {HALF} is it?",
    [{"role": "user", "content": HALF}],
    user({"type": "text", "text": f"a {HALF}"}),
    user(f"a {HALF}"),
    [{"role": "system", "content": HALF}, *user("hi")],
    [{"role": "assistant", "content": None, "refusal": HALF}, *user("hi")],
    [{"role": "tool", "content": [{"type": "text", "text": HALF}]}, *user("hi")],
    [Message("user", (TextPart(HALF),))],
    [{"role": HALF, "content": "hi"}],
    user({"type": HALF}),
    user({"type": "image", "image": HALF}),
]


@pytest.mark.parametrize("messages", WITH_HALF)
def test_half_of_a_surrogate_pair_is_an_error_of_the_message(messages: Any) -> None:
    with pytest.raises((MessageError, ImageRejected)) as caught:
        parse_messages(messages)
    assert caught.value.remedy


def test_whole_pairs_and_other_planes_are_text() -> None:
    pair = json.loads('"\\ud83d\\ude00"')
    (message,) = parse_messages(f"{pair} 𐀀")
    assert message.text == "😀 𐀀"
