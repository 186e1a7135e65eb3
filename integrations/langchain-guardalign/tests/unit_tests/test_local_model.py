"""`ChatGuardAlign` as LangChain's tools use a model: cache keys, token counts, limits, options."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from PIL import Image

from guardalign_middleware import ConfigError, ContextOverflow, GuardAlign, MessageError
from guardalign_middleware.testing import EchoRunner, picture, red_chain
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ChatGuardAlign
from langchain_support.agents import block


def colour(number: int) -> CanonicalImage:
    return picture(colour=(0, number, 255 - number))


def asked(image: object, text: str = "What is it?") -> list[BaseMessage]:
    return [HumanMessage([{"type": "text", "text": text}, {"type": "image", "image": image}])]


class TestTheCache:
    @pytest.fixture
    def runner(self) -> EchoRunner:
        return EchoRunner()

    @pytest.fixture
    def model(self, runner: EchoRunner) -> ChatGuardAlign:
        return ChatGuardAlign(red_chain(runner=runner), cache=InMemoryCache())

    async def test_each_picture_has_an_answer_of_its_own(
        self, model: ChatGuardAlign, runner: EchoRunner
    ) -> None:
        for number in range(24):
            model.invoke(asked(colour(number).to_pil()))
            gc.collect(1)  # The address of one picture is the next one's.
        assert len(runner.calls) == 24
        for number in range(24):
            model.invoke(asked(colour(number).to_pil()))
            await model.ainvoke(asked(colour(number).to_pil()))
        assert len(runner.calls) == 24

    @pytest.mark.parametrize(
        "change",
        [
            lambda image: image.convert("L"),
            lambda image: image.resize((65, 64)),
            lambda image: image.convert("P"),
            lambda image: image.transpose(Image.Transpose.ROTATE_90),
        ],
    )
    def test_anything_that_makes_another_picture_makes_another_key(
        self, model: ChatGuardAlign, runner: EchoRunner, change: Callable[[Any], Any]
    ) -> None:
        pixels = np.random.default_rng(1).integers(0, 90, (64, 64, 3), dtype=np.uint8)
        original = Image.fromarray(pixels)
        for image in (original, change(original), original, change(original)):
            model.invoke(asked(image))
        assert len(runner.calls) == 2

    def test_other_models_and_settings_share_nothing(self, runner: EchoRunner) -> None:
        cache, image = InMemoryCache(), colour(1).to_pil()
        for chain in (red_chain(runner=runner), red_chain(runner=runner)):
            for seed in (1, 2):
                ChatGuardAlign(chain=chain, cache=cache, seed=seed).invoke(asked(image))
        assert len(runner.calls) == 2

    def test_what_has_no_key_is_not_cached(self, model: ChatGuardAlign, runner: EchoRunner) -> None:
        for _ in range(2):
            message = HumanMessage("Hi", additional_kwargs={"odd": object()})
            model.invoke([message])
        assert len(runner.calls) == 2

    def test_bytes_arrays_and_files_are_keyed_by_their_contents(self) -> None:
        from langchain_guardalign.picture_cache import _keyed

        for make in (
            lambda n: bytes([n]) * 5000,
            lambda n: memoryview(bytes([n]) * 5000),
            lambda n: np.where(np.arange(5000) == 2500, n, 0),
            lambda n: io.BytesIO(bytes([n])),
        ):
            assert _keyed([make(1)]) == _keyed([make(1)]) != _keyed([make(2)])


def long_history() -> list[BaseMessage]:
    words = "a red car and a green dog in the picture " * 3
    turns: list[BaseMessage] = [SystemMessage("You see pictures.")]
    for number in range(12):
        turns += [HumanMessage([{"type": "text", "text": words}, block(colour(number))])]
        turns += [AIMessage(words)]
    return [*turns, HumanMessage("What now?")]


@pytest.fixture(scope="module")
def mini() -> ChatGuardAlign:
    return ChatGuardAlign()


class TestWithMini:
    @pytest.fixture
    def model(self, mini: ChatGuardAlign) -> ChatGuardAlign:
        return mini

    def test_the_profile_says_what_the_model_reads(self, model: ChatGuardAlign) -> None:
        assert model.profile is not None
        assert model.profile["max_input_tokens"] == 512
        chain = GuardAlign.from_preset("mini")
        loaded = ChatGuardAlign(chain).profile
        assert loaded is not None
        assert loaded["max_input_tokens"] == 512
        assert "max_input_tokens" not in (ChatGuardAlign(red_chain()).profile or {})
        # A hook for answers changes nothing of what is known of the model.
        hooked = ChatGuardAlign(GuardAlign(chain.guard, chain.runner, on_output=lambda _, a: a))
        assert hooked.profile == loaded
        assert hooked.get_num_tokens("a red car") == model.get_num_tokens("a red car") > 0
        asked: list[BaseMessage] = [HumanMessage("a red car")]
        counted = hooked.get_num_tokens_from_messages(asked)
        assert counted == model.get_num_tokens_from_messages(asked) > 0

    def test_any_part_of_a_history_has_a_length(self, model: ChatGuardAlign) -> None:
        tool = ToolMessage([block(colour(1))], tool_call_id="1")
        parts: list[list[BaseMessage]] = [
            [],
            [AIMessage("a red car")],
            [SystemMessage("a red car")],
            [tool],
            [AIMessage(""), tool, AIMessage("a dog")],
            [HumanMessage("a red car")],
            long_history(),
        ]
        counts = [model.get_num_tokens_from_messages(part) for part in parts]
        assert counts[0] == 0
        assert all(isinstance(count, int) and count > 0 for count in counts[1:])
        # The picture takes 36; an empty message counts as one with a full stop.
        image = model.get_num_tokens_from_messages([HumanMessage([block(colour(1))])])
        assert image - model.get_num_tokens_from_messages([HumanMessage("")]) == 35
        assert counts[-1] > 512

    def test_a_whole_prompt_counts_as_the_model_does(self, model: ChatGuardAlign) -> None:
        prompt = asked(colour(3).to_pil())
        answer = model.invoke(prompt)
        assert answer.usage_metadata is not None
        assert model.get_num_tokens_from_messages(prompt) == answer.usage_metadata["input_tokens"]

    def test_a_history_is_trimmed_to_what_the_model_reads(self, model: ChatGuardAlign) -> None:
        history = long_history()
        trimmed = trim_messages(
            history,
            max_tokens=400,
            token_counter=model,
            strategy="last",
            include_system=True,
            start_on="human",
        )
        assert isinstance(trimmed[0], SystemMessage)
        assert trimmed[-1] is history[-1]
        assert 2 < len(trimmed) < len(history)
        assert model.get_num_tokens_from_messages(trimmed) <= 400
        first = trim_messages(history, max_tokens=200, token_counter=model, strategy="first")
        assert 0 < len(first) < len(history)

    async def test_a_prompt_that_is_too_long_is_langchains_error_and_the_cores(
        self, model: ChatGuardAlign
    ) -> None:
        history = long_history()
        expected = model.get_num_tokens_from_messages(history)

        async def streamed() -> None:
            async for _ in model.astream(history):
                pass

        for error in (ContextOverflowError, ContextOverflow, MessageError):
            with pytest.raises(error, match="reads at most 512"):
                model.invoke(history)
        with pytest.raises(ContextOverflow) as caught:
            list(model.stream(history))
        # What was counted before the pictures were decoded and the template was rendered.
        assert 512 < caught.value.tokens <= expected
        assert caught.value.limit == 512
        assert isinstance(caught.value, ContextOverflowError)
        with pytest.raises(ContextOverflowError):
            await model.ainvoke(history)
        with pytest.raises(ContextOverflowError):
            await streamed()


class TestOptions:
    @pytest.mark.parametrize(
        ("misspelled", "meant"),
        [("presett", "preset"), ("temprature", "temperature"), ("max_token", "max_tokens")],
    )
    def test_a_misspelled_one_is_an_error(self, misspelled: str, meant: str) -> None:
        with pytest.raises(ConfigError, match=f"ChatGuardAlign has no option .*mean '{meant}'"):
            ChatGuardAlign(**{misspelled: 1})

    def test_so_is_one_of_a_call(self) -> None:
        model = ChatGuardAlign(red_chain())
        with pytest.raises(ConfigError, match="mean 'temperature'"):
            model.invoke("Hi", temprature=1)
        with pytest.raises(ConfigError, match="mean 'max_tokens'"):
            list(model.bind(max_token=1).stream("Hi"))

    def test_langchains_standard_ones_are_accepted(self) -> None:
        model = ChatGuardAlign(
            red_chain(), api_key="k", base_url="u", timeout=1, max_retries=2, stop_sequences=["x"]
        )
        assert model.invoke("Hi", timeout=1).text == "echo: Hi"
        assert model.stop == ["x"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"chain": "mini"}, "chain should be a GuardAlign. Received 'mini'.*preset="),
            ({"chain": red_chain().guard}, "chain should be a GuardAlign. Received an ImageGuard"),
            ({"chain": GuardAlign}, "Received the class GuardAlign"),
            ({"preset": 3}, "preset should be a string or a path"),
            ({"preset": red_chain()}, "as chain="),
            ({"preset": "mini", "chain": red_chain()}, "Exactly one of preset and chain"),
        ],
    )
    def test_a_wrong_type_is_an_error_in_words(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            ChatGuardAlign(**options)

    def test_a_chain_or_a_preset_by_position(self) -> None:
        chain = red_chain()
        assert ChatGuardAlign(chain)._lazy.get() is chain
        assert ChatGuardAlign("mini").preset == "mini"
        with pytest.raises(ConfigError, match="Exactly one of preset and chain"):
            ChatGuardAlign(chain, preset="mini")
