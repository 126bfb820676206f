"""Policies compared on one scenario: the same episodes for all of them, with the same random draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.policy import Policy
from qnum_gym.evaluation import runner, statistics
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.processes import Processes
from qnum_gym.evaluation.recorders import MEASURED
from qnum_gym.evaluation.runner import Job, Progress, untold
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.evaluation.store import Store
from qnum_gym.scenarios import Scenario

Floats = NDArray[np.float64]

REFERENCE = "oracle"  # what the others are compared with; the first policy where it did not run


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What P policies came to on S seeds: the second half of each episode, pooled (model.md §5).

    env: what was run, an id or a scenario's name. scenario: the scenario. policies: [P] labels. seeds: [S].
    score: [P, S]; gm / gm*, the share of the optimum, NaN if there is none. geometric_mean: [P, S], 1/s (bit/s for
    `secret_key`).
    jain, worst, worst_session, mean_age, waste, requests, completed, completion_time: [P, S] as in
    `envs.scores.OutcomeOf`; age: [P, S, R] likewise.
    rate: [P, S, R] pairs delivered per second. werner: [P, S, R] their mean Werner parameter, 0 where there are none.
    fidelity_shortfall, rate_shortfall: [P, S, R] how far a session stays below its `min_fidelity` and `min_rate`, 1/s.
    """

    env: str
    scenario: Scenario
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    score: Floats
    geometric_mean: Floats
    rate: Floats
    werner: Floats
    fidelity_shortfall: Floats
    rate_shortfall: Floats
    jain: Floats
    worst: Floats
    worst_session: Floats
    mean_age: Floats
    waste: Floats
    requests: Floats
    completed: Floats
    completion_time: Floats
    age: Floats

    def mean_rate(self) -> Floats:
        """[P, R] mean over seeds, 1/s."""
        return self.rate.mean(axis=1)

    def mean_werner(self) -> Floats:
        """[P, R] mean over the seeds in which the session delivered anything; 0 if it never did."""
        delivered = (self.rate > 0.0).sum(axis=1)
        return self.werner.sum(axis=1) / np.maximum(delivered, 1)


def evaluate(
    scenario: Scenario,
    policies: Mapping[str, PolicySpec | Policy],
    seeds: Iterable[int],
    *,
    env: str | None = None,
    store: Store | None = None,
    processes: Processes | None = None,
    progress: Progress = untold,
) -> Results:
    """Run every policy on every seed, one `episode_length` of the scenario each.

    Args:
        scenario: what to simulate.
        policies: by the label that results carry; objects where there is neither `store` nor `processes`.
        seeds: of the episodes, at least one; policies are compared on equal ones.
        env: name for the results; the scenario's if not given.
        store: see `runner.run`.
        processes: likewise.
        progress: likewise.

    Raises:
        ValueError: no policy or no seed.
        optimum.InfeasibleError: a policy needs an optimum, and there is none.
    """
    seeds = tuple(seeds)
    if not policies or not seeds:
        raise ValueError(f"{len(policies)} policies, {len(seeds)} seeds; valid: at least one of each")
    jobs = [Job(policy, scenario, seeds) for policy in policies.values()]
    found = runner.run(jobs, store=store, processes=processes, progress=progress)
    measured = {name: np.array([[record[name] for record in records] for records in found]) for name in MEASURED}
    return Results(env or scenario.name, scenario, tuple(policies), seeds, **measured)


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """One policy against the reference.

    score, geometric_mean: means over seeds, of geometric_mean the arithmetic one: what an episode yields on average.
    score_difference: score less the reference's, seed by seed. geometric_mean_ratio: ratio of the two means over seeds.
    Intervals are 95 % (`statistics`).
    """

    score: Interval
    geometric_mean: Interval
    score_difference: Interval
    geometric_mean_ratio: Interval


def reference_of(results: Results) -> str:
    """The policy that the others are compared with."""
    return REFERENCE if REFERENCE in results.policies else results.policies[0]


def summaries(results: Results) -> dict[str, PolicySummary]:
    """Every policy's means and its comparison with the reference."""
    i = results.policies.index(reference_of(results))
    return {
        name: PolicySummary(
            statistics.mean(score),
            statistics.mean(geometric_mean),
            statistics.difference(score, results.score[i]),
            statistics.ratio(geometric_mean, results.geometric_mean[i]),
        )
        for name, score, geometric_mean in zip(results.policies, results.score, results.geometric_mean, strict=True)
    }
