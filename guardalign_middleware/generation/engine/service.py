"""The thread that runs a model: takes batches from the queue, answers them, contains faults.

Keys and values of the prompt's constant beginning are not cached between requests. The result would
be exact only up to rounding (the matrix products have another shape), while plain generation here
is bit-identical to the unguarded model. In a left-padded batch their positions would differ by row.
And where the prefix follows the picture, the constant part is a handful of tokens.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from guardalign_middleware.errors import GuardAlignError, GuardError, OutOfMemory
from guardalign_middleware.generation.engine.job import Job
from guardalign_middleware.generation.engine.queue import BatchPolicy, BatchQueue
from guardalign_middleware.generation.model_faults import MODEL_FAULTS, lacks_memory


class GenerationService:
    """Answers jobs in batches, in one thread of its own.

    When a batch fails, its unfinished rows are tried once more, one by one, so a fault reaches only
    the request that causes it.

    Args:
        generate: answers the jobs of one batch; runs in the service's thread.
        policy: sizes and times of batches.
    """

    def __init__(self, generate: Callable[[Sequence[Job]], None], policy: BatchPolicy) -> None:
        self._generate = generate
        self._queue: BatchQueue[Job] = BatchQueue(policy)
        self._changed = threading.Condition()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guardalign-model")

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put jobs into the queue, all or none; their futures get the answers or errors.

        Raises:
            Overloaded: there is no room for all of them.
        """
        with self._changed:
            self._queue.put([(job, job.group) for job in jobs], time.monotonic())
            self._changed.notify()
        for _ in jobs:
            # One turn per job: a turn that finds the queue empty costs microseconds.
            self._executor.submit(self._turn)

    def cancel(self, job: Job) -> None:
        """Stop a job: at once while it is waiting, at its next token while it is running."""
        job.stop_soon()
        with self._changed:
            waited = self._queue.remove(job)
        if waited:
            job.abandon()

    def _turn(self) -> None:
        batch = self._next_batch()
        try:
            self._answer(batch)
        except BaseException as error:
            for job in batch:
                job.fail(error)
            raise

    def _next_batch(self) -> list[Job]:
        with self._changed:
            while wait := self._queue.ready_in(time.monotonic()):
                self._changed.wait(wait)
            return self._queue.take()

    def _answer(self, batch: Sequence[Job]) -> None:
        if not batch:
            return
        error = self._attempt(batch)
        if error is None:
            return
        if len(batch) == 1 and not lacks_memory(error):
            batch[0].fail(_typed(error))
            return
        # The traceback holds the tensors of the failed batch.
        del error
        _release_memory()
        for job in batch:
            if job.future.done():
                continue
            job.decoder.restart()
            again = self._attempt([job])
            if again is not None:
                job.fail(_typed(again))

    def _attempt(self, batch: Sequence[Job]) -> Exception | None:
        try:
            self._generate(batch)
        except (GuardAlignError, *MODEL_FAULTS) as error:
            return error
        for job in batch:
            job.fail(GuardError("The model ended without an answer.", stage="generation"))
        return None


def _typed(error: Exception) -> Exception:
    if isinstance(error, GuardAlignError):
        return error
    words = str(error).strip().splitlines() or [type(error).__name__]
    if not lacks_memory(error):
        fault = GuardError(
            f"The model failed: {type(error).__name__}: {words[0][:400]}",
            stage="generation",
            remedy="Check that the model takes these messages; the cause is chained to this error.",
        )
        fault.__cause__ = error
        return fault
    # The error is not its __cause__: that traceback would keep the failed batch's tensors alive.
    return OutOfMemory(
        f"Out of memory: {words[0]}",
        stage="generation",
        remedy="Send fewer or smaller images or ask for fewer tokens, lower the runner's "
        "batch_size, or use a larger device.",
    )


def _release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
