"""What one request may hold, refused before anything is decoded; and equal files decoded once."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import (
    BudgetExceeded,
    ImageRejected,
    MessageError,
    OutOfMemory,
)
from guardalign_middleware.intake import decode, load_frames, load_image
from guardalign_middleware.intake.budget import request_budget
from guardalign_middleware.intake.messages import ParsedConversation, read_conversation
from guardalign_middleware.intake.request import Room, Sizes
from guardalign_middleware.testing.dialects import blocks_of
from tests.support.animations import animation
from tests.support.pictures import encode, gradient


def turn(*pictures: Any, role: str = "user", text: str = "What is it?") -> dict[str, Any]:
    blocks = [{"type": "image", "image": each} for each in pictures]
    return {"role": role, "content": [*blocks, {"type": "text", "text": text}]}


def files(count: int, width: int = 10, height: int = 10) -> list[bytes]:
    return [encode(Image.new("RGB", (width, height), (seed, 9, 9))) for seed in range(count)]


def read(*turns: Any, on_refused: Any = "raise", **caps: Any) -> ParsedConversation:
    return read_conversation(list(turns), IntakePolicy(**caps), on_refused=on_refused)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources of the files that were decoded."""
    seen = []
    original = decode.to_srgb_pixels

    def counting(picture: Any, policy: IntakePolicy, source: str) -> Any:
        seen.append(source)
        return original(picture, policy, source)

    monkeypatch.setattr(decode, "to_srgb_pixels", counting)
    return seen


class TestCaps:
    @pytest.mark.parametrize(
        ("caps", "reason"),
        [
            ({"max_request_images": 3}, "too_many_images"),
            ({"max_request_pixels": 399, "max_pixels": 399}, "too_many_pixels"),
        ],
    )
    def test_too_many_pictures_are_refused_before_any_is_decoded(
        self, decoded: list[str], caps: Any, reason: str
    ) -> None:
        with pytest.raises(ImageRejected) as refused:
            read_conversation([turn(*files(4))], IntakePolicy(**caps))
        assert refused.value.reason == reason
        assert f"max_request_{reason.rpartition('_')[2]}" in refused.value.remedy
        assert decoded == []

    @pytest.mark.parametrize("count", [3, 4])
    def test_what_reaches_a_cap_is_accepted(self, count: int) -> None:
        caps = {"max_request_images": count, "max_request_pixels": count * 100}
        parsed = read(turn(*files(count)), **caps)
        assert len(parsed.messages[0].images) == count

    def test_older_turns_give_way_so_that_a_conversation_goes_on(self) -> None:
        first, second, third = files(3)
        answer = {"role": "assistant", "content": "It is red."}
        turns = [turn(first), answer, turn(second), answer, turn(third)]
        parsed = read(*turns, max_request_images=2)
        assert [len(message.images) for message in parsed.messages] == [0, 0, 1, 0, 1]
        assert [each.reason for each in parsed.refused] == ["too_many_images"]
        assert "too many images" in parsed.messages[0].text

    def test_equal_pictures_count_each_time(self) -> None:
        with pytest.raises(ImageRejected, match="more pictures"):
            read(turn(*files(1) * 3), max_request_images=2)

    def test_frames_and_files_of_unknown_size_take_what_is_left(self, tmp_path: Any) -> None:
        (tmp_path / "a.png").write_bytes(encode(gradient(10, 10)))
        path = {"type": "image", "path": str(tmp_path / "a.png")}
        message = {"role": "user", "content": [path, path, path]}
        caps: dict[str, Any] = {"allow_paths": True, "max_pixels": 150, "max_request_pixels": 250}
        with pytest.raises(ImageRejected) as refused:
            read(message, **caps)
        assert refused.value.reason == "too_many_pixels"
        assert "max_request_pixels" in refused.value.remedy
        film = animation(*[load_image(gradient(8, side)) for side in (8, 9, 8)])
        with pytest.raises(ImageRejected, match="request"):
            read(turn(film, film), frames="scan_all", max_request_images=5)

    @pytest.mark.parametrize("content", ["x" * 100, [{"type": "text", "text": "x" * 50}] * 2])
    def test_too_much_text_is_refused(self, content: Any) -> None:
        with pytest.raises(MessageError, match="max_request_text"):
            read({"role": "user", "content": content}, max_request_text=99)
        assert read({"role": "user", "content": content}, max_request_text=102)

    def test_nothing_is_no_way_around_the_cap_of_text(self) -> None:
        blocks = [*[{"type": "text", "text": ""}] * 200, {"type": "text", "text": "x"}]
        with pytest.raises(MessageError, match="max_request_text"):
            read({"role": "user", "content": blocks}, max_request_text=99)

    def test_a_file_in_a_text_for_another_model_is_no_text(self) -> None:
        sizes = Sizes(IntakePolicy(max_request_text=5000))
        encoded = base64.b64encode(bytes(range(256)) * 200).decode()
        lines = "\n".join(encoded[start : start + 76] for start in range(0, len(encoded), 76))
        for text in (encoded, f"![film](data:video/mp4;base64,{encoded}) is it", lines):
            sizes.heard(text)
        with pytest.raises(MessageError, match="max_request_text"):
            sizes.heard("word " * 1000)

    def test_too_many_messages_are_refused(self) -> None:
        with pytest.raises(MessageError, match="max_request_messages"):
            read(*[turn()] * 3, max_request_messages=2)

    @given(
        pixels=st.lists(st.integers(0, 60), max_size=12),
        images=st.integers(1, 8),
        most=st.integers(1, 120),
    )
    def test_what_is_let_in_keeps_both_caps(
        self, pixels: list[int], images: int, most: int
    ) -> None:
        room = Room(IntakePolicy(max_request_images=images, max_request_pixels=most), pixels)
        let_in = []
        for index in range(len(pixels)):
            try:
                let_in.append(room.enter("here"))
            except ImageRejected:
                continue
            assert let_in[-1] == index
        assert len(let_in) <= images
        assert sum(pixels[index] for index in let_in) <= most
        if len(pixels) <= images and sum(pixels) <= most:
            assert len(let_in) == len(pixels)
        elif pixels and pixels[-1] <= most:
            # The latest picture goes first.
            assert let_in[-1] == len(pixels) - 1


class TestEqualFiles:
    def test_equal_parts_are_decoded_once(self, decoded: list[str]) -> None:
        (data,) = files(1)
        parsed = read(turn(data, bytes(bytearray(data))), turn(data))
        assert len(decoded) == 1
        digests = {image.sha256 for message in parsed.messages for image in message.images}
        assert len(digests) == 1

    def test_a_budget_counts_each_of_them_but_no_second_decoding(self, decoded: list[str]) -> None:
        (data,) = files(1)
        with request_budget(images=2, pixels=10**6):
            first, second = load_image(data), load_image(data)
            first.release()
            assert np.array_equal(first.pixels, second.pixels)
            with pytest.raises(BudgetExceeded, match="2 are accepted"):
                load_image(data)
        assert len(decoded) == 2

    def test_in_any_form(self, decoded: list[str]) -> None:
        (data,) = files(1)
        forms = blocks_of(data, "image/png")
        blocks = [forms[name] for name in forms if forms[name].get("type") == "image_url"]
        blocks.append({"type": "image", "image": data})
        images = read({"role": "user", "content": blocks}).messages[0].images
        assert len(images) == len(blocks)
        assert len(decoded) == 1
        assert {image.source for image in images} == {"<data URL>", "<bytes>"}

    def test_other_bytes_another_policy_and_a_lie_are_not_equal(self, decoded: list[str]) -> None:
        first, second = files(2)
        kept = [load_image(first), load_image(second)]
        kept.append(load_image(first, IntakePolicy(background=(0, 0, 0))))
        assert len(decoded) == 3
        with pytest.raises(ImageRejected, match="JPEG"):
            read(
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": first},
                        {"type": "image_url", "image_url": {"url": _lie(first)}},
                    ],
                }
            )
        assert kept

    def test_a_file_is_forgotten_with_its_picture(self, decoded: list[str]) -> None:
        data = encode(gradient(23, 7))
        load_image(data)
        load_image(data)
        assert len(decoded) == 2


def _lie(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("load", [load_image, load_frames])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError("out of memory error when reading image file"),
        RuntimeError("Cannot allocate memory"),
    ],
)
def test_a_lack_of_memory_says_nothing_about_the_file(
    monkeypatch: pytest.MonkeyPatch, load: Any, error: Exception
) -> None:
    data = encode(gradient(9, 9), "JPEG")

    def fail(*_: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(decode, "to_srgb_pixels", fail)
        with pytest.raises(OutOfMemory) as fault:
            load(data)
    assert fault.value.stage == "intake"
    assert fault.value.__cause__ is error
    assert load(data)


def test_a_lack_of_memory_for_the_bytes_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(base64, "b64decode", fail)
    block = {"type": "image", "base64": "aGFsbG8=", "mime_type": "image/png"}
    with pytest.raises(OutOfMemory):
        read({"role": "user", "content": [block]})
