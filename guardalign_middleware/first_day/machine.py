"""Checks of the machine: its devices, their memory and the disk, against what a preset needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.filesize import decimal

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.first_day.checks import Check
from guardalign_middleware.first_day.downloads import MODEL, Download, runner_dtype_factor

_WORKING = 2**30
"""What Python, torch and a pass of a small model take besides the weights."""
_ROOM = 0.2
"""What passes of a model take besides its weights, as a share of these."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def check_devices(config: GuardAlignConfig | None) -> Iterator[Check]:
    """The devices that torch sees, and whether those are among them that the preset names."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU (mps)")
    found = f"{', '.join(names) or 'no GPU'}; {cores} CPU cores for this process"
    details = {"gpus": names, "cores": cores, "torch_cuda": torch.version.cuda}
    yield Check("devices", "ok", found, details=details)
    for use, device in _devices(config):
        if device.startswith("cuda") and not _has_cuda(device):
            built = torch.version.cuda
            yield Check(
                f"device of the {use}",
                "failed",
                f"the preset names {device}, and torch sees {torch.cuda.device_count()} CUDA "
                f"devices (built {'for CUDA ' + built if built else 'without CUDA'})",
                "Install the driver and a torch with CUDA (https://pytorch.org), or set the device "
                "to auto or cpu.",
            )
        elif device == "mps" and not torch.backends.mps.is_available():
            yield Check(
                f"device of the {use}",
                "failed",
                "the preset names mps, and torch sees no Apple GPU",
                "Set the device to auto or cpu.",
            )
    if config is not None:
        yield from _check_precision(config)


def lacks_bfloat16(device: str) -> bool:
    """Whether this is a CPU without instructions for bfloat16: it is slower in it than in fp32."""
    import torch

    if device == "auto":
        device = "cuda" if _has_cuda("cuda") else "cpu"
    # What torch itself asks before it compiles for bfloat16.
    return device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _check_precision(config: GuardAlignConfig) -> Iterator[Check]:
    encoder = config.detection.encoder
    if encoder.precision == "bf16" and lacks_bfloat16(encoder.device):
        yield Check(
            "precision of the encoder",
            "warning",
            "bf16, which this CPU has no instructions for: it scans several times slower",
            "`guardalign init` writes fp32 here. In a preset of your own set encoder.precision to "
            "fp32, and fit the profile anew.",
        )


def check_memory(config: GuardAlignConfig, downloads: Sequence[Download]) -> Iterator[Check]:
    """Whether the models fit into the memory of their devices, from the sizes of their files."""
    needed: dict[str, int] = {}
    for one in downloads:
        if not one.weights:
            continue
        device = _place(config, one.need.use)
        needed[device] = needed.get(device, 0) + memory_of(config, one)
    for device, size in needed.items():
        free = free_memory(device)
        where = "memory" if device == "cpu" else f"memory of {device}"
        details = {"needed_bytes": size, "free_bytes": free}
        if free is None:
            found = f"about {decimal(size)} needed; how much is free cannot be told here"
            yield Check(where, "unknown", found, details=details)
            continue
        found = f"about {decimal(size)} needed, {decimal(free)} free"
        if size <= free:
            yield Check(where, "ok", found, details=details)
        else:
            yield Check(
                where,
                "failed",
                found,
                "Choose a smaller model, set runner.quantization, free memory, or use a larger "
                "machine; docs/cost.md has the presets by size.",
                details,
            )


def check_disk(cache: Path, downloads: Sequence[Download]) -> Check:
    """Whether what is missing fits on the disk of the cache."""
    size = sum(one.to_fetch for one in downloads)
    folder = cache
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    details = {"to_fetch_bytes": size, "free_bytes": free, "cache": str(cache)}
    found = f"{decimal(size)} to fetch into {cache}, {decimal(free)} free"
    if not os.access(folder, os.W_OK):
        remedy = "Repair the permissions, or set HF_HOME to a folder of your own."
        return Check("disk", "failed", f"{folder} cannot be written", remedy, details)
    if size > free:
        remedy = "Make room, or set HF_HOME to a folder on a larger disk."
        return Check("disk", "failed", found, remedy, details)
    return Check("disk", "ok", found, details=details)


def memory_of(config: GuardAlignConfig, one: Download) -> int:
    """How much memory a model takes at least, in bytes, from the size of its files."""
    if one.need.use != MODEL or config.runner is None:
        # Read into memory beside the model before it is converted.
        return 2 * one.weights + _WORKING
    return int(one.weights * runner_dtype_factor(config.runner) * (1.0 + _ROOM)) + _WORKING


def free_memory(device: str) -> int | None:
    """Free bytes of a device; for the CPU, of the machine and of this process's limit."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    found = [_available(), _allowed()]
    known = [one for one in found if one is not None]
    return min(known) if known else None


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return None  # not Linux
    return None


def _allowed() -> int | None:
    """What the limit of a container leaves."""
    for limit, used in zip(_LIMITS, _USED, strict=True):
        try:
            most = Path(limit).read_text().strip()
            taken = int(Path(used).read_text())
        except OSError:
            continue
        return None if most == "max" else max(0, int(most) - taken)
    return None


def _devices(config: GuardAlignConfig | None) -> Iterator[tuple[str, str]]:
    if config is None:
        return
    yield "encoder", config.detection.encoder.device
    second = config.detection.defence.second
    if second is not None:
        yield "second encoder", second.encoder.device
    if config.runner is not None and config.runner.device_map is None:
        yield "model", config.runner.device


def _place(config: GuardAlignConfig, use: str) -> str:
    """The device on which a model will be; one that is missing is said by another check."""
    device = next((one for name, one in _devices(config) if use.startswith(name)), "auto")
    if device == "auto":
        return "cuda" if _has_cuda("cuda") else "cpu"
    return device if device.startswith("cuda") and _has_cuda(device) else "cpu"


def _has_cuda(device: str) -> bool:
    import torch

    if not torch.cuda.is_available():
        return False
    number = torch.device(device).index or 0
    return number < torch.cuda.device_count()
