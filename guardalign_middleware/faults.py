"""The guard's outer edge, where foreign exceptions become `GuardError`s."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guardalign_middleware.errors import GuardAlignError, GuardError


@contextmanager
def typed_faults(stage: str) -> Iterator[None]:
    """Turn exceptions of encoders, models and libraries into a `GuardError` of this stage.

    Callers then catch one type, whichever encoder or runner failed. The message gives only the type
    of the exception, because its text may hold content of a request; the exception itself is
    attached as the cause. Interrupts and cancellation pass through.

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
                f"Out of memory ({type(error).__name__}).",
                stage=stage,
                remedy="Send fewer or smaller images per call, or lower the batch size.",
            ) from error
        raise GuardError(
            f"A {type(error).__name__} was raised.",
            stage=stage,
            remedy="Its cause is attached to this error.",
        ) from error
