"""A policy's constants chosen by an Optuna study: trials counted, kept on disk, gone on with where they stopped. [ours]

A trial runs the policy with one set of options on every scenario and seed. Its value is the mean over scenarios of its
geometric mean of R f(W), averaged over seeds, divided by the oracle's on the same seeds. The first trial is the policy
as it is, the others are proposed by a tree-structured Parzen estimator. Seeds are 1000, 1001, …: those from 0 on, on
which `evaluate.py` compares, stay unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, cast

import numpy as np

from qnum_gym import agents, files
from qnum_gym.agents.options import Constants, Range, declared
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.runner import Job, run
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.yaml_io import dump

FIRST_SEED = 1000
SIGNIFICANT = 3  # digits of the options tried, so that what a result file says is what ran


def space(policy: str) -> dict[str, tuple[float, Range]]:
    """Of each constant of a policy that can be tuned: its value now, and where a better one is looked for.

    Raises:
        ValueError: there is no such policy, it has no such constants, or a value is not in its range.
    """
    found = _space(policy)
    if not found or policy.endswith(".yaml"):
        valid = ", ".join(filter(_space, agents.names()))
        raise ValueError(f"nothing to tune; valid: {valid}, or another class with `gains` that have ranges")
    for name, (value, wide) in found.items():
        if not wide.low <= value <= wide.high:
            raise ValueError(f"gains: {name} = {value!r}: valid: within its range, {wide.low!r} to {wide.high!r}")
    return found


def _space(policy: str) -> dict[str, tuple[float, Range]]:
    gains: Any = getattr(agents.make(policy), "gains", None)
    if not isinstance(gains, Constants):
        return {}
    return {name: (getattr(gains, name), wide) for name, wide in declared(type(gains), "search").items()}


Progress = Callable[[int, float, float], None]  # (trials done, value of the last, best value)


@dataclass(frozen=True, slots=True)
class Task:
    """What is tuned, and on what: policy, scenarios by name, seeds per scenario, seed of the search."""

    policy: str
    scenarios: tuple[str, ...]
    intervals: tuple[int, ...]  # of an episode, for each scenario
    seeds: int
    search_seed: int = 0


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a study came to.

    options: of the best trial. value: its mean ratio to the oracle. before: that of the policy as it is. trials: how
    many were run in all, the first included. seconds: they took.
    """

    task: Task
    options: dict[str, float]
    value: float
    before: float
    trials: int
    seconds: float

    def to_yaml(self, path: Path) -> None:
        """Write it: the policy with its options, as `agents.make` takes the file, and the study that found them."""
        study = {
            "scenarios": list(self.task.scenarios),
            "intervals": list(self.task.intervals),
            "seeds": [FIRST_SEED, FIRST_SEED + self.task.seeds - 1],
            "search_seed": self.task.search_seed,
            "trials": self.trials,
            "seconds": round(self.seconds, 1),
            "ratio_to_oracle": round(self.value, 4),
            "ratio_of_first_trial": round(self.before, 4),
            "versions": {name: metadata.version(name) for name in ("qnum-gym", "numpy", "numba", "optuna")},
        }
        text = dump({"policy": self.task.policy, "options": self.options, "study": study})
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)


class StudyError(ValueError):
    """The folder's study cannot be gone on with."""


class DifferentTaskError(StudyError):
    """The folder holds a study of something else."""


def tune(task: Task, scenarios: Mapping[str, Scenario], trials: int, folder: Path, progress: Progress) -> Tuned:
    """Run the study of `folder` until it has `trials` trials; those it has already count.

    Args:
        task: what is tuned.
        scenarios: those that the task names.
        trials: in all, at least 1.
        folder: of the study's journal, made if it is not there.
        progress: told of each trial done.

    Raises:
        DifferentTaskError: the folder's study is of another task.
        StudyError: its journal cannot be read.
        FolderInUseError: another process goes on with the folder's study.
        ValueError: see `space`.
        optimum.InfeasibleError: the oracle has nothing to offer on one of the scenarios.
    """
    with files.locked(folder):
        return _tune(task, scenarios, trials, folder, progress)


def _tune(task: Task, scenarios: Mapping[str, Scenario], trials: int, folder: Path, progress: Progress) -> Tuned:
    optuna: Any = import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    constants = space(task.policy)
    study = _study(optuna, task, folder)
    _close_interrupted(optuna, study)
    references = _geometric_means(scenarios, PolicySpec.of("oracle"), task)
    distributions = {
        name: optuna.distributions.FloatDistribution(wide.low, wide.high, log=wide.log)
        for name, (_, wide) in constants.items()
    }
    as_it_is = {name: value for name, (value, _) in constants.items()}
    while (done := len(_complete(optuna, study))) < trials or _first(optuna, study, as_it_is) is None:
        study.sampler = optuna.samplers.TPESampler(seed=task.search_seed + done, multivariate=True)
        if _first(optuna, study, as_it_is) is None:
            study.enqueue_trial(as_it_is)
        trial = study.ask(distributions)
        options = {name: _rounded(value) for name, value in trial.params.items()}
        trial.set_user_attr("options", options)
        found = _geometric_means(scenarios, PolicySpec.of(task.policy, **cast("dict[str, Any]", options)), task)
        ratio = float(np.mean(np.divide(found, references)))
        study.tell(trial, ratio)
        progress(done + 1, ratio, study.best_value)
    complete = _complete(optuna, study)
    return Tuned(
        task,
        options=dict(study.best_trial.user_attrs["options"]),
        value=study.best_value,
        before=_first(optuna, study, as_it_is).value,
        trials=len(complete),
        seconds=sum(trial.duration.total_seconds() for trial in complete),
    )


def _study(optuna: Any, task: Task, folder: Path) -> Any:
    path = folder / "journal.log"
    try:
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        study = optuna.create_study(storage=storage, study_name="tune", direction="maximize", load_if_exists=True)
    except Exception as error:  # Optuna raises whatever a foreign line leads it to
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StudyError(f"{path} is no study's journal ({reason:.120}); valid: another folder") from None
    described: dict[str, Any] = json.loads(json.dumps(asdict(task)))  # as the journal gives it back
    before = study.user_attrs.setdefault("task", described)
    if before != described:
        raise DifferentTaskError(f"{folder} holds a study of {before}, not of {described}; valid: another folder")
    study.set_user_attr("task", described)
    return study


def _close_interrupted(optuna: Any, study: Any) -> None:
    """Trials that were begun or planned by a process that is no more will not be told."""
    states = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING, states.WAITING)):
        study.tell(trial.number, state=states.FAIL, skip_if_finished=True)


def _first(optuna: Any, study: Any, as_it_is: dict[str, float]) -> Any:
    """The trial of the policy as it is, None before it is done."""
    return next((trial for trial in _complete(optuna, study) if trial.params == as_it_is), None)


def _complete(optuna: Any, study: Any) -> list[Any]:
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT}g}")


def _geometric_means(scenarios: Mapping[str, Scenario], policy: PolicySpec, task: Task) -> list[float]:
    """Of each scenario, the mean over the seeds, 1/s."""
    seeds = range(FIRST_SEED, FIRST_SEED + task.seeds)
    found = run([Job(policy, scenario, seeds) for scenario in scenarios.values()])
    return [float(np.mean([record["geometric_mean"] for record in records])) for records in found]
