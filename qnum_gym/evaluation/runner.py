"""THE runner: policies × scenarios × seeds, side by side in a process and over processes; nothing runs twice."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gymnasium.vector import AutoresetMode

from qnum_gym.agents.policy import Policy, checked
from qnum_gym.digests import of_file, of_foreign
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.evaluation.episodes import run_episodes
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.processes import Processes
from qnum_gym.evaluation.provenance import identity
from qnum_gym.evaluation.recorders import Outcomes, Recorder
from qnum_gym.evaluation.store import Record, Store
from qnum_gym.scenarios import Scenario

FORMAT = 3  # of what is kept; another one whenever its meaning changes
AT_ONCE = 64  # episodes, in one vector environment
OUTCOMES = Outcomes()

Progress: TypeAlias = Callable[[int, int, str], None]  # (episodes done, in all, what the last ones were)


def untold(done: int, total: int, what: str) -> None:
    """The `Progress` that nobody wants to see."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A policy on a scenario: an episode for each seed, and what is kept of it.

    A policy that is an object, and no `PolicySpec`, runs in this process, and the store must be in memory.

    Raises:
        ValueError: neither.
    """

    policy: PolicySpec | Policy
    scenario: Scenario
    seeds: Sequence[int]
    recorder: Recorder = OUTCOMES

    def __post_init__(self) -> None:
        if not isinstance(self.policy, PolicySpec):
            checked(self.policy)


def run(
    jobs: Sequence[Job],
    *,
    store: Store | None = None,
    processes: Processes | None = None,
    progress: Progress = untold,
) -> list[list[Record]]:
    """Run what the store does not have yet.

    The same numbers bit for bit whatever the store has and however many processes there are (of a model of torch: but
    for rounding, if it has some of the episodes).

    Args:
        jobs: what is to be run.
        store: keeps each episode as soon as its batch is done, so that an interrupted run goes on; in memory if none.
        processes: that do the work; this one if none.
        progress: told how many episodes are done, those of the store included.

    Returns:
        For each job a record for each of its seeds.

    Raises:
        optimum.InfeasibleError: a policy needs an optimum, and there is none.
        WorkerError: a process has died.
        OSError: the store cannot be written.
    """
    store = Store() if store is None else store
    keys = _keys(jobs)
    missing = _missing(jobs, keys, store)
    total = len({(key, seed) for job, key in zip(jobs, keys, strict=True) for seed in job.seeds})
    done = total - sum(len(batch.seeds) for batch in missing)
    progress(done, total, "kept from before")
    for batch, records in (processes or Processes()).map(simulate, missing):
        found: defaultdict[str, dict[int, Record]] = defaultdict(dict)
        for key, seed, record in zip(batch.keys, batch.seeds, records, strict=True):
            found[key][seed] = record
        for key, by_seed in found.items():
            store.add(key, by_seed)
        done += len(batch.seeds)
        progress(done, total, batch.title)
    return [[kept[seed] for seed in job.seeds] for job, kept in zip(jobs, map(store.get, keys), strict=True)]


# --- batches ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """n episodes of one policy that run side by side: of networks of equal shape and episodes of equal length."""

    policy: PolicySpec | Policy
    recorder: Recorder
    keys: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    seeds: tuple[int, ...]

    @property
    def work(self) -> float:
        """Roughly, to begin with the longest."""
        first = self.scenarios[0]
        seconds = first.episode_length * first.control_interval
        return len(self.seeds) * seconds * (len(first.links) + len(first.sessions))

    @property
    def title(self) -> str:
        """Policy and scenarios, for people."""
        label = self.policy.label if isinstance(self.policy, PolicySpec) else self.policy.name
        names = list(dict.fromkeys(scenario.name for scenario in self.scenarios))
        return f"{label}, {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def simulate(batch: Batch, threads: int | None) -> list[Record]:
    """Run a batch; a record for each episode."""
    policy = batch.policy.make() if isinstance(batch.policy, PolicySpec) else batch.policy
    scenarios = [with_interval(scenario, policy.interval) for scenario in batch.scenarios]
    envs = AllocationVectorEnv(
        len(batch.seeds), scenarios, info="none", autoreset_mode=AutoresetMode.DISABLED, threads=threads
    )
    watch = batch.recorder.watch(scenarios, batch.seeds)
    outcomes = run_episodes(envs, policy, batch.seeds, watch)
    return watch.records(outcomes)


def with_interval(scenario: Scenario, longest: float) -> Scenario:
    """The scenario with control intervals of at most `longest` s, in an episode as long as before."""
    parts = math.ceil(scenario.control_interval / longest * (1.0 - 1e-12))
    if parts <= 1:
        return scenario
    length = scenario.episode_length * parts
    return scenario.replace(control_interval=scenario.control_interval / parts, episode_length=length)


def _missing(jobs: Sequence[Job], keys: Sequence[str], store: Store) -> list[Batch]:
    """What is to be run, the longest first. Batches do not depend on how many processes there are."""
    todo: dict[str, dict[int, None]] = {}
    first: dict[str, Job] = {}
    for job, key in zip(jobs, keys, strict=True):
        if key not in first:
            first[key], todo[key] = job, {}
        kept = store.get(key)
        todo[key] |= dict.fromkeys(seed for seed in job.seeds if seed not in kept)
    alike: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for key, job in first.items():
        scenario = job.scenario
        shape = len(scenario.sessions), len(scenario.links), scenario.episode_length
        alike[*_told_apart(job), *shape].append(key)
    batches = [
        Batch(first[group[0]].policy, first[group[0]].recorder, *zip(*episodes, strict=True))
        for group in alike.values()
        for episodes in _cut([[(key, first[key].scenario, seed) for seed in todo[key]] for key in group])
    ]
    return sorted(batches, key=lambda batch: -batch.work)


def _cut(jobs: Iterable[list[tuple[str, Scenario, int]]]) -> Iterator[list[tuple[str, Scenario, int]]]:
    """Batches of at most `AT_ONCE` episodes; those of one job stay together where they fit in one."""
    batch: list[tuple[str, Scenario, int]] = []
    for episodes in jobs:
        if batch and len(batch) + len(episodes) > AT_ONCE:
            yield batch
            batch = []
        for first in range(0, len(episodes), AT_ONCE):
            chunk = episodes[first : first + AT_ONCE]
            if len(chunk) == AT_ONCE:
                yield chunk
            else:
                batch = batch + chunk
    if batch:
        yield batch


def _told_apart(job: Job) -> tuple[str, str]:
    policy = job.policy
    return policy.text if isinstance(policy, PolicySpec) else f"object {id(policy)}", repr(job.recorder)


def _keys(jobs: Sequence[Job]) -> list[str]:
    """Of each job the SHA-256 of all that decides the numbers of its episodes, but for their seeds."""
    identities: dict[str, str] = {}
    keys: list[str] = []
    recorded = {kind: of_file(Path(inspect.getfile(kind))) for kind in {type(job.recorder) for job in jobs}}
    for job in jobs:
        policy, recorder = _told_apart(job)
        if policy not in identities:
            identities[policy] = identity(job.policy) if isinstance(job.policy, PolicySpec) else policy
        own = identities[policy], job.scenario.fingerprint, of_foreign(job.scenario)
        parts = (FORMAT, *own, recorder, recorded[type(job.recorder)])
        keys.append(hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest())
    return keys
