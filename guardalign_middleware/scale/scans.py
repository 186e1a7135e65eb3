"""`guardalign scan --ray`: the inputs of a scan on a cluster, results in their order."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from guardalign_middleware import __version__
from guardalign_middleware.bulk.folders import Skipped
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.work import Reading, Work
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError, GuardAlignError, GuardError
from guardalign_middleware.scale.actor import Scan, marked
from guardalign_middleware.scale.engine import (
    ACTOR_CPUS,
    READER_CPUS,
    Actors,
    own_error,
    pool_of,
    settings,
)
from guardalign_middleware.scale.reading import BLOCK_BYTES, PACKED, Task, reader, tasks
from guardalign_middleware.start_checks import require_profile

_READERS = 2
_STORE_BYTES = 256 * 2**20


class RayScans:
    """Scans on the cluster that this process has joined, by actors that each hold a guard.

    The machines read the inputs themselves, by the same paths as here.

    Args:
        ray: from `cluster.joined`.
        job: what to do with each input.
        actors: how many guards there are.

    Raises:
        ConfigError: the guard has no threshold profile, or it cannot be read.
    """

    def __init__(self, ray: Any, job: Job, actors: Actors) -> None:
        self._ray, self._actors = ray, actors
        self._job = replace(job, overlays=_whole(job.overlays), copies=_whole(job.copies))
        require_profile(job.config)
        profile = job.config.detection.profile
        # Without one, a guard that observes only measures.
        self._profile = None if profile is None else ThresholdProfile.load(profile).fingerprint

    def outcomes(self, work: Work, readings: Sequence[Reading]) -> Generator[Outcome]:
        """What came of each input, in order; close it, so that its actors end, if it is left.

        Args:
            work: gets to know of which tables and archives inputs were scanned.
            readings: of `work`.

        Raises:
            GuardAlignError: the guard cannot be loaded somewhere, a machine has other thresholds or
                folders, or what `Scanner.scan` raises.
        """
        reading = list(tasks(readings, work.column, self._job.config.intake))
        resources = self._ray.cluster_resources()
        gpus = self._actors.gpus_in(resources, self._job.config)
        folders = [one for one in (self._job.overlays, self._job.copies) if one is not None]
        with marked(folders) as marks:
            with settings(block_bytes=BLOCK_BYTES, store_bytes=_STORE_BYTES):
                packed = _read(reading, int(resources.get("CPU", 1.0))).map_batches(
                    Scan,
                    fn_constructor_args=(self._job, __version__, marks, os.getcwd()),
                    compute=pool_of(self._actors),
                    batch_size=None,
                    batch_format="pyarrow",
                    num_cpus=ACTOR_CPUS,
                    num_gpus=gpus or None,
                )
            # Ray Data tells of its progress as well, and of its settings.
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            with closing(_blocks(packed)) as blocks:
                for one in (one for block in blocks for one in block.column(PACKED)):
                    shard, outcome = pickle.loads(one.as_py())
                    if isinstance(outcome, GuardAlignError):
                        raise outcome
                    if isinstance(outcome, Skipped):
                        work.skipped.update(outcome)
                        continue
                    self._check(outcome)
                    if work.stands(outcome):
                        continue
                    if shard is not None:
                        work.scanned_in(shard)
                    yield outcome

    def _check(self, outcome: Outcome) -> None:
        for record in outcome.records:
            if record.get("profile", self._profile) != self._profile:
                raise ConfigError(
                    "A machine of the cluster decided by another threshold profile.",
                    remedy="Put the same files on all machines.",
                )


def _whole(folder: Path | None) -> Path | None:
    return None if folder is None else folder.resolve()


def _read(reading: list[Task], cpus: int) -> Any:
    """A dataset of packed inputs, read by one process for two cores."""
    from ray.data import Datasource, ReadTask, read_datasource
    from ray.data.block import BlockMetadata

    folder = os.getcwd()

    class Inputs(Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[Any]:
            nothing = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None)
            return [ReadTask(reader(task, folder), nothing) for task in reading]

    return read_datasource(
        Inputs(),
        num_cpus=READER_CPUS,
        override_num_blocks=len(reading),
        concurrency=min(len(reading), max(_READERS, cpus // 2)),
    )


def _blocks(packed: Any) -> Generator[Any]:
    from ray.exceptions import RayError

    try:
        yield from packed.iter_batches(batch_size=None, batch_format="pyarrow")
    except RayError as error:
        own = own_error(error)
        if own is not None:
            raise own from None
        raise GuardError(
            f"The cluster gave up: {str(error).strip().splitlines()[-1]}",
            stage="cluster",
            remedy="Look into Ray's log for the machine and its memory; the same command goes on "
            "where it was.",
        ) from error
