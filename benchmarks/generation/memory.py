"""Peak memory of one forward pass, and its largest tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Memory:
    """Memory of one call.

    Attributes:
        peak_bytes: peak of the bytes alive at once, weights included.
        working_bytes: the peak without the bytes alive before the call.
        largest_numel: elements of the largest tensor that any operation returned.
    """

    peak_bytes: int
    working_bytes: int
    largest_numel: int


class _Living(TorchDispatchMode):
    """Counts the storages that operations allocate, until they are freed."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = self.largest = 0
        # Views of the weights allocate nothing.
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count its results."""
        made = func(*args, **(kwargs or {}))
        for item in made if isinstance(made, tuple | list) else (made,):
            if isinstance(item, Tensor):
                self.largest = max(self.largest, item.numel())
                self._count(item.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        at, size = storage.data_ptr(), storage.nbytes()
        if at in self._known or at in self._seen:
            return
        self._seen.add(at)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._died, at, size)

    def _died(self, at: int, size: int) -> None:
        self._seen.discard(at)
        self.now -= size


def measure_memory(call: Callable[[], object], model: torch.nn.Module) -> Memory:
    """Run a call that uses a model, and measure its memory.

    On a GPU the peak is the allocator's. On a CPU it is the sum of the tensors that operations
    return, while they are alive; a kernel's internal buffers are not seen.
    """
    weights = [*model.parameters(), *model.buffers()]
    on_gpu = weights[0].device.type == "cuda"
    before = torch.cuda.memory_allocated() if on_gpu else sum(item.nbytes for item in weights)
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    with _Living(weights) as living:
        call()
    if on_gpu:
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() if on_gpu else before + living.peak
    return Memory(peak, peak - before, living.largest)
