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


def test_refusals_change_nothing() -> None:
    batch = Batch([Simulator(qnum_gym.scenario("dumbbell"), seed) for seed in range(2)], threads=1)
    with pytest.raises(ValueError, match=r"rates\[1, 2\] = -3.0; valid: 0.01 to 1000"):
        batch.set_controls(rates=[[1.0, 2.0, 3.0], [1.0, 2.0, -3.0]])
    assert batch.simulators[0].controls.rates.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="valid: all the same"):
        Batch([Simulator(qnum_gym.scenario(name)) for name in ("dumbbell", "nsfnet")])
    with pytest.raises(ValueError, match="at least one"):
        Batch([])
    with pytest.raises(ValueError, match="threads = 0"):
        Batch([Simulator(qnum_gym.scenario("dumbbell"))], threads=0)
