"""Every network is handled once by whichever thread; exceptions, forks and forgotten crews leave nothing behind."""

import gc
import os
import threading

import numpy as np
import pytest

import qnum_gym
from qnum_gym.simulator import Batch, Simulator, work_queue
from qnum_gym.simulator.thread_pool import Shares, ThreadPool


def claims(shares: Shares, own: int) -> list[int]:
    """Everything a thread can claim."""
    taken: list[int] = []
    while (i := work_queue.claim(shares, own)) >= 0:
        taken.append(int(i))
    return taken


def test_own_part_first_then_the_others() -> None:
    shares = work_queue.shares(10, 3, np.zeros(1, np.int64))
    assert [work_queue.claim(shares, own) for own in (0, 1, 2)] == [0, 3, 6]
    assert claims(shares, 1) == [4, 5, 7, 8, 9, 1, 2]
    assert claims(shares, 0) == claims(shares, 2) == []


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_each_network_once(threads: int) -> None:
    for n in (1, 2, 5, 64):
        pool = ThreadPool(n, threads)
        for _ in range(30):
            counts = np.zeros(n, int)

            def work(shares: Shares, own: int, counts: np.ndarray = counts) -> None:
                for i in claims(shares, own):
                    counts[i] += 1

            pool.run(work)
            np.testing.assert_array_equal(counts, 1)


@pytest.mark.parametrize("guilty", [0, 1])
def test_an_exception_in_any_thread_is_raised_and_the_crew_works_on(guilty: int) -> None:
    pool, both = ThreadPool(8, 2), threading.Barrier(2)

    def work(shares: Shares, own: int) -> None:
        i = work_queue.claim(shares, own)
        both.wait(10.0)  # so that each has one
        if own == guilty:
            raise MemoryError(f"no room for {i}")
        claims(shares, own)

    for _ in range(3):
        with pytest.raises(MemoryError, match="no room for"):
            pool.run(work)
    done: list[int] = []
    pool.run(lambda shares, own: done.extend(claims(shares, own)))
    assert sorted(done) == list(range(8))


def test_a_thread_that_does_not_come_is_not_waited_for() -> None:
    pool, gate, done = ThreadPool(8, 2), threading.Event(), list[int]()

    def work(shares: Shares, own: int) -> None:
        if own == 1:
            gate.wait(10.0)
        done.extend(claims(shares, own))

    pool.run(work)  # would never return if it waited
    assert sorted(done) == list(range(8))
    gate.set()
    pool.run(work)
    assert sorted(done) == sorted([*range(8), *range(8)])


def test_threads_end_with_their_batch() -> None:
    batch = Batch([Simulator(qnum_gym.scenario("dumbbell"), seed) for seed in range(4)], threads=3)
    before = set(threading.enumerate())
    batch.advance(1.0)
    helpers = set(threading.enumerate()) - before
    assert len(helpers) == 2
    del batch
    gc.collect()
    for thread in helpers:
        thread.join(10.0)
        assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    batch = Batch([Simulator(qnum_gym.scenario("dumbbell"), seed) for seed in range(4)], threads=2)
    batch.advance(1.0)
    child = os.fork()
    if child == 0:
        batch.advance(1.0)
        os._exit(0 if all(s.time == 2.0 for s in batch.simulators) else 1)
    assert os.waitpid(child, 0)[1] == 0
    batch.advance(1.0)
    assert [s.time for s in batch.simulators] == [2.0] * 4
