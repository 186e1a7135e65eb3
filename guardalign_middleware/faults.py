"""The guard's outer edge, where foreign exceptions become `GuardError`s."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from guardalign_middleware.errors import GuardAlignError, GuardError, OutOfMemory

_NO_MEMORY = re.compile(
    "(out of|not enough|insufficient|allocate|no) memory|memory allocation", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out; C libraries say it in words only."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def is_lost_device(error: BaseException | None) -> bool:
    """Whether this, or its cause, is that an accelerator failed: all later calls then fail, too."""
    from torch import AcceleratorError

    while error is not None:
        if isinstance(error, AcceleratorError):
            return True
        error = error.__cause__
    return False


def out_of_memory(error: BaseException, stage: str) -> OutOfMemory:
    """The fault for an exception that says so."""
    return OutOfMemory(
        f"Out of memory ({type(error).__name__}).",
        stage=stage,
        remedy="Send fewer or smaller images per call, or lower the batch size.",
    )


@contextmanager
def memory_faults(stage: str) -> Iterator[None]:
    """Turn a lack of memory into a fault of this stage; other exceptions pass through.

    Raises:
        OutOfMemory: a `MemoryError` was raised.
    """
    try:
        yield
    except MemoryError as error:
        raise out_of_memory(error, stage) from error


@contextmanager
def typed_faults(stage: str) -> Iterator[None]:
    """Turn exceptions of encoders, models and libraries into a `GuardError` of this stage.

    Callers then catch one type, whichever encoder or runner failed. The message gives only the type
    of the exception, because its text may hold content of a request; the exception itself is
    attached as the cause. Interrupts and cancellation pass through.

    Raises:
        GuardError: anything but a `GuardAlignError` was raised; `OutOfMemory` for lack of memory.
    """
    try:
        yield
    except GuardAlignError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(error, stage) from error
        raise GuardError(
            f"A {type(error).__name__} was raised.",
            stage=stage,
            remedy="Its cause is attached to this error.",
        ) from error
