"""Policies on paired seeds: every policy lives through the same episodes, with the same random draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.policy import Policy
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.reward import EpisodeRecord, Outcome
from qnum_gym.scenario import Scenario
from qnum_gym.simulator import Telemetry

Floats = NDArray[np.float64]
Progress = Callable[[str, int], None]  # (policy, seed), called after each episode
Watch = Callable[[Telemetry, dict[str, Any]], None]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What P policies came to on S seeds: the second half of each episode, pooled (model.md §5).

    env: what was run, an id or a scenario's name. scenario: the scenario. policies: [P] labels. seeds: [S].
    score: [P, S]; 0 is `equal_share`, 1 the optimum. geometric_mean: [P, S], 1/s (bit/s for `secret_key`).
    rate: [P, S, R] pairs delivered per second. werner: [P, S, R] their mean Werner parameter, 0 where there are none.
    """

    env: str
    scenario: Scenario
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    score: Floats
    geometric_mean: Floats
    rate: Floats
    werner: Floats

    def mean_rate(self) -> Floats:
        """[P, R] mean over seeds, 1/s."""
        return self.rate.mean(axis=1)

    def mean_werner(self) -> Floats:
        """[P, R] mean over the seeds in which the session delivered anything; 0 if it never did."""
        delivered = (self.rate > 0.0).sum(axis=1)
        return self.werner.sum(axis=1) / np.maximum(delivered, 1)


def run_episode(env: AllocationEnv, policy: Policy, seed: int, watch: Watch | None = None) -> Outcome:
    """One episode of `policy` from env.reset(seed=seed) to its end; what its second half came to.

    `watch` sees every interval: its telemetry, and the metrics of the environment's info.
    """
    env.reset(seed=seed)
    policy.reset(env.scenario, seed)
    record, truncated = EpisodeRecord(env.scenario), False
    while not truncated:
        _, _, _, truncated, info = env.step_controls(policy.act(env.telemetry))
        record.add(env.telemetry)
        if watch is not None:
            watch(env.telemetry, info["metrics"])
    return record.result()


def evaluate(
    scenario: Scenario,
    policies: Mapping[str, Policy],
    seeds: Iterable[int],
    *,
    env: str | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run every policy on every seed, one `episode_length` of the scenario each.

    Args:
        scenario: what to simulate.
        policies: by the label that results carry.
        seeds: of the episodes, at least one; policies are compared on equal ones.
        env: name for the results; the scenario's if not given.
        progress: told of each episode done.

    Raises:
        ValueError: no policy or no seed.
        optimum.InfeasibleError: no allocation of the scenario is worth anything, so there is no score.
    """
    seeds = tuple(seeds)
    if not policies or not seeds:
        raise ValueError(f"{len(policies)} policies, {len(seeds)} seeds; valid: at least one of each")
    arena = AllocationEnv(scenario)
    outcomes: list[list[Outcome]] = []
    for label, policy in policies.items():
        outcomes.append([])
        for seed in seeds:
            outcomes[-1].append(run_episode(arena, policy, seed))
            if progress is not None:
                progress(label, seed)
    return Results(
        env=env or scenario.name,
        scenario=scenario,
        policies=tuple(policies),
        seeds=seeds,
        score=np.array([[each.score for each in row] for row in outcomes]),
        geometric_mean=np.array([[each.geometric_mean for each in row] for row in outcomes]),
        rate=np.array([[each.rate for each in row] for row in outcomes]),
        werner=np.array([[each.werner for each in row] for row in outcomes]),
    )
