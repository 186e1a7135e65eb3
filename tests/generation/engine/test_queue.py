"""Which requests share a batch, in what order, and when the queue is full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.errors import GuardError, Overloaded
from guardalign_middleware.generation.engine.queue import BatchPolicy, BatchQueue


class Item:
    """Compared by identity, as jobs are."""

    def __init__(self, group: int, number: int) -> None:
        self.group = group
        self.number = number


def fill(queue: BatchQueue[Item], groups: list[int], now: float = 0.0) -> list[Item]:
    items = [Item(group, number) for number, group in enumerate(groups)]
    for item in items:
        queue.put([(item, item.group)], now)
    return items


@given(groups=st.lists(st.integers(0, 3), max_size=40), size=st.integers(1, 6))
def test_every_request_is_served_once_in_pure_batches_oldest_first(
    groups: list[int], size: int
) -> None:
    queue: BatchQueue[Item] = BatchQueue(BatchPolicy(max_batch=size, max_queue=40))
    items = fill(queue, groups)
    served: list[Item] = []
    while batch := queue.take():
        waiting = [item for item in items if item not in served]
        assert batch[0] is waiting[0]
        assert len({item.group for item in batch}) == 1
        mates = [item for item in waiting if item.group == batch[0].group]
        assert batch == mates[:size]
        served += batch
    assert sorted(item.number for item in served) == list(range(len(items)))
    assert len(queue) == 0


def test_the_oldest_waits_for_others_and_a_full_batch_is_due_at_once() -> None:
    queue: BatchQueue[Item] = BatchQueue(BatchPolicy(max_batch=2, max_wait=0.5))
    assert queue.ready_in(0.0) is None
    fill(queue, [1], now=10.0)
    assert queue.ready_in(10.0) == 0.5
    fill(queue, [2], now=10.2)
    # A request of another group does not count.
    assert queue.ready_in(10.2) == pytest.approx(0.3)
    fill(queue, [1], now=10.3)
    assert queue.ready_in(10.3) == 0.0
    queue.take()
    assert queue.ready_in(10.3) == pytest.approx(0.4)
    assert queue.ready_in(11.0) == 0.0


def test_a_full_queue_refuses_all_or_takes_all() -> None:
    queue: BatchQueue[Item] = BatchQueue(BatchPolicy(max_queue=3))
    fill(queue, [0, 0])
    with pytest.raises(Overloaded, match="2 requests are waiting; the limit is 3") as caught:
        queue.put([(Item(0, 2), 0), (Item(0, 3), 0)], 0.0)
    assert isinstance(caught.value, GuardError)
    assert caught.value.remedy
    assert len(queue) == 2
    queue.put([(Item(0, 2), 0)], 0.0)
    assert len(queue) == 3


def test_a_waiting_request_can_be_taken_out_once() -> None:
    queue: BatchQueue[Item] = BatchQueue(BatchPolicy())
    first, second = fill(queue, [0, 0])
    assert queue.remove(first)
    assert not queue.remove(first)
    assert queue.take() == [second]
    assert not queue.remove(second)
