"""The device that is measured: its clocks, and its peak of memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Protocol

import torch


class Device(Protocol):
    """What a measurement asks of a device.

    Attributes:
        name: for people, such as "NVIDIA H100".
        memory: what `peak_bytes` is about.
    """

    name: str
    memory: str

    def cost(self) -> float:
        """The clock for ratios, in seconds, once the device has done what it was given."""
        ...

    def wall(self) -> float:
        """Elapsed time in seconds, once the device has done what it was given."""
        ...

    def restart_peak(self) -> None:
        """Measure the next peak from here, where the device can."""
        ...

    def peak_bytes(self) -> int | None:
        """The peak; None where the device does not tell."""
        ...


class Processor:
    """The CPU. Ratios are of the time of all threads, which a busy machine disturbs least."""

    memory = "peak of the whole process"

    def __init__(self) -> None:
        self.name = f"{processor()}, {torch.get_num_threads()} of {os.cpu_count()} threads"

    def cost(self) -> float:
        """CPU time of all threads."""
        return time.process_time()

    def wall(self) -> float:
        """Elapsed time."""
        return time.perf_counter()

    def restart_peak(self) -> None:
        """Nothing: a process has one peak."""

    def peak_bytes(self) -> int:
        """Most memory that the process has had."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


class Accelerator:
    """A GPU, or what else torch knows as an accelerator; times include its work."""

    memory = "peak of the device's allocator"

    def __init__(self, device: torch.device) -> None:
        self._device = device
        known = device.type == "cuda"
        self.name = torch.cuda.get_device_name(device) if known else device.type

    def cost(self) -> float:
        """Elapsed time."""
        return self.wall()

    def wall(self) -> float:
        """Elapsed time."""
        torch.accelerator.synchronize(self._device)
        return time.perf_counter()

    def restart_peak(self) -> None:
        """Forget the peak so far."""
        if self._tells:
            torch.accelerator.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int | None:
        """Most memory that tensors have had since `restart_peak`."""
        return torch.accelerator.max_memory_allocated(self._device) if self._tells else None

    @property
    def _tells(self) -> bool:
        # Apple's allocator keeps no peak.
        return self._device.type != "mps"


def device_of(device: torch.device) -> Device:
    """The device by its name in torch."""
    return Processor() if device.type == "cpu" else Accelerator(device)


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
