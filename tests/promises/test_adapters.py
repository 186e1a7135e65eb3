"""What holds for the core holds in every adapter: faults, blocks, the log, frames."""

from __future__ import annotations

import base64
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage, ImageBlock, MockLLM, TextBlock
from llama_index.core.schema import ImageNode, NodeWithScore

from guardalign_middleware import AuditError, GuardAlign, GuardError, ImageGuard, ImageRejected
from guardalign_middleware.audit import read_entries, verify
from guardalign_middleware.config import AuditConfig, IntakePolicy
from guardalign_middleware.testing import EchoRunner, all_red, picture, png, red_config, red_guard
from langchain_guardalign import (
    ChatGuardAlign,
    GuardAlignMiddleware,
    ImageGuardDocumentTransformer,
    ImageGuardRunnable,
)
from langchain_guardalign.errors import ImageBlocked
from langchain_guardalign.refused_state import raise_refused
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from tests.support.animations import animation
from tests.support.audit_logs import KEY
from tests.support.broken import FAULTS, guard_with

VARIABLE = "GUARDALIGN_TEST_KEY"
PLAIN, UNSAFE, HOPELESS = picture(), picture(red=True), all_red()
ALL = IntakePolicy(frames="scan_all")

Adapter = Callable[[ImageGuard, bytes], Any]


def content(data: bytes) -> list[Any]:
    mime = "image/tiff" if data[:2] == b"II" else "image/png"
    image = {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": mime}
    return [image, {"type": "text", "text": "what is it?"}]


def chain_of(guard: ImageGuard) -> GuardAlign:
    return GuardAlign(guard, EchoRunner())


def llama_message(data: bytes) -> ChatMessage:
    return ChatMessage(role="user", blocks=[ImageBlock(image=data), TextBlock(text="what?")])


def llama_node(data: bytes) -> ImageNode:
    return ImageNode(image=base64.b64encode(data).decode(), text="words")


def in_an_agent(guard: ImageGuard, data: bytes) -> Any:
    middleware = GuardAlignMiddleware(guard=guard)
    state: Any = {"messages": [HumanMessage(content(data), id="1")]}
    update: Any = middleware.before_agent(state, None)  # type: ignore[arg-type]
    # What the first step refuses, the last one raises, when the state has been written.
    raise_refused(update or {})
    return update


ADAPTERS: dict[str, Adapter] = {
    "ChatGuardAlign": lambda guard, data: ChatGuardAlign(chain=chain_of(guard)).invoke(
        [HumanMessage(content(data))]
    ),
    "ImageGuardRunnable": lambda guard, data: ImageGuardRunnable(
        guard=guard, on_blocked="notice"
    ).invoke([HumanMessage(content(data))]),
    "GuardAlignMiddleware": in_an_agent,
    "ImageGuardDocumentTransformer": lambda guard, data: ImageGuardDocumentTransformer(
        guard=guard, on_refused="raise"
    ).transform_documents([Document("words", metadata={"image": content(data)[0]})]),
    "GuardAlignMultiModal": lambda guard, data: GuardAlignMultiModal(chain=chain_of(guard)).chat(
        [llama_message(data)]
    ),
    "GuardAlignGuardedLLM": lambda guard, data: GuardAlignGuardedLLM(
        llm=MockLLM(), guard=guard
    ).chat([llama_message(data)]),
    "GuardAlignNodePostprocessor": lambda guard, data: GuardAlignNodePostprocessor(
        guard=guard, on_refused="raise"
    ).postprocess_nodes([NodeWithScore(node=llama_node(data))]),
    "GuardAlignImageTransform": lambda guard, data: GuardAlignImageTransform(
        guard=guard, on_refused="raise"
    )([llama_node(data)]),
}
# The answer or the forwarded text when an image is blocked; other adapters insert a notice.
ONE_PICTURE = sorted(set(ADAPTERS) - {"ChatGuardAlign"})


def everything(value: object) -> str:
    """A whole answer as text, to search in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(value, list):
            return " ".join(map(everything, value))
        if isinstance(value, dict):
            return " ".join(map(everything, value.values()))
        dump = getattr(value, "model_dump", None)
        return repr(value if dump is None else dump())


@pytest.mark.parametrize("name", ADAPTERS)
class TestEveryAdapter:
    @pytest.mark.parametrize("fault", ["NaN", "out of memory on a CPU", "an error of a library"])
    def test_a_fault_is_a_guard_error(self, name: str, fault: str) -> None:
        with pytest.raises(GuardError):
            ADAPTERS[name](guard_with(FAULTS[fault]), png(UNSAFE))

    def test_a_block_is_not_a_fault(self, name: str) -> None:
        result = ADAPTERS[name](red_guard(), png(HOPELESS))
        assert result is not None
        assert base64.b64encode(png(HOPELESS)).decode()[40:] not in everything(result)

    def test_fail_open_is_seen_in_the_answer(self, name: str) -> None:
        guard = guard_with(FAULTS["NaN"], on_fault="allow")
        answer = everything(ADAPTERS[name](guard, png(PLAIN)))
        assert "transport: " in answer
        assert "nan" not in answer.lower().replace("embedding holds nan", "")
        assert guard.failed_open == 1

    def test_the_log_has_one_entry(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(VARIABLE, KEY.decode())
        log = tmp_path / "log"
        guard = red_guard(red_config(audit=AuditConfig(log=log, key_variable=VARIABLE)))
        ADAPTERS[name](guard, png(UNSAFE))
        assert verify(log, KEY).intact
        assert [(e.step, e.decision) for e in read_entries(log, KEY)] == [("sanitize", "mask")]

    def test_without_a_record_nothing_is_answered(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(VARIABLE, KEY.decode())
        (tmp_path / "absent").mkdir()
        audit = AuditConfig(log=tmp_path / "absent" / "log", key_variable=VARIABLE)
        guard = red_guard(red_config(audit=audit))
        shutil.rmtree(tmp_path / "absent")  # a guard does not start without
        with pytest.raises(AuditError):
            ADAPTERS[name](guard, png(PLAIN))

    def test_several_frames_are_refused_by_default(self, name: str) -> None:
        with pytest.raises(ImageRejected) as caught:
            ADAPTERS[name](red_guard(), animation(PLAIN, UNSAFE))
        assert caught.value.reason == "multiple_frames"


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_where_one_picture_has_room_several_frames_are_always_refused(name: str) -> None:
    with pytest.raises(ImageRejected) as caught:
        ADAPTERS[name](red_guard(red_config(intake=ALL)), animation(PLAIN, UNSAFE))
    assert caught.value.reason == "multiple_frames"


def test_the_chat_model_shows_every_frame_cleaned() -> None:
    runner = EchoRunner()
    chain = GuardAlign(red_guard(red_config(intake=ALL)), runner)
    message = HumanMessage(content(animation(PLAIN, UNSAFE)))
    answer = ChatGuardAlign(chain=chain).invoke([message])
    verdicts = answer.response_metadata["guardalign"]["verdicts"]
    assert [verdict["decision"] for verdict in verdicts] == ["allow", "mask"]
    assert len(runner.calls[0].images) == 2


def test_blocking_on_unsafe_differs_from_a_fault_by_type() -> None:
    message = [HumanMessage(content(png(UNSAFE)))]
    with pytest.raises(ImageBlocked) as caught:
        ImageGuardRunnable(guard=red_guard(), on_unsafe="block").invoke(message)
    assert not isinstance(caught.value, GuardError)
    broken = ImageGuardRunnable(guard=guard_with(FAULTS["NaN"]), on_unsafe="block")
    with pytest.raises(GuardError):
        broken.invoke(message)


def test_langchain_does_not_remember_what_was_not_scanned() -> None:
    broken = guard_with(FAULTS["NaN"], on_fault="allow")
    runnable = ImageGuardRunnable(guard=broken)
    message = [HumanMessage(content(png(UNSAFE)))]
    (first,) = runnable.invoke(message)
    assert "fault" in first.response_metadata["guardalign"]["verdicts"][0]
    broken.detector = red_guard().detector
    (second,) = runnable.invoke(message)
    assert second.response_metadata["guardalign"]["masked"] == 1
    assert json.dumps(second.response_metadata)
