"""The settings of Ray Data for scans: order, memory, actors, and what an error is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError, GuardAlignError

READER_CPUS = 0.05
"""Of a core, for reading: readers find a place beside an actor on every core."""
ACTOR_CPUS = 0.95
ACTORS_PER_GPU = 2
"""One loads the next pictures while the other one scans."""
_UNDER_WAY = 2
"""Blocks that wait for each actor."""


@dataclass(frozen=True)
class Actors:
    """How many guards there are at once.

    Attributes:
        least: are started at once.
        most: Ray starts more up to here while inputs wait; None = as many as the cluster has room
            for. It holds cores back from a pool that may grow, so on a few cores it never gets
            there: give `least` too.
        gpus: of each; None = half of one where the guard may use one and the cluster has any.
    """

    least: int = 1
    most: int | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.least < 1 or (self.most is not None and self.most < self.least):
            most = "" if self.most is None else f" and {self.most}"
            raise ConfigError(
                f"The number of actors should be at least 1 and at most the largest. "
                f"Received {self.least}{most}."
            )
        if self.gpus is not None and not 0.0 <= self.gpus <= 64.0:
            raise ConfigError(f"The GPUs of an actor should be 0 to 64. Received {self.gpus}.")

    def gpus_in(self, resources: dict[str, float], config: GuardAlignConfig) -> float:
        """How much of a GPU each guard gets on a cluster.

        Args:
            resources: of the cluster.
            config: of the guard.
        """
        if self.gpus is not None:
            return self.gpus
        device = config.detection.encoder.device
        wanted = device == "auto" or device.startswith("cuda")
        return 1.0 / ACTORS_PER_GPU if wanted and resources.get("GPU", 0.0) > 0.0 else 0.0


def pool_of(actors: Actors) -> Any:
    """Ray's autoscaling pool of actors."""
    from ray.data import ActorPoolStrategy

    return ActorPoolStrategy(
        min_size=actors.least,
        max_size=actors.most,
        max_tasks_in_flight_per_actor=_UNDER_WAY,
        max_concurrent_calls_per_actor=1,
    )


@contextmanager
def settings(*, block_bytes: int, store_bytes: int) -> Iterator[None]:
    """Ray Data with its settings for a scan, for the datasets that are made in the block.

    Results come in the order of the inputs, and blocks that wait take a bounded part of the object
    store.

    Args:
        block_bytes: of inputs that are sent together.
        store_bytes: of all blocks under way.
    """
    from ray.data import DataContext, ExecutionResources

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = block_bytes
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=store_bytes
    )
    with DataContext.current(context):
        yield


def own_error(error: BaseException) -> GuardAlignError | None:
    """The guard's own error behind one of Ray's; None = it is none."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, GuardAlignError) and type(one).__module__.startswith(
            "guardalign_middleware."
        ):
            return one
        waiting += [one.__cause__, one.__context__, getattr(one, "cause", None)]
    return None
