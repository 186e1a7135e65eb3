"""The clocks and peaks of a device; accelerators by a double, since no machine here has one."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from guardalign_middleware.bench.device import Accelerator, Processor, device_of, processor


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of torch, in order."""
    made: list[str] = []

    def noted(name: str, value: Any = None) -> Any:
        def call(device: torch.device) -> Any:
            made.append(f"{name} {device.type}")
            return value

        return call

    names: dict[str, Any] = {"synchronize": None, "reset_peak_memory_stats": None}
    for name, value in {**names, "max_memory_allocated": 3 * 2**30}.items():
        monkeypatch.setattr(torch.accelerator, name, noted(name, value))
    return made


def test_an_accelerator_is_waited_for_before_a_clock_is_read(calls: list[str]) -> None:
    device = Accelerator(torch.device("meta"))
    before = time.perf_counter()
    assert before <= device.wall() <= device.cost()
    assert calls == ["synchronize meta"] * 2


def test_its_peak_is_the_allocators(calls: list[str]) -> None:
    device = Accelerator(torch.device("meta"))
    device.restart_peak()
    assert device.peak_bytes() == 3 * 2**30
    assert calls == ["reset_peak_memory_stats meta", "max_memory_allocated meta"]


def test_one_without_a_peak_is_not_asked(calls: list[str]) -> None:
    device = Accelerator(torch.device("mps"))
    device.restart_peak()
    assert device.peak_bytes() is None
    assert calls == []


def test_a_gpu_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    assert device_of(torch.device("cuda")).name == "NVIDIA H100"


def test_the_processor() -> None:
    device = device_of(torch.device("cpu"))
    assert isinstance(device, Processor)
    assert processor() in device.name
    start = device.cost()
    sum(range(200_000))
    assert device.cost() > start
    device.restart_peak()
    assert (device.peak_bytes() or 0) > 2**20
