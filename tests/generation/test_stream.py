"""The stream: pieces in order, errors in the right place, cancellation that reaches the work."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation.stream import Emit, TokenStream
from guardalign_middleware.replies import CalibrationReport, Generated, Usage

DONE = Generated("ab", "stop", CalibrationReport("off", prefix=False), Usage(1, 2))


def two_pieces(emit: Emit, cancel: threading.Event) -> Generated:
    emit("a")
    emit("b")
    return DONE


def test_pieces_then_result() -> None:
    stream = TokenStream(two_pieces)
    assert list(stream) == ["a", "b"]
    assert stream.result is DONE
    assert list(stream) == []


def test_result_before_the_end_is_an_error() -> None:
    stream = TokenStream(two_pieces)
    with pytest.raises(GuardError, match="not ended"):
        _ = stream.result
    stream.close()
    assert stream.result is DONE


def test_an_error_of_the_work_reaches_the_consumer_after_its_pieces() -> None:
    def work(emit: Emit, cancel: threading.Event) -> Generated:
        emit("a")
        raise ZeroDivisionError

    stream = TokenStream(work)
    assert next(stream) == "a"
    with pytest.raises(ZeroDivisionError):
        next(stream)
    with pytest.raises(ZeroDivisionError):
        _ = stream.result


def wait_for_cancel(emit: Emit, cancel: threading.Event) -> Generated:
    emit("a")
    assert cancel.wait(300)
    return DONE


def test_leaving_the_block_cancels() -> None:
    with TokenStream(wait_for_cancel) as stream:
        assert next(stream) == "a"
    assert stream.result is DONE
    assert list(stream) == []
    stream.close()


def test_dropping_the_stream_cancels() -> None:
    ended = threading.Event()

    def work(emit: Emit, cancel: threading.Event) -> Generated:
        result = wait_for_cancel(emit, cancel)
        ended.set()
        return result

    stream = TokenStream(work)
    next(stream)
    del stream
    gc.collect()
    assert ended.wait(300)


def test_the_work_sees_the_callers_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    variable.set("trace")

    def work(emit: Emit, cancel: threading.Event) -> Generated:
        emit(variable.get())
        return DONE

    assert next(TokenStream(work)) == "trace"


def test_the_contract_needs_no_torch() -> None:
    code = (
        "import sys, guardalign_middleware.generation.stream as s;"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
