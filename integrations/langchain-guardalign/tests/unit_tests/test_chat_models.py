from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage

from guardalign_middleware import GuardAlign
from guardalign_middleware.config import SanitizeConfig
from guardalign_middleware.errors import ConfigError, DetectionError, ImageRejected
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import (
    BOX,
    EchoRunner,
    all_red,
    picture,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage, Message
from langchain_guardalign import ChatGuardAlign
from langchain_support.agents import ask as question
from langchain_support.agents import block

GREY = (127, 127, 127)


def ask(*images: CanonicalImage, text: str = "what is in the picture ?") -> list[HumanMessage]:
    return [question(*images, text=text)]


@pytest.fixture
def runner() -> EchoRunner:
    return EchoRunner()


@pytest.fixture
def model(runner: EchoRunner) -> ChatGuardAlign:
    return ChatGuardAlign(chain=red_chain(runner=runner))


def test_the_model_sees_the_cleaned_picture(model: ChatGuardAlign, runner: EchoRunner) -> None:
    reply = model.invoke(ask(picture(red=True)))
    assert reply.text == "echo: what is in the picture ? [1 image]"
    (seen,) = runner.calls[0].images
    x0, y0, x1, y1 = BOX
    assert (seen.pixels[y0:y1, x0:x1] == GREY).all()


def test_images_in_tool_results_and_older_turns_are_cleaned(
    model: ChatGuardAlign, runner: EchoRunner
) -> None:
    model.invoke(
        [
            *ask(picture(red=True)),
            ToolMessage([block(picture(red=True))], tool_call_id="1"),
            *ask(picture()),
        ]
    )
    images = runner.calls[0].images
    x0, y0, x1, y1 = BOX
    assert all((image.pixels[y0:y1, x0:x1] == GREY).all() for image in images[:2])
    assert images[2].sha256 == picture().sha256


def test_metadata_holds_the_evidence_and_no_image(model: ChatGuardAlign) -> None:
    reply = model.invoke(ask(picture(red=True), picture()))
    metadata = reply.response_metadata
    assert metadata["model_name"] == "echo"
    assert metadata["finish_reason"] == "stop"
    evidence = metadata["guardalign"]
    assert [verdict["decision"] for verdict in evidence["verdicts"]] == ["mask", "allow"]
    assert (evidence["masked"], evidence["blocked"]) == (1, 0)
    assert evidence["calibration"]["prefix"] is True
    assert len(json.dumps(metadata)) < 4000
    assert reply.usage_metadata == {"input_tokens": 8, "output_tokens": 9, "total_tokens": 17}


def test_a_blocked_image_never_reaches_the_model(model: ChatGuardAlign, runner: EchoRunner) -> None:
    reply = model.invoke(ask(all_red()))
    assert reply.text == red_config().blocked_reply
    assert reply.response_metadata["finish_reason"] == "blocked"
    assert runner.calls == []
    assert "".join(chunk.text for chunk in model.stream(ask(all_red()))) == reply.text


def test_a_stream_joins_to_the_answer(model: ChatGuardAlign) -> None:
    chunks = list(model.stream(ask(picture(red=True))))
    assert len(chunks) > 3
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    expected = model.invoke(ask(picture(red=True)))
    assert isinstance(whole, AIMessageChunk)
    assert whole.text == expected.text
    assert whole.usage_metadata == expected.usage_metadata
    assert whole.response_metadata["guardalign"] == expected.response_metadata["guardalign"]
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1


async def test_async_answers_are_the_same(model: ChatGuardAlign) -> None:
    expected = model.invoke(ask(picture(red=True)))
    assert (await model.ainvoke(ask(picture(red=True)))).text == expected.text
    streamed = [chunk.text async for chunk in model.astream(ask(picture(red=True)))]
    assert "".join(streamed) == expected.text
    assert len(streamed) > 3


def test_batch_answers_each(model: ChatGuardAlign) -> None:
    replies = model.batch([ask(picture(), text="one"), ask(all_red()), ask(picture(), text="two")])
    assert [reply.text for reply in replies] == [
        "echo: one [1 image]",
        red_config().blocked_reply,
        "echo: two [1 image]",
    ]


def test_callbacks_receive_each_token(model: ChatGuardAlign) -> None:
    class Listener(BaseCallbackHandler):
        heard = ""

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            self.heard += token

    listener = Listener()
    text = "".join(c.text for c in model.stream(ask(picture()), config={"callbacks": [listener]}))
    assert listener.heard == text


def test_fields_and_call_keywords_reach_the_runner() -> None:
    class Recording(EchoRunner):
        options: dict[str, Any]

        def generate_batch(self, rows: Any, **options: Any) -> list[Generated]:
            self.options = options
            return super().generate_batch(rows, **options)

    runner = Recording()
    model = ChatGuardAlign(
        chain=red_chain(runner=runner), temperature=0.5, max_tokens=2, seed=3, stop=["stop"]
    )
    assert model.invoke("a b c d").text == "echo: a"
    assert {key: runner.options[key] for key in ("temperature", "seed", "stop")} == {
        "temperature": 0.5,
        "seed": 3,
        "stop": ["stop"],
    }
    assert model.invoke("a b c d", max_tokens=3, stop=["b"]).text == "echo: a"
    assert (runner.options["max_new_tokens"], runner.options["stop"]) == (3, ["b"])


def test_a_fault_is_an_error_and_never_an_answer(
    model: ChatGuardAlign, runner: EchoRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(images: Any) -> Any:
        raise DetectionError("The distance is NaN.", stage="transport")

    monkeypatch.setattr(model.chain.guard.detector, "scan_many", fail)
    with pytest.raises(DetectionError):
        model.invoke(ask(picture()))
    with pytest.raises(DetectionError):
        next(model.stream(ask(picture())))
    assert runner.calls == []


def test_urls_are_refused(model: ChatGuardAlign, runner: EchoRunner) -> None:
    with pytest.raises(ImageRejected) as caught:
        model.invoke(
            [HumanMessage([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a"}}])]
        )
    assert caught.value.reason == "url_not_allowed"
    assert runner.calls == []


def test_closing_a_stream_stops_the_generation(runner: EchoRunner) -> None:
    model = ChatGuardAlign(chain=red_chain(runner=runner))
    stream = model.stream(ask(picture(), text="word " * 500))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(runner.calls) == 1


def test_another_guard_is_another_cache_key(runner: EchoRunner) -> None:
    cache = InMemoryCache()
    masking = ChatGuardAlign(chain=red_chain(runner=runner), cache=cache)
    strict = red_config(sanitize=SanitizeConfig(method="block"))
    blocking = ChatGuardAlign(chain=red_chain(strict, runner), cache=cache)
    question = ask(picture(red=True))
    assert masking.invoke(question).text.startswith("echo")
    assert masking.invoke(question).text.startswith("echo")
    assert len(runner.calls) == 1
    assert blocking.invoke(question).text == strict.blocked_reply


def test_no_answer_from_the_cache_passes_a_hook_by(runner: EchoRunner) -> None:
    cache, guard = InMemoryCache(), red_guard()

    def withheld(messages: Sequence[Message], answer: Generated) -> Generated:
        return replace(answer, text="[withheld]")

    plain = ChatGuardAlign(chain=GuardAlign(guard, runner), cache=cache)
    safe = ChatGuardAlign(chain=GuardAlign(guard, runner, on_output=withheld), cache=cache)
    assert plain._get_llm_string() != safe._get_llm_string()
    assert plain.invoke("Hello").text == "echo: Hello"
    assert safe.invoke("Hello").text == safe.invoke("Hello").text == "[withheld]"
    assert len(runner.calls) == 2


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_preset_is_serialised_by_name() -> None:
    model = ChatGuardAlign(max_tokens=7)
    again = load(
        dumpd(model),
        valid_namespaces=["langchain_guardalign"],
        allowed_objects=[ChatGuardAlign],
    )
    for copy in (again, pickle.loads(pickle.dumps(model))):
        assert isinstance(copy, ChatGuardAlign)
        assert copy.preset == "mini"
        assert dumpd(copy) == dumpd(model)
        assert copy._identifying_params == model._identifying_params


def test_a_loaded_chain_is_not_serialised_as_the_default_preset(model: ChatGuardAlign) -> None:
    assert dumpd(model)["type"] == "not_implemented"


def test_a_wrong_preset_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="no preset named 'nothing'"):
        ChatGuardAlign(preset="nothing")
    with pytest.raises(ConfigError, match="Exactly one of preset and chain"):
        ChatGuardAlign(preset="mini", chain=red_chain())


def test_tools_are_refused(model: ChatGuardAlign) -> None:
    for tools, choice in (([print], None), ([], "any")):
        with pytest.raises(NotImplementedError, match="cannot call tools"):
            model.bind_tools(tools, tool_choice=choice)
    # An agent without tools binds none.
    for choice in (None, False, "auto", "none"):
        bound = model.bind_tools([], tool_choice=choice, max_tokens=9)
        assert bound.invoke("Hi").text == model.invoke("Hi", max_tokens=9).text
    assert model.profile is not None
    assert model.profile["image_inputs"] is True
    assert model.profile["tool_calling"] is False


def test_another_model_for_one_call_is_refused(runner: EchoRunner) -> None:
    model = ChatGuardAlign(chain=red_chain(runner=runner))
    assert model.invoke("hello", model="red").text.startswith("echo")
    with pytest.raises(ConfigError, match="one model"):
        model.invoke("hello", model="another")
    assert len(runner.calls) == 1


def test_token_counting_needs_a_local_model_or_a_counter(runner: EchoRunner) -> None:
    model = ChatGuardAlign(chain=red_chain(runner=runner))
    with pytest.raises(NotImplementedError, match="custom_get_token_ids"):
        model.get_num_tokens("a b c")
    counting = ChatGuardAlign(
        chain=red_chain(runner=runner), custom_get_token_ids=lambda text: [0] * len(text.split())
    )
    assert counting.get_num_tokens("a b c") == 3


@pytest.mark.slow
def test_the_import_loads_no_torch() -> None:
    code = (
        "import sys, langchain_guardalign as g; g.ChatGuardAlign(); print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
