"""The public doubles: every name is there, and they do what a test of a user's program needs."""

from __future__ import annotations

import pytest

from guardalign_middleware import ConfigError, ImageRejected, testing
from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.testing.dialects import blocks_of
from guardalign_middleware.testing.histories import BLOCKS, INERT, SPOKEN
from guardalign_middleware.testing.refused import refused_files

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"what": {"type": "string"}, "times": {"type": "integer"}},
        },
    },
}


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(testing, name) is not None


def test_the_example_of_the_package() -> None:
    runner = testing.EchoRunner()
    image = {"type": "image", "image": testing.png(testing.picture(red=True))}
    reply = testing.red_chain(runner=runner).invoke(
        [{"role": "user", "content": [image, {"type": "text", "text": "what is it?"}]}]
    )
    assert reply.verdicts[0].decision == "mask"
    assert reply.text == "echo: what is it? [1 image]"
    assert not testing.has_red(runner.calls[0].images[0])


def test_pictures_are_the_same_in_every_form() -> None:
    for image in (testing.picture(), testing.picture(red=True), testing.all_red()):
        assert testing.open_png(testing.png(image)).sha256 == image.sha256
        url = {"type": "image_url", "image_url": {"url": testing.data_url(image)}}
        bare = {"type": "image", "base64": testing.base64_png(image), "mime_type": "image/png"}
        (message,) = parse_messages([{"role": "user", "content": [url, bare]}])
        assert {found.sha256 for found in message.images} == {image.sha256}


def test_red_is_unsafe_and_all_red_is_blocked() -> None:
    guard = testing.red_guard()
    images = (testing.picture(), testing.picture(red=True), testing.all_red())
    cleaned = guard.sanitize_many(images)
    assert [item.verdict.decision for item in cleaned] == ["allow", "mask", "block"]
    assert guard.detector.profile is not None
    assert guard.detector.profile.threshold == testing.THRESHOLD
    x0, y0, x1, y1 = testing.BOX
    assert (images[1].pixels[y0:y1, x0:x1] == testing.RED).all()


def test_a_counting_guard_counts_its_scans() -> None:
    guard, encoder = testing.counting_guard()
    assert guard.scan(testing.picture(red=True)).decision == "mask"
    assert encoder.batches == 1


@pytest.mark.parametrize("name", refused_files())
def test_refused_files_are_refused(name: str) -> None:
    data, mime_type = refused_files()[name]
    block = blocks_of(data, mime_type)["openai"]
    with pytest.raises(ImageRejected):
        testing.red_chain().invoke([{"role": "user", "content": [block]}])


def test_the_encoder_knows_only_colours() -> None:
    encoder = testing.FakeEncoder()
    assert encoder.encode_texts(["a red thing", "black and white"]).shape == (2, 7)
    with pytest.raises(ConfigError, match="only colours"):
        encoder.encode_texts(["a gun"])


def test_runners_that_call_tools() -> None:
    scripted = testing.red_chain(runner=testing.ScriptedRunner("one", "two"))
    assert [scripted.invoke("go").text for _ in range(3)] == ["one", "two", "one"]
    eager = testing.EagerRunner()
    text = testing.red_chain(runner=eager).invoke("look for 'cats'", tools=[TOOL]).text
    assert "look" in text
    assert "cats" in text
    assert [list(offered) for offered in eager.tools] == [[TOOL]]


def test_dialects_carry_the_same_bytes() -> None:
    data = testing.png(testing.picture())
    blocks = blocks_of(data, "image/png")
    assert len(blocks) > 20
    readable = [blocks[name] for name in ("v1 base64", "v1 data url", "openai", "transformers")]
    (message,) = parse_messages([{"role": "user", "content": readable}])
    assert {image.sha256 for image in message.images} == {testing.picture().sha256}


def test_no_block_of_a_history_hides_another_of_its_name() -> None:
    assert len(BLOCKS) == len(INERT) + len(SPOKEN)
