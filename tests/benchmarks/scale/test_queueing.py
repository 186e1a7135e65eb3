"""The simulation agrees with what is known of queues."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scale.queueing import Servers, arrivals, servers_for, simulate

COUNT = 20_000


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_one_server_with_random_times_waits_as_the_formula_says(busy: float) -> None:
    seconds = np.random.default_rng(3).exponential(1.0, COUNT)
    waits = simulate(arrivals(busy, COUNT), seconds, Servers(1, places=COUNT))
    assert waits.seconds.mean() == pytest.approx(1.0 / (1.0 - busy), rel=0.1)
    assert waits.busy == pytest.approx(busy, rel=0.05)
    assert waits.quantile(0.99) == pytest.approx(np.log(100.0) / (1.0 - busy), rel=0.15)


def test_one_server_with_equal_times_waits_half_as_long() -> None:
    waits = simulate(arrivals(0.7, COUNT), np.ones(COUNT), Servers(1, places=COUNT))
    assert waits.seconds.mean() - 1.0 == pytest.approx(0.7 / (2.0 * 0.3), rel=0.08)


def test_all_choices_of_two_servers_wait_as_little_as_theory_allows() -> None:
    # Erlang C for two servers; joining the shorter queue is a little worse, never better.
    busy = 0.7
    waiting = 2.0 * busy**2 / (1.0 + busy)
    least = 1.0 + waiting / (2.0 * (1.0 - busy))
    seconds = np.random.default_rng(4).exponential(1.0, COUNT)
    shorter = simulate(arrivals(2.0 * busy, COUNT), seconds, Servers(2, places=COUNT))
    either = simulate(arrivals(2.0 * busy, COUNT), seconds, Servers(2, places=COUNT, choices=1))
    assert least * 0.95 < shorter.seconds.mean() < least * 1.3
    assert either.seconds.mean() == pytest.approx(1.0 / (1.0 - busy), rel=0.1)


def test_what_has_no_place_is_refused_and_the_rest_waits_no_longer_than_the_places() -> None:
    waits = simulate(arrivals(3.0, 5_000), np.ones(5_000), Servers(1, places=4))
    assert waits.refused == pytest.approx(2.0 / 3.0, abs=0.03)
    assert waits.seconds.max() <= 4.0
    assert waits.busy > 0.98


def test_a_device_that_takes_many_together_answers_more() -> None:
    times = arrivals(8.0, 5_000)
    alone = simulate(times, np.ones(5_000), Servers(1, places=64))
    shared = simulate(times, np.ones(5_000), Servers(1, together=16, places=64))
    assert alone.refused > 0.8
    assert shared.refused == 0.0
    assert shared.seconds.max() <= 2.0


def test_as_many_servers_as_keep_the_promise() -> None:
    needed = servers_for(20.0, 0.1, 0.3, count=4_000)
    assert needed >= 3
    for servers, kept in ((needed, True), (needed - 1, False)):
        waits = simulate(
            arrivals(20.0, 4_000), np.full(4_000, 0.1), Servers(servers, places=10_000)
        )
        assert (waits.quantile(0.99) <= 0.3) is kept
    with pytest.raises(ValueError, match="more than 0.1 s"):
        servers_for(20.0, 0.1, 0.1)
