"""A policy of one's own: sources that let memories cost a fixed share of W. Its score beside the references'.

It knows no prices, so who has the longest route gets least: more than `best_static` takes more than this.
Also, without touching the package: python evaluate.py --suite test --policy examples/own_policy.py:FixedLoss
"""

import sys
from dataclasses import dataclass

import numpy as np

import qnum_gym
from qnum_gym import agents, evaluation
from qnum_gym.simulator import Controls


@dataclass(frozen=True, slots=True)
class Gains(agents.Constants):
    """What `qnum-gym tune` searches, and `--policy` files in YAML may set."""

    werner: float = agents.constant(0.967, agents.Range(0.94, 0.99, log=False), share=True)  # of all links
    loss: float = agents.constant(0.04, agents.Range(0.01, 0.3))  # of log W, to memories
    step: float = agents.constant(0.03, agents.Range(0.01, 0.3))  # of log R, at most, in an interval


class FixedLoss(agents.Policy):
    """A source speeds up while its pairs lose less than `loss` of log W in memories, else slows down."""

    local = True  # each row of the controls comes from that controller's own row

    def __init__(self, **gains: float) -> None:
        self.gains = agents.constants(Gains, gains)

    def prepare(self) -> None:
        """For new networks: rows of all of them, one after the other."""
        self.lost = np.zeros(len(self.networks.of_session))

    def forget(self, which: np.ndarray) -> None:
        """An episode begins in the networks `which`."""
        sessions, _ = self.networks.rows(which)
        self.lost[sessions] = 0.0

    def act(self, seen: agents.Seen) -> Controls:
        """The rates and Werner parameters of the next interval."""
        a, gains = self.networks.arrays, self.gains
        self.lost += 0.3 * np.nan_to_num(seen.sessions.mean_decay - self.lost)  # NaN where nothing arrived
        change = gains.step * np.clip(1.0 - self.lost / gains.loss, -1.0, 1.0)
        rates = np.clip(seen.sessions.rate * np.exp(change), a.rate_min, a.rate_max)
        return Controls(rates, np.clip(gains.werner, a.werner_min, a.werner_max))


if __name__ == "__main__":
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    names = "equal_share", "best_static", "qprimaldual-da", "oracle"
    policies = {"own": FixedLoss(), **{name: agents.make(name) for name in names}}
    for network in ("dumbbell", "nsfnet"):
        results = evaluation.evaluate(qnum_gym.scenario(network), policies, seeds)
        for name, score in zip(results.policies, results.score, strict=True):
            print(f"{network}: {name:15} score {evaluation.statistics.mean(score):.3f}")
