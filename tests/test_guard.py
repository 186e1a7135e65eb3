from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from guardalign_middleware import (
    ConfigError,
    DetectionError,
    GuardAlign,
    GuardAlignConfig,
    GuardError,
    ImageGuard,
    ImageRejected,
    MessageError,
    notices,
)
from guardalign_middleware.boxes import covered
from guardalign_middleware.config import PrefixConfig, RunnerConfig, SanitizeConfig
from guardalign_middleware.generation import TokenStream
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import (
    BOX,
    EchoRunner,
    all_red,
    data_url,
    picture,
    png,
    red_chain,
    red_config,
    red_detector,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage, Message, Verdict

GREY = (127, 127, 127)


def ask(*images: CanonicalImage, text: str = "what is it?") -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "image", "image": png(image)} for image in images]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def when_flagged(runner: EchoRunner) -> EchoRunner:
    runner.config = RunnerConfig(model="echo", prefix=PrefixConfig(policy="when_flagged"))
    return runner


class TestImageGuard:
    def test_allows_what_is_not_red(self) -> None:
        verdict = red_guard().scan(png(picture()))
        assert (verdict.decision, verdict.regions, verdict.flagged) == ("allow", (), False)

    def test_finds_the_red_block(self) -> None:
        verdict = red_guard().scan(png(picture(red=True)))
        assert verdict.decision == "mask"
        assert verdict.distance <= verdict.threshold
        assert verdict.regions[0].category == "weapon"
        assert covered(BOX, [region.box for region in verdict.regions]) >= 0.6

    def test_scans_a_path_that_the_program_names(self, tmp_path: Any) -> None:
        path = tmp_path / "photo.png"
        path.write_bytes(png(picture(red=True)))
        assert red_guard().scan(str(path)).source == str(path)
        assert red_guard().scan(path).decision == "mask"

    def test_sanitize_hides_red_and_nothing_else(self) -> None:
        image = picture(red=True)
        cleaned = red_guard().sanitize(image)
        assert cleaned.image is not None
        hidden = (cleaned.image.pixels == GREY).all(axis=-1)
        x0, y0, x1, y1 = BOX
        assert hidden[y0:y1, x0:x1].all()
        assert (cleaned.image.pixels[~hidden] == image.pixels[~hidden]).all()
        assert hidden.mean() == pytest.approx(cleaned.masked_fraction)

    def test_equal_pictures_are_scanned_once_and_keep_their_names(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        guard = red_guard()
        seen: list[int] = []
        scan_many = guard.detector.scan_many

        def count(images: Sequence[CanonicalImage]) -> list[Verdict]:
            seen.append(len(images))
            return scan_many(images)

        monkeypatch.setattr(guard.detector, "scan_many", count)
        one = picture(red=True)
        same = CanonicalImage(one.pixels, "other.png")
        verdicts = guard.scan_many([one, same, picture()])
        assert seen == [2]
        assert [verdict.source for verdict in verdicts] == ["red.png", "other.png", "plain.png"]
        cleaned = guard.sanitize_many([one, same])
        assert [item.verdict.source for item in cleaned] == ["red.png", "other.png"]
        assert cleaned[1].original is same

    def test_decisions_do_not_depend_on_the_other_images(self) -> None:
        guard = red_guard()
        images = [picture(red=index % 3 == 0, side=64 + index) for index in range(6)]
        together = guard.scan_many(images)
        assert together == [red_guard().scan(image) for image in images]

    def test_nothing_to_scan(self) -> None:
        assert red_guard().scan_many([]) == []
        assert red_guard().sanitize_many([]) == []

    def test_method_block_blocks(self) -> None:
        guard = red_guard(red_config(sanitize=SanitizeConfig(method="block")))
        assert guard.scan(picture(red=True)).decision == "block"
        assert guard.sanitize(picture(red=True)).image is None
        assert guard.scan(picture()).decision == "allow"

    def test_a_preset_without_a_profile_is_refused_before_anything_is_loaded(self) -> None:
        with pytest.raises(ConfigError, match=r"no threshold profile.*[Cc]alibrate"):
            ImageGuard.from_config(red_config())
        with pytest.raises(ConfigError, match="no threshold profile"):
            GuardAlign.from_config(red_config())

    def test_bad_images_are_typed_errors(self) -> None:
        with pytest.raises(ImageRejected, match="empty"):
            red_guard().scan(b"")


class TestInvoke:
    def test_a_plain_picture_reaches_the_runner_unchanged(self) -> None:
        runner = EchoRunner()
        reply = red_chain(runner=runner).invoke(ask(picture()))
        assert reply.text == "echo: what is it? [1 image]"
        assert reply.model == "echo"
        assert reply.finish_reason == "stop"
        assert reply.usage.output_tokens == 6
        assert [verdict.decision for verdict in reply.verdicts] == ["allow"]
        assert runner.calls[0].images[0].sha256 == picture().sha256

    def test_text_alone_needs_no_scan(self) -> None:
        reply = red_chain().invoke("hello there")
        assert reply.text == "echo: hello there"
        assert reply.verdicts == ()

    def test_images_are_cleaned_in_every_position(self) -> None:
        runner = EchoRunner()
        red = {"type": "image", "image": png(picture(red=True))}
        url = {"type": "image_url", "image_url": {"url": data_url(picture(red=True))}}
        reply = red_chain(runner=runner).invoke(
            [
                {"role": "system", "content": [red]},
                {"role": "user", "content": [url, {"type": "text", "text": "first"}]},
                {"role": "assistant", "content": [red]},
                {"role": "tool", "content": [red, {"type": "text", "text": "tool"}]},
                {"role": "user", "content": ["second", red]},
            ]
        )
        assert [verdict.decision for verdict in reply.verdicts] == ["mask"] * 5
        call = runner.calls[0]
        assert [message.role for message in call.messages] == [
            "system", "user", "assistant", "tool", "user",
        ]  # fmt: skip
        assert len(call.images) == 5
        for image in call.images:
            assert not (image.pixels == (255, 0, 0)).all(axis=-1).any()
            assert (image.pixels == (0, 0, 255)).all(axis=-1).any()
        assert [type(part).__name__ for part in call.messages[1].parts] == ["ImagePart", "TextPart"]

    def test_a_blocked_image_never_reaches_the_runner(self) -> None:
        runner = EchoRunner()
        chain = red_chain(red_config(blocked_reply="no."), runner)
        reply = chain.invoke(ask(all_red(), picture()))
        assert runner.calls == []
        assert (reply.text, reply.finish_reason) == ("no.", "blocked")
        assert [verdict.decision for verdict in reply.verdicts] == ["block", "allow"]
        assert reply.usage.total_tokens == 0
        assert reply.calibration.state == "off"

    def test_the_prefix_is_always_there_by_default(self) -> None:
        runner = EchoRunner()
        red_chain(runner=runner).batch(["hello", ask(picture())])
        assert [call.prefix for call in runner.calls] == [True, True]

    def test_the_prefix_can_wait_for_something_flagged(self) -> None:
        runner = when_flagged(EchoRunner())
        red_chain(runner=runner).batch(["hello", ask(picture()), ask(picture(red=True))])
        assert [call.prefix for call in runner.calls] == [False, False, True]

    def test_options_reach_the_runner(self) -> None:
        chain = red_chain()
        assert chain.invoke("one two three", max_new_tokens=2).finish_reason == "length"
        assert chain.invoke("one two three", stop=["two"]).text == "echo: one"
        assert chain.invoke("one", max_new_tokens=None, seed=3, temperature=0.5).text == "echo: one"

    def test_the_callers_messages_are_not_changed(self) -> None:
        messages = ask(picture(red=True))
        before = copy.deepcopy(messages)
        red_chain().invoke(messages)
        assert messages == before

    def test_a_path_in_a_message_is_refused(self, tmp_path: Any) -> None:
        path = tmp_path / "photo.png"
        path.write_bytes(png(picture()))
        part = {"type": "image", "path": str(path)}
        with pytest.raises(ImageRejected, match="local file"):
            red_chain().invoke([{"role": "user", "content": [part]}])

    def test_a_fault_is_never_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = EchoRunner()
        chain = red_chain(runner=runner)

        def fail(images: object) -> list[Verdict]:
            raise DetectionError("NaN in the patch distances.", stage="transport")

        monkeypatch.setattr(chain.guard.detector, "scan_many", fail)
        for call in (chain.invoke, chain.stream, chain.prepare):
            with pytest.raises(GuardError, match="NaN"):
                call(ask(picture()))
        with pytest.raises(GuardError, match="NaN"):
            chain.batch([ask(picture())])
        assert runner.calls == []


class TestBatch:
    def test_each_answer_is_the_one_it_would_get_alone(self) -> None:
        chain = red_chain()
        conversations = [
            ask(picture(), text="one"),
            ask(all_red(), text="two"),
            "three",
            ask(picture(red=True), picture(), text="four"),
            ask(all_red(), text="five"),
        ]
        replies = chain.batch(conversations)
        assert replies == [chain.invoke(conversation) for conversation in conversations]
        assert [reply.finish_reason for reply in replies] == [
            "stop", "blocked", "stop", "stop", "blocked",
        ]  # fmt: skip

    def test_empty(self) -> None:
        assert red_chain().batch([]) == []

    def test_one_bad_conversation_is_an_error(self) -> None:
        with pytest.raises(MessageError):
            red_chain().batch(["fine", []])


class TestStream:
    def test_joined_it_equals_invoke(self) -> None:
        chain = red_chain()
        chunks = list(chain.stream(ask(picture(red=True))))
        reply = chain.invoke(ask(picture(red=True)))
        assert "".join(chunk.text for chunk in chunks) == reply.text
        assert [chunk.reply for chunk in chunks] == [None] * (len(chunks) - 1) + [reply]
        assert len(chunks) > 2

    def test_blocked(self) -> None:
        chunks = list(red_chain().stream(ask(all_red())))
        assert len(chunks) == 1
        assert chunks[0].reply is not None
        assert chunks[0].text == chunks[0].reply.text

    def test_the_guard_runs_when_the_stream_is_made(self) -> None:
        with pytest.raises(ImageRejected):
            red_chain().stream([{"role": "user", "content": [{"type": "image", "image": b"x"}]}])

    def test_finish(self) -> None:
        chain = red_chain()
        assert chain.stream("a b").finish() == chain.invoke("a b")

    def test_the_reply_is_not_available_early(self) -> None:
        stream = red_chain(runner=EndlessRunner()).stream("a b")
        with pytest.raises(GuardError, match="not ended"):
            _ = stream.reply
        stream.close()
        assert stream.reply.finish_reason == "cancelled"

    def test_closing_stops_the_generation(self) -> None:
        runner = EndlessRunner()
        with red_chain(runner=runner).stream("go") as stream:
            assert next(stream).text == "word "
        assert runner.stopped.wait(300)
        assert list(stream) == []

    def test_dropping_stops_the_generation(self) -> None:
        runner = EndlessRunner()
        stream = red_chain(runner=runner).stream("go")
        next(stream)
        del stream
        assert runner.stopped.wait(300)

    def test_prepare_and_reply_are_the_two_halves(self) -> None:
        chain = red_chain()
        prompt = chain.prepare(ask(picture(red=True)))
        assert prompt.messages[0].images[0].sha256 != picture(red=True).sha256
        assert chain.stream_reply(prompt).finish() == chain.invoke(ask(picture(red=True)))
        blocked = chain.prepare(ask(all_red()))
        assert blocked.blocked
        assert blocked.messages[0].images == ()
        assert notices.UNSAFE in blocked.messages[0].text


class TestAsync:
    async def test_they_equal_the_blocking_calls(self) -> None:
        chain = red_chain()
        conversation = ask(picture(red=True))
        reply = chain.invoke(conversation)
        assert await chain.ainvoke(conversation) == reply
        assert await chain.abatch([conversation, "x"]) == [reply, chain.invoke("x")]
        chunks = [chunk async for chunk in chain.astream(conversation)]
        assert chunks == list(chain.stream(conversation))
        assert (await chain.ainvoke(ask(all_red()))).finish_reason == "blocked"

    async def test_leaving_the_loop_stops_the_generation(self) -> None:
        runner = EndlessRunner()
        chunks = red_chain(runner=runner).astream("go")
        async for chunk in chunks:
            assert chunk.text == "word "
            break
        await chunks.aclose()
        assert runner.stopped.is_set()

    async def test_cancelling_a_task_stops_the_generation(self) -> None:
        runner = EndlessRunner()
        task = asyncio.create_task(red_chain(runner=runner).ainvoke("go"))
        while not runner.started.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert runner.stopped.is_set()

    async def test_the_event_loop_is_not_blocked(self) -> None:
        turned = asyncio.Event()

        class Waiting(EchoRunner):
            def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
                asyncio.run_coroutine_threadsafe(_set(turned), loop).result(300)
                return super().stream(messages, **options)

        loop = asyncio.get_running_loop()
        await red_chain(runner=Waiting()).ainvoke("go")
        assert turned.is_set()


async def _set(event: asyncio.Event) -> None:
    event.set()


class EndlessRunner(EchoRunner):
    """Streams until it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()
        self.stopped = threading.Event()

    def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
        answer = self.generate(messages)

        def produce(emit: Any, cancel: threading.Event) -> Generated:
            self.started.set()
            while not cancel.wait(0.001):
                emit("word ")
            self.stopped.set()
            return Generated("word", "cancelled", answer.calibration, answer.usage)

        return TokenStream(produce)


def test_a_preset_without_a_runner_only_scans(tmp_path: Any) -> None:
    config = red_config(runner=None)
    profile = tmp_path / "profile.json"
    detector = red_detector()
    assert detector.profile is not None
    detector.profile.save(profile)
    with_profile = config.model_copy(
        update={"detection": config.detection.model_copy(update={"profile": profile})}
    )
    assert isinstance(with_profile, GuardAlignConfig)
    with pytest.raises(ConfigError, match="no runner.*ImageGuard"):
        GuardAlign.from_config(with_profile)


@pytest.mark.parametrize("image", [picture(), picture(red=True), all_red()])
def test_reply_is_the_answer_at_once(image: CanonicalImage) -> None:
    chain = red_chain()
    prompt = chain.prepare(ask(image))
    assert chain.reply(prompt, stop=["is"]) == chain.stream_reply(prompt, stop=["is"]).finish()
