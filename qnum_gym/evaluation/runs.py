"""Policies on paired seeds: every policy lives through the same episodes, with the same random draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from qnum_gym.agents.batch import batch_form
from qnum_gym.agents.policy import BatchPolicy, Policy
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.scores import Outcome
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls, Telemetry

Floats = NDArray[np.float64]
AT_ONCE = 64  # episodes, in one vector environment
MEASURED = ("score", "geometric_mean", "rate", "werner", "fidelity_shortfall", "rate_shortfall")  # of an `Outcome`

Progress = Callable[[str, int], None]  # (policy, seed), called for each episode when it is done
Watch = Callable[[Telemetry, dict[str, Any]], None]
WatchAll = Callable[[EnvBatch, Controls], None]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What P policies came to on S seeds: the second half of each episode, pooled (model.md §5).

    env: what was run, an id or a scenario's name. scenario: the scenario. policies: [P] labels. seeds: [S].
    score: [P, S]; gm / gm*, the share of the optimum, NaN if there is none. geometric_mean: [P, S], 1/s (bit/s for
    `secret_key`).
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
    rows, truncated = list[Floats](), False
    while not truncated:
        _, _, _, truncated, info = env.step_controls(policy.act(env.telemetry))
        rows.append(env.row)
        if watch is not None:
            watch(env.telemetry, info["metrics"])
    return env.env_batch.scores[0].result(np.array(rows))


def run_episodes(
    envs: AllocationVectorEnv, policy: BatchPolicy, seeds: Sequence[int], watch: WatchAll | None = None
) -> list[Outcome]:
    """`run_episode` for each of n seeds, all at the same time, with the same outcomes bit for bit.

    Args:
        envs: n environments of equal `episode_length`, with `autoreset_mode` DISABLED.
        policy: for their scenarios.
        seeds: [n].
        watch: sees every interval: the networks, and the controls that were in force.
    """
    envs.reset(seed=seeds)
    policy.reset(seeds)
    rows: list[Floats] = []
    over = False
    while not over:
        controls = policy.act(envs.env_batch)
        _, _, _, truncated, _ = envs.step_controls(controls)
        rows.append(envs.env_batch.rows)
        if watch is not None:
            watch(envs.env_batch, controls)
        over = bool(truncated.all())
    episodes = np.array(rows).swapaxes(0, 1)
    return [score.result(rows) for score, rows in zip(envs.env_batch.scores, episodes, strict=True)]


def evaluate(
    scenario: Scenario,
    policies: Mapping[str, Policy],
    seeds: Iterable[int],
    *,
    env: str | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run every policy on every seed, one `episode_length` of the scenario each.

    Policies with a batch form act on many seeds at once, on all cores; others live through one episode after the other.

    Args:
        scenario: what to simulate.
        policies: by the label that results carry.
        seeds: of the episodes, at least one; policies are compared on equal ones.
        env: name for the results; the scenario's if not given.
        progress: told of each episode done.

    Raises:
        ValueError: no policy or no seed.
        optimum.InfeasibleError: a policy needs an optimum, and there is none.
    """
    seeds = tuple(seeds)
    if not policies or not seeds:
        raise ValueError(f"{len(policies)} policies, {len(seeds)} seeds; valid: at least one of each")
    outcomes: list[list[Outcome]] = []
    for label, policy in policies.items():
        outcomes.append([])
        for seed, outcome in zip(seeds, _episodes(scenario, policy, seeds), strict=True):
            outcomes[-1].append(outcome)
            if progress is not None:
                progress(label, seed)
    measured = {name: np.array([[getattr(each, name) for each in row] for row in outcomes]) for name in MEASURED}
    return Results(env or scenario.name, scenario, tuple(policies), seeds, **measured)


def _episodes(scenario: Scenario, policy: Policy, seeds: Sequence[int]) -> Iterator[Outcome]:
    """What each seed's episode came to, at most `AT_ONCE` of them at the same time."""
    form = batch_form(policy)
    if form is None:
        env = AllocationEnv(scenario)
        for seed in seeds:
            yield run_episode(env, policy, seed)
        return
    for first in range(0, len(seeds), AT_ONCE):
        chunk = seeds[first : first + AT_ONCE]
        envs = AllocationVectorEnv(len(chunk), scenario, autoreset_mode=AutoresetMode.DISABLED)
        yield from run_episodes(envs, form(envs.env_batch.scenarios), chunk)
