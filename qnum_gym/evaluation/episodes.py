"""Episodes of a policy: one, or many side by side in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.policy import Policy, checked, controls_of, judged
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.scores import Outcome
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.simulator import Controls, Telemetry

Watch = Callable[[Telemetry, Outcome], None]
WatchAll = Callable[[EnvBatch, Controls], None]


def run_episode(env: AllocationEnv, policy: Policy, seed: int, watch: Watch | None = None) -> Outcome:
    """One episode of `policy` from env.reset(seed=seed) to its end; what its second half came to.

    `watch` sees every interval: its telemetry, and what the last 20 intervals came to.

    Raises:
        PolicyError: the policy gives no controls of this network.
    """
    env.reset(seed=seed)
    checked(policy).reset(env.scenario, seed)
    rows, truncated = list[NDArray[np.float64]](), False
    while not truncated:
        controls = controls_of(policy, env.telemetry)
        with judged(policy):
            _, _, _, truncated, _ = env.step_controls(controls)
        rows.append(env.row)
        if watch is not None:
            watch(env.telemetry, env.outcome)
    return env.env_batch.scores[0].result(np.array(rows))


def run_episodes(
    envs: AllocationVectorEnv, policy: Policy, seeds: Sequence[int], watch: WatchAll | None = None
) -> list[Outcome]:
    """`run_episode` for each of n seeds, all at the same time, with the same outcomes bit for bit.

    Args:
        envs: n environments of equal `episode_length`, with `autoreset_mode` DISABLED.
        policy: acts in all of them.
        seeds: [n].
        watch: sees every interval: the networks, and the controls that were in force.

    Raises:
        PolicyError: the policy gives no controls of these networks.
    """
    envs.reset(seed=seeds)
    checked(policy).reset(envs.env_batch.scenarios, seeds)
    rows: list[NDArray[np.float64]] = []
    over = False
    while not over:
        controls = controls_of(policy, envs.env_batch.telemetry())
        with judged(policy):
            controls = envs.env_batch.per_network(controls)
            _, _, _, truncated, _ = envs.step_controls(controls)
        rows.append(envs.env_batch.rows)
        if watch is not None:
            watch(envs.env_batch, controls)
        over = bool(truncated.all())
    episodes = np.array(rows).swapaxes(0, 1)
    return [score.result(rows) for score, rows in zip(envs.env_batch.scores, episodes, strict=True)]
