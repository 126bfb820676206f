"""A batch does to each of its simulators what it would do alone."""

import pickle

import numpy as np
import pytest

import qnum_gym
from qnum_gym.simulator import Batch, Simulator


@pytest.mark.bits
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batch_equals_single_simulators(threads: int) -> None:
    base = qnum_gym.scenario("dumbbell")
    others = [
        base.replace(message_loss=0.05, window=30),
        base.replace(events=[{"time": 3.3, "link": ["left", "right"], "up": False}]),
        base.replace(discipline="fair", memory=4, coherence_time=2.0),
    ]
    scenarios = [base, *others, base]
    alone = [Simulator(s, seed, trace=True) for seed, s in enumerate(scenarios)]
    members = [Simulator(s, seed, trace=True) for seed, s in enumerate(scenarios)]
    batch = Batch(members, threads=threads)
    rng = np.random.default_rng(0)
    for step in range(12):
        rates, werner = rng.uniform(5, 60, (5, 3)), rng.uniform(0.9, 0.98, (5, 7))
        signals = rng.normal(size=(5, 3)), rng.normal(size=(5, 7))
        batch.set_controls(rates, werner, *signals)
        batch.advance(1.0)
        for i, simulator in enumerate(alone):
            simulator.set_controls(rates[i], werner[i], signals[0][i], signals[1][i])
            simulator.advance(1.0)
            np.testing.assert_array_equal(simulator.events_log(), members[i].events_log())
        if step == 4:  # one begins anew, as at the end of an episode
            alone[1].reset(77)
            members[1].reset(77)
        if step == 7:
            batch = pickle.loads(pickle.dumps(batch))
            members = batch.simulators
    for simulator, member in zip(alone, members, strict=True):
        ours, theirs = simulator.get_state()["arrays"], member.get_state()["arrays"]
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_networks_of_any_sizes_do_what_they_do_alone() -> None:
    scenarios = [qnum_gym.scenario(name) for name in ("dumbbell", "nsfnet", "chain")]
    alone, members = ([Simulator(s, seed) for seed, s in enumerate(scenarios)] for _ in range(2))
    batch = Batch(members, threads=2)
    sizes = [(len(s.sessions), len(s.links)) for s in scenarios]
    assert (batch.session_mask.sum(axis=1).tolist(), batch.link_mask.sum(axis=1).tolist()) == tuple(
        map(list, zip(*sizes, strict=True))
    )
    rng = np.random.default_rng(0)
    for step in range(8):
        rates, werner = rng.uniform(5, 60, batch.session_mask.shape), rng.uniform(0.9, 0.98, batch.link_mask.shape)
        rates[~batch.session_mask], werner[~batch.link_mask] = np.nan, 7.0  # ignored
        batch.set_controls(rates, werner, rates)
        batch.advance([1.0, 2.0, 0.5])
        for i, (simulator, (n, m), seconds) in enumerate(zip(alone, sizes, (1.0, 2.0, 0.5), strict=True)):
            simulator.set_controls(rates[i, :n], werner[i, :m], rates[i, :n])
            simulator.advance(seconds)
        if step == 3:  # another network comes
            alone[1], sizes[1] = Simulator(scenarios[2], 5), sizes[2]
            batch.replace(1, Simulator(scenarios[2], 5))
        if step == 5:
            batch = pickle.loads(pickle.dumps(batch))
        for simulator, member in zip(alone, batch.simulators, strict=True):
            ours, theirs = simulator.get_state()["arrays"], member.get_state()["arrays"]
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    batch.replace(0, Simulator(scenarios[1]))  # there is still room for it
    with pytest.raises(ValueError, match=r"rates\[2, 0\] = nan"):
        batch.set_controls(rates=np.where(np.arange(3)[:, None] == 2, np.nan, np.ones(batch.session_mask.shape)))


def test_refusals_change_nothing() -> None:
    batch = Batch([Simulator(qnum_gym.scenario("dumbbell"), seed) for seed in range(2)], threads=1)
    with pytest.raises(ValueError, match=r"rates\[1, 2\] = -3.0; valid: 0.01 to 1000"):
        batch.set_controls(rates=[[1.0, 2.0, 3.0], [1.0, 2.0, -3.0]])
    assert batch.simulators[0].controls.rates.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"nsfnet: .* valid: at most 3, the room that there is"):
        batch.replace(0, Simulator(qnum_gym.scenario("nsfnet")))
    assert batch.simulators[0].scenario.name == "dumbbell"
    with pytest.raises(ValueError, match="at least one"):
        Batch([])
    with pytest.raises(ValueError, match="threads = 0"):
        Batch([Simulator(qnum_gym.scenario("dumbbell"))], threads=0)
