"""The edge of the guard: whatever a model or a library raises behind it becomes a `GuardError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guardalign_middleware.errors import GuardAlignError, GuardError


@contextmanager
def typed_faults(stage: str) -> Iterator[None]:
    """Turn exceptions that are not the guard's own into a `GuardError` of this stage.

    So a caller tells "nobody knows" from "unsafe" by one type, whichever encoder or runner it uses.
    The message names the kind of the exception alone, since its words may hold content of a
    request; the exception itself is the cause. Interrupts and cancellation pass.

    Raises:
        GuardError: anything but a `GuardAlignError` was raised.
    """
    try:
        yield
    except GuardAlignError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            raise GuardError(
                f"The memory did not suffice ({type(error).__name__}).",
                stage=stage,
                remedy="Send fewer or smaller images at a time, or lower the batch size.",
            ) from error
        raise GuardError(
            f"A {type(error).__name__} was raised.",
            stage=stage,
            remedy="Its cause is attached to this error.",
        ) from error
