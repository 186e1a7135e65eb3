"""Encoder passes for several callers at once, each with crops of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import torch
from torch import Tensor

_LOGGER = logging.getLogger(__name__)
Tower = Callable[[Tensor], Tensor]
Result = TypeVar("Result")


class _Request:
    """The crops of one caller that waits for a pass."""

    def __init__(self, place: int, tower: Tower, crops: Tensor) -> None:
        self.place = place
        self.tower = tower
        self.crops = crops
        self.settled = False
        self.rows: Tensor | None = None


class SharedPasses:
    """The passes of callers that scan at the same time.

    A pass begins as soon as every caller has asked for one or has left. No clock has a part in it,
    so what is in a pass, and in which order, follows from the callers alone. Where a joint pass
    fails, each caller repeats its own part: a fault reaches only the caller whose crops raise it.

    Args:
        callers: how many there are; each calls `leave` once.
    """

    def __init__(self, callers: int) -> None:
        self._callers = callers
        self._changed = threading.Condition()
        self._asked: list[_Request] = []
        self._alone = threading.Lock()

    def run(self, place: int, work: Callable[[], Result]) -> Result:
        """Do the work of a caller, whose passes are then shared.

        Args:
            place: of the caller among all; its crops have the same one in each pass.
            work: what it does.
        """
        before = _PASSES.set((self, place))
        try:
            return work()
        finally:
            _PASSES.reset(before)

    def leave(self) -> None:
        """Wait for this caller no longer."""
        with self._changed:
            self._callers -= 1
            self._changed.notify_all()

    def encode(self, place: int, tower: Tower, crops: Tensor) -> Tensor:
        """The rows of one caller's crops; raises what the tower raises for these crops alone."""
        own = _Request(place, tower, crops)
        with self._changed:
            self._asked.append(own)
            self._changed.notify_all()
            self._changed.wait_for(lambda: own.settled or self._is_due(own))
            batch: list[_Request] = []
            if not own.settled:
                batch = sorted(self._asked, key=lambda request: request.place)
                self._asked = []
        if batch:
            self._settle(batch)
        if own.rows is not None:
            return own.rows
        with self._alone:
            return tower(crops)

    def _is_due(self, own: _Request) -> bool:
        """Whether all have asked, and this is the first, which encodes for all."""
        return len(self._asked) >= self._callers and self._asked[:1] == [own]

    def _settle(self, batch: list[_Request]) -> None:
        """One pass for each tower; a request that gets no rows is encoded by its own caller."""
        try:
            for tower in dict.fromkeys(request.tower for request in batch):
                _join([request for request in batch if request.tower == tower])
        finally:
            with self._changed:
                for request in batch:
                    request.settled = True
                self._changed.notify_all()


def _join(requests: list[_Request]) -> None:
    if len(requests) < 2:
        return
    sizes = [len(request.crops) for request in requests]
    try:
        rows = torch.split(requests[0].tower(torch.cat([each.crops for each in requests])), sizes)
    except Exception as error:  # noqa: BLE001 (raised again by the caller whose crops cause it)
        _LOGGER.info("A shared pass failed (%s); its callers go on alone.", type(error).__name__)
        return
    for request, own in zip(requests, rows, strict=True):
        request.rows = own


_PASSES: ContextVar[tuple[SharedPasses, int] | None] = ContextVar("guardalign_passes", default=None)


def encoded(tower: Tower, crops: Tensor) -> Tensor:
    """The rows of crops, encoded with those of the callers that share a turn with this one.

    Args:
        tower: maps crops `[M, 3, S, S]` to M rows, each of which depends on its own crop only.
        crops: at least one.
    """
    shared = _PASSES.get()
    if shared is None:
        return tower(crops)
    passes, place = shared
    return passes.encode(place, tower, crops)
