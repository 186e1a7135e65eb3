"""What the code of models and processors raises on input for which it was not written."""

from __future__ import annotations

import torch

from guardalign_middleware.errors import OutOfMemory
from guardalign_middleware.faults import is_out_of_memory, out_of_memory

MODEL_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""A lack of memory is among them, which is no fault of the input; see `lacks_memory`."""


def lacks_memory(error: BaseException) -> bool:
    """Whether a fault is a lack of memory; the texts of others may quote a prompt that says so."""
    if isinstance(error, MemoryError | OutOfMemory | torch.OutOfMemoryError):
        return True
    # The allocators of the CPU and of MPS raise a plain RuntimeError.
    return isinstance(error, RuntimeError) and is_out_of_memory(error)


def check_memory(error: BaseException) -> None:
    """Let a fault of the input pass.

    Raises:
        OutOfMemory: the fault is a lack of memory.
    """
    if isinstance(error, OutOfMemory):
        raise error
    if lacks_memory(error):
        raise out_of_memory(error, "generation") from error
