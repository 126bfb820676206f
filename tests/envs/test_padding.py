"""Networks of different sizes in one batch: each does what it does alone, bit for bit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents
from qnum_gym.envs import Score
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.scenarios import LinkEvent, Scenario, ScenarioError
from qnum_gym.scenarios.sizes import Sizes
from qnum_gym.simulator import Controls

DUMBBELL, NSFNET, CHAIN = (qnum_gym.scenario(name) for name in ("dumbbell", "nsfnet", "chain"))
CHANGING = DUMBBELL.replace(  # more moments of change than the others have, and other measures
    measure="negativity",
    worth="per_pair",
    control_interval=0.5,
    events=[LinkEvent(time=t, link=("left", "right"), extra_loss_db=db) for t, db in ((1.2, 3.0), (2.7, 1.0))],
)
PER_NETWORK = ("rewards", "session_rewards", "times", "latency", "queue", "utilisation")


class Alone:
    """A network in a batch of its own."""

    def __init__(self, scenario: Scenario, seed: int, reward: str) -> None:
        self.batch = EnvBatch([scenario], threads=1, reward=reward)
        self.batch.reset(0, seed)
        self.sizes = Sizes.of([scenario])

    def same(self, batch: EnvBatch, i: int) -> None:
        """Whether network i of the batch is this one, and what is behind its rows is 0."""
        n, m = self.sizes.sessions, self.sizes.links
        mine, theirs = self.batch.controls, batch.controls
        pairs = [
            *((getattr(self.batch, name)[0], getattr(batch, name)[i]) for name in PER_NETWORK),
            *zip(self.batch.counts[:, 0], batch.counts[:, i], strict=True),
            (mine.rates[0], theirs.rates[i]),
            (mine.werner[0], theirs.werner[i]),
            (self.batch.session_rows[0], batch.session_rows[i]),
            (self.batch.link_rows[0], batch.link_rows[i]),
            (self.batch.rows[0], batch.rows[i]),
        ]
        for own, row in pairs:
            np.testing.assert_array_equal(own, row[: len(own)] if np.ndim(own) else row)
            assert not np.any(row[len(own) :] if np.ndim(own) else 0)
        mine, theirs = self.batch.outcome(0), batch.outcome(i)
        for name in mine.__slots__:
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        assert (batch.session_mask[i].sum(), batch.link_mask[i].sum()) == (n, m)
        assert batch.session_mask[i, :n].all()

    def step(self, controls: Controls, i: int) -> None:
        n, m = self.sizes.sessions, self.sizes.links
        self.batch.step(Controls(controls.rates[i : i + 1, :n], controls.werner[i : i + 1, :m]))


def drawn(rng: np.random.Generator, batch: EnvBatch) -> Controls:
    """Controls of all rows, NaN in those that stand for nothing."""
    rates, werner = rng.uniform(5, 60, batch.session_mask.shape), rng.uniform(0.9, 0.98, batch.link_mask.shape)
    return Controls(np.where(batch.session_mask, rates, np.nan), np.where(batch.link_mask, werner, np.nan))


@pytest.mark.bits
@pytest.mark.parametrize(("reward", "threads"), [("relative", 1), ("interval", 2)])
def test_each_network_is_the_same_as_alone_also_after_another_took_its_place(reward: str, threads: int) -> None:
    scenarios = [CHAIN, NSFNET, DUMBBELL, CHANGING]
    batch = EnvBatch(scenarios, threads, reward)
    alone = [Alone(scenario, 10 + i, reward) for i, scenario in enumerate(scenarios)]
    for i in range(4):
        batch.reset(i, 10 + i)
    rng = np.random.default_rng(0)
    for step in range(24):
        for i, one in enumerate(alone):
            one.same(batch, i)
        if step == 6:  # a smaller network, then one with more changes, then a larger one
            batch.replace(1, CHAIN, 77)
            alone[1] = Alone(CHAIN, 77, reward)
        elif step == 9:
            batch.replace(0, CHANGING, 5, Score(CHANGING))
            alone[0] = Alone(CHANGING, 5, reward)
        elif step == 12:
            batch.replace(2, NSFNET, 6)
            alone[2] = Alone(NSFNET, 6, reward)
        elif step == 15:
            batch = pickle.loads(pickle.dumps(batch))
        elif step == 17:  # back to where it was before
            state = copy.deepcopy(batch.get_state())
            for _ in range(2):
                batch.step(drawn(np.random.default_rng(1), batch))
            batch.set_state(state)
        else:
            controls = drawn(rng, batch)
            batch.step(controls)
            for i, one in enumerate(alone):
                one.step(controls, i)
    assert np.isfinite(batch.rewards).all()


def test_a_network_without_room_is_refused() -> None:
    batch = EnvBatch([DUMBBELL, CHAIN], threads=1)
    before = batch.get_state()
    with pytest.raises(ScenarioError, match=r"nsfnet: \d+ sessions; valid: at most 3, the room that there is"):
        batch.replace(1, NSFNET, 0)
    with pytest.raises(ScenarioError, match="nsfnet"):
        EnvBatch([NSFNET], sizes=batch.sizes)
    assert batch.scenarios == (DUMBBELL, CHAIN)
    batch.set_state(before)
    roomy = EnvBatch([DUMBBELL, CHAIN], threads=1, sizes=Sizes.of([DUMBBELL, NSFNET]))
    roomy.replace(1, NSFNET, 0)
    assert roomy.session_mask[1].all()


def test_only_a_networks_own_controls_are_looked_at() -> None:
    batch = EnvBatch([DUMBBELL, CHAIN], threads=1)
    for i in range(2):
        batch.reset(i, i)
    controls = drawn(np.random.default_rng(0), batch)
    controls.rates[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"rates\[1, 0\] = nan"):
        batch.step(controls)
    np.testing.assert_array_equal(batch.controls.rates[1, 1:], 0.0)


@pytest.mark.bits
def test_a_policy_acts_on_all_as_on_each_alone() -> None:
    scenarios = [CHAIN, NSFNET, DUMBBELL]
    together, policy = EnvBatch(scenarios, threads=1), agents.make("qprimaldual-da")
    policy.reset(scenarios)
    alone = [(EnvBatch([s], threads=1), agents.make("qprimaldual-da")) for s in scenarios]
    for i, (batch, own) in enumerate(alone):
        own.reset(scenarios[i])
        for network, place in ((batch, 0), (together, i)):
            network.reset(place, i)
    for _ in range(15):
        together.step(policy.act(together.telemetry()))
        for i, (batch, own) in enumerate(alone):
            batch.step(own.act(batch.telemetry()))
            np.testing.assert_array_equal(batch.rows[0], together.rows[i, : batch.rows.shape[1]])
            np.testing.assert_array_equal(batch.signals[1][0], together.signals[1][i, : batch.sizes.links])
    rows = sum(len(scenario.sessions) for scenario in scenarios)
    with pytest.raises(ValueError, match=rf"rows of shape \({rows + 1},\); valid: \({rows},\), those of all networks"):
        together.step(Controls(np.ones(rows + 1), np.full(int(together.link_mask.sum()), 0.95)))
