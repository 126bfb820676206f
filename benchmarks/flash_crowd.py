"""The picture of docs/traffic.md: rates over time as a crowd comes to one session, `oracle` and `qprimaldual-da`.

python -m benchmarks.flash_crowd --seeds 20 --out docs/images/flash_crowd.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from qnum_gym import Scenario, agents
from qnum_gym.envs import AllocationVectorEnv
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.episodes import run_episodes
from qnum_gym.evaluation.style import DASHED, INK, look, name_curves, new_figure, save
from qnum_gym.simulator import Controls

SCENARIO = Path(__file__).parents[1] / "configs/scenarios/flash_crowd.yaml"
POLICIES = ("oracle", "qprimaldual-da")
SMOOTH = 5  # intervals pooled for a point of a curve


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    scenario = Scenario.from_yaml(SCENARIO)
    seeds = list(range(arguments.seeds))
    envs = AllocationVectorEnv(len(seeds), scenario, autoreset_mode="DISABLED", info="none")
    figure, axes = new_figure(1, len(POLICIES), width=9.0, height=3.6, sharey=True)
    for panel, name in zip(axes[0], POLICIES, strict=True):
        delivered: list[np.ndarray] = []

        def watch(env_batch: EnvBatch, controls: Controls, kept: list[np.ndarray] = delivered) -> None:
            kept.append(env_batch.counts[1].mean(axis=0))  # over seeds; pairs in an interval of 1 s

        outcomes = run_episodes(envs, agents.make(name), seeds, watch)
        score = statistics.mean(np.array([outcome.score for outcome in outcomes]))
        print(f"{name}: score of the second half {score:.3f}")
        rates = np.array(delivered)
        smooth = np.array([np.convolve(column, np.ones(SMOOTH) / SMOOTH, mode="valid") for column in rates.T])
        times = np.arange(smooth.shape[1]) + SMOOTH
        labels = [f"session {r}" for r in range(len(smooth))]
        for label, column in zip(labels, smooth, strict=True):
            panel.plot(times, column, color=look(label, labels)[0], lw=1.3, label=label)
        steps = np.array(scenario.sessions[0].rate_cap)
        panel.step([*steps[:, 0], len(rates)], [*steps[:, 1], steps[-1, 1]], where="post", color=INK, lw=0.9, ls=DASHED)
        panel.set_title(f"{name}, score {score.mean:.3f}", fontsize=9, color=INK)
        panel.set_xlabel("time (s)")
    axes[0][0].set_ylabel("pairs delivered per second")
    name_curves(figure, axes.flat)
    if arguments.out is not None:
        save(
            figure,
            arguments.out,
            f"A crowd comes to session 0 (dashed: its cap). Mean of {len(seeds)} seeds, last {SMOOTH} s",
        )


if __name__ == "__main__":
    main()
