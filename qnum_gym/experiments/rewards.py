"""Whether an episode's return ranks policies as the evaluation does, for each reward. [ours]"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from qnum_gym.envs.rewards import REWARDS
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.style import INK, look, name_curves, new_figure, save
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, PolicySpecs, Row, network
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.labels import plain

ALL = "all"  # the row of all networks together


def _reward(name: str) -> str:
    return REWARDS.find(name) and name


@EXPERIMENTS.registers("rewards")
class Rewards(Experiment):
    """Networks × policies; of every episode its score and what each reward sums up to.

    rewards: their names.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    rewards: Annotated[tuple[Annotated[str, AfterValidator(_reward)], ...], Field(min_length=1)]
    policies: PolicySpecs

    def runs(self) -> list[Run]:
        """One for each policy on each network."""
        return [
            Run(
                {"network": name, "policy": policy.label},
                network(name, episode_length=self.intervals),
                policy,
                self.seeds,
                rewards=self.rewards,
            )
            for name in self.networks
            for policy in self.policies
        ]

    def table(self, done: Sequence[Done]) -> list[Row]:
        """A row per run: mean score, mean returns; then Spearman's correlation of the two over policies, with interval.

        Of policies on one network, and of all policies on all networks together.
        """
        rows: list[Row] = []
        for run, seen in done:
            returns = zip(self.rewards, seen.returns.mean(axis=1).tolist(), strict=True)
            rows.append({**run.labels, "score": float(seen.score.mean()), **dict(returns)})
        for name in (*self.networks, ALL):
            here = [seen for run, seen in done if name in (ALL, run.labels["network"])]
            scores, returns = np.array([seen.score for seen in here]), np.array([seen.returns for seen in here])
            agree = [statistics.rank_correlation(scores, returns[:, k]) for k in range(len(self.rewards))]
            for suffix, values in zip(("", ", low", ", high"), zip(*agree, strict=True), strict=True):
                correlations = zip(self.rewards, values, strict=True)
                rows.append(
                    {"network": name, "policy": f"rank correlation{suffix}", "score": 1.0, **dict(correlations)}
                )
        return rows

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A panel per reward: an episode's mean reward over its score, a point for each policy on each network."""
        figure, axes = new_figure(1, len(self.rewards), width=0.8 + 3.2 * len(self.rewards), height=4.0)
        labels = [policy.label for policy in self.policies]
        for k, (panel, reward) in enumerate(zip(axes[0], self.rewards, strict=True)):
            for label in labels:
                here = [seen for run, seen in done if run.labels["policy"] == label]
                scores, means = zip(*((seen.score.mean(), seen.returns[k].mean()) for seen in here), strict=True)
                colour, marker = look(label, labels)
                per_interval = np.array(means) / self.intervals
                panel.plot(scores, per_interval, marker, color=colour, ms=5.0, alpha=0.8, label=plain(label))
            panel.set_title(plain(reward), fontsize=9.5, color=INK)
            panel.set_xlabel("score of the second half")
        axes[0, 0].set_ylabel("return / intervals")
        name_curves(figure, axes.flat)
        title = f"Return against evaluation: means over {self.seeds} seeds, a point per network of {len(self.networks)}"
        save(figure, path, title)
