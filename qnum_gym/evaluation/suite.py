"""Every policy on every task of a split of `families`; `evaluate.py --suite`. [ours]"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qnum_gym import families
from qnum_gym.evaluation import runner
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.processes import Processes
from qnum_gym.evaluation.runner import Job, Progress, untold
from qnum_gym.evaluation.store import Store
from qnum_gym.scenarios import Scenario

Floats = NDArray[np.float64]

REFERENCE = "oracle"  # always there, beside the baseline
BASELINE = "qprimaldual-da"  # which the others are to improve on
SEEDS, TASKS = 10, 12  # by default, and what a claim needs; 12: every kind of network with every kind of change


class Task(NamedTuple):
    """One scenario of a family."""

    family: str
    dynamic: bool
    scenario: Scenario


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the policies came to.

    Attributes:
        tasks: [T].
        seeds: [S] of the episodes, the same for every policy.
        geometric_means: by label [K, S, T], K trainings: of the second half of an episode, 1/s.
        shares: by label [K, S, T], the same as a share of the optimum's: the score (model.md §5).
    """

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    geometric_means: Mapping[str, Floats]
    shares: Mapping[str, Floats]

    def of(self, label: str, families: Iterable[str] | None = None) -> Floats:
        """Scores [K, S, T'], of some families' tasks or of all."""
        wanted = None if families is None else set(families)
        chosen = [t for t, task in enumerate(self.tasks) if wanted is None or task.family in wanted]
        return self.shares[label][:, :, chosen]


def tasks(names: Sequence[str], count: int) -> tuple[Task, ...]:
    """The first `count` scenarios of each family.

    Raises:
        ValueError: an unknown family.
    """
    found = [families.family(name) for name in names]
    return tuple(Task(family.name, family.dynamic, family.draw(i)) for family in found for i in range(count))


def trainings(policies: Iterable[PolicySpec]) -> dict[str, list[PolicySpec]]:
    """The policies by label: those of one label are trainings of one method."""
    found: dict[str, list[PolicySpec]] = {}
    for policy in policies:
        found.setdefault(policy.label, []).append(policy)
    return found


def run(
    policies: Sequence[PolicySpec],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    store: Store | None = None,
    processes: Processes | None = None,
    progress: Progress = untold,
) -> Scores:
    """Run every policy on every task.

    Args:
        policies: `oracle` and `qprimaldual-da` among them; several of one label are trainings of one method.
        tasks: [T].
        seeds: [S].
        store: see `runner.run`.
        processes: likewise.
        progress: likewise.
    """
    jobs = [Job(policy, task.scenario, seeds) for policy in policies for task in tasks]
    found = runner.run(jobs, store=store, processes=processes, progress=progress)

    def of(name: str) -> dict[str, Floats]:
        values = np.array([[record[name] for record in records] for records in found])
        by_policy = values.reshape(len(policies), len(tasks), len(seeds)).swapaxes(1, 2)
        places = {label: [p for p, policy in enumerate(policies) if policy.label == label] for label in labels}
        return {label: by_policy[chosen] for label, chosen in places.items()}

    labels = dict.fromkeys(policy.label for policy in policies)
    return Scores(tuple(tasks), tuple(seeds), of("geometric_mean"), of("score"))
