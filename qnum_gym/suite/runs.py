"""Every policy on every task and seed, side by side and in several processes; nothing is run twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from qnum_gym import agents, families
from qnum_gym.agents.static import Fixed
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.evaluation.identity import identity
from qnum_gym.evaluation.runs import run_episodes
from qnum_gym.files import write
from qnum_gym.scenarios import Scenario

Floats = NDArray[np.float64]
Kept: TypeAlias = tuple[float, float]  # of an episode: gm, 1/s, and score
Progress = Callable[[int, int, str], None]  # (episodes done, in all, what the last ones were)

REFERENCE = "oracle"  # always there, beside the baseline
BASELINE = "qprimaldual-da"  # which the others are to improve on
FORMAT = 2  # of what is kept; another one whenever its meaning changes
AT_ONCE = 64  # episodes, in one vector environment


class Task(NamedTuple):
    """One scenario of a family."""

    family: str
    dynamic: bool
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """A row of the leaderboard.

    Attributes:
        label: as tables show it.
        members: what `agents.make` takes, one for each training; several trainings of one method are one policy.
    """

    label: str
    members: tuple[str, ...]

    @property
    def knows(self) -> str:
        """`local`: each controller what it measures and headers bring it; `all`: all rows of all; `scenario`: that."""
        policy = agents.make(self.members[0])
        return "local" if policy.local else "scenario" if isinstance(policy, Fixed) else "all"


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
    return tuple(Task(each.name, each.dynamic, each.draw(i)) for each in found for i in range(count))


def run(
    policies: Sequence[PolicySpec],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    folder: Path,
    *,
    jobs: int = 1,
    progress: Progress = lambda done, total, what: None,
) -> Scores:
    """Run what was not run before.

    Args:
        policies: `oracle` and `qprimaldual-da` among them.
        tasks: [T].
        seeds: [S].
        folder: keeps every episode's gm, so that an interrupted run goes on; made if it is not there.
        jobs: processes.
        progress: told how many episodes are done, those run before included.
    """
    store = _Store(folder)
    members = tuple(dict.fromkeys(member for policy in policies for member in policy.members))
    waiting = sorted((job for m in members for job in _jobs(m, tasks, seeds, store)), key=lambda job: -job.work)
    total = len(members) * len(tasks) * len(seeds)
    done = total - sum(len(job.seeds) for job in waiting)
    progress(done, total, "kept from before")
    for job, found in _each(waiting, jobs):
        store.add(job, found)
        done += len(job.seeds)
        progress(done, total, f"{job.policy}, {job.family}")

    def of_training(member: str) -> list[list[Kept]]:
        kept = [store.get(member, task.scenario) for task in tasks]
        return [[of_task[seed] for of_task in kept] for seed in seeds]

    both = {each.label: np.array([of_training(member) for member in each.members]) for each in policies}
    means, shares = ({label: values[..., k] for label, values in both.items()} for k in (0, 1))
    return Scores(tuple(tasks), tuple(seeds), means, shares)


# --- jobs -------------------------------------------------------------------------------------------------------------


class _Job(NamedTuple):
    """Episodes that run side by side: networks of equal numbers of sessions and links, with a seed each."""

    policy: str
    family: str
    scenarios: tuple[Scenario, ...]
    seeds: tuple[int, ...]

    @property
    def work(self) -> int:
        """Roughly, to begin with the longest."""
        return len(self.seeds) * (len(self.scenarios[0].links) + len(self.scenarios[0].sessions))


def _jobs(member: str, tasks: Sequence[Task], seeds: Sequence[int], store: _Store) -> Iterator[_Job]:
    """What the member has still to do."""
    groups: defaultdict[tuple[str, int, int], list[tuple[Scenario, int]]] = defaultdict(list)
    for family, _, scenario in tasks:
        kept = store.get(member, scenario)
        missing = [(scenario, seed) for seed in seeds if seed not in kept]
        groups[family, len(scenario.sessions), len(scenario.links)] += missing
    for (family, *_), episodes in groups.items():
        for first in range(0, len(episodes), AT_ONCE):
            scenarios, chosen = zip(*episodes[first : first + AT_ONCE], strict=True)
            yield _Job(member, family, scenarios, chosen)


def _simulate(job: _Job, threads: int | None) -> list[Kept]:
    """gm (1/s) and score of each episode's second half."""
    never = AutoresetMode.DISABLED
    envs = AllocationVectorEnv(len(job.seeds), job.scenarios, autoreset_mode=never, threads=threads)
    policy = agents.batched(job.policy, envs.env_batch.scenarios)
    return [(outcome.geometric_mean, outcome.score) for outcome in run_episodes(envs, policy, job.seeds)]


def _each(waiting: Sequence[_Job], jobs: int) -> Iterator[tuple[_Job, list[Kept]]]:
    """The jobs and what they came to, in the order in which they are done."""
    if jobs == 1 or len(waiting) < 2:
        for job in waiting:
            yield job, _simulate(job, None)
        return
    others = active_children()
    pool = ProcessPoolExecutor(min(jobs, len(waiting)), get_context("spawn"), _begin)
    try:
        running: dict[Future[list[Kept]], _Job] = {pool.submit(_simulate, job, 1): job for job in waiting}
        for future in as_completed(running):
            yield running[future], future.result()
    except BaseException:  # what the processes are at would take minutes more
        for process in active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A process of several: it ends with its parent, however that ends; libraries loaded from now on take one core."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of them; the parent ends the others
    threading.Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)  # pyright: ignore[reportPrivateUsage]


# --- what is kept -----------------------------------------------------------------------------------------------------


class _Store:
    """gm and score by policy, scenario and seed: a file for each policy and scenario, complete or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, dict[int, Kept]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, member: str, scenario: Scenario) -> dict[int, Kept]:
        """gm and score by seed; a file that cannot be read counts as none."""
        path = self._path(member, scenario)
        if path not in self._known:
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))["geometric_mean and score"]
                self._known[path] = {int(seed): (float(gm), float(score)) for seed, (gm, score) in kept.items()}
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                self._known[path] = {}
        return self._known[path]

    def add(self, job: _Job, found: Sequence[Kept]) -> None:
        """Keep what a job came to."""
        changed = dict.fromkeys(job.scenarios)
        for scenario, seed, value in zip(job.scenarios, job.seeds, found, strict=True):
            self.get(job.policy, scenario)[seed] = value
        for scenario in changed:
            kept = {
                "policy": job.policy,
                "task": scenario.name,
                "geometric_mean and score": self.get(job.policy, scenario),
            }
            write(self._path(job.policy, scenario), json.dumps(kept, allow_nan=False))

    def _path(self, member: str, scenario: Scenario) -> Path:
        key = hashlib.sha256(f"{FORMAT} {identity(member)} {scenario.fingerprint}".encode()).hexdigest()
        return self._folder / f"{key}.json"
