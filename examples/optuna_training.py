"""Optuna: fields of a training configuration searched by short runs; mean score as it is, and the best found.

Each trial is a run of its own under runs/optuna, as train.py makes them. Trials that fall behind the others are pruned.
The study is kept beside them: the same command goes on with it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend

from qnum_gym.training.callback import Interrupted, StopRequest
from qnum_gym.training.config import TrainConfig
from qnum_gym.training.folder import RunFolder
from qnum_gym.training.run import train

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 150_000  # control intervals of a trial
TRIALS = int(sys.argv[2]) if len(sys.argv) > 2 else 20  # in all
RUNS = Path("runs/optuna")
AS_IT_IS: dict[str, Any] = {"learning_rate": 6e-4, "gamma": 0.95, "gae_lambda": 0.95, "net_arch": "64-64"}
BASE = TrainConfig.checked(
    {
        "name": "trial",
        "env": "qnum_gym/Dumbbell-v0",
        "envs": 16,
        "steps": STEPS,
        "ppo": {"n_steps": 128, "batch_size": 256, "n_epochs": 10},
        "evaluation": {"every": max(1, STEPS // (4 * 16 * 128))},  # of 2048 intervals: four times in a trial
    },
    __file__,
)


def suggested(trial: optuna.Trial) -> dict[str, Any]:
    """The fields searched, and where."""
    widths = trial.suggest_categorical("net_arch", ["32-32", "64-64", "128-128"])
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "gamma": trial.suggest_float("gamma", 0.8, 0.99),
        "gae_lambda": trial.suggest_float("gae_lambda", 0.8, 1.0),
        "net_arch": [int(width) for width in widths.split("-")],
    }


@dataclass
class Reporting:
    """Tells Optuna of each evaluation on the way, and asks the run to stop where it is not worth going on."""

    trial: optuna.Trial
    stop: StopRequest
    score: float = 0.0

    def steps(self, done: int) -> None:
        """Nothing to say."""

    def evaluated(self, row: dict[str, float]) -> None:
        """Its score, over seeds that no comparison uses."""
        self.score = row["score"]
        self.trial.report(self.score, int(row["steps"]))
        self.stop.made |= self.trial.should_prune()


def run(trial: optuna.Trial) -> float:
    """The score at the end of a trial's run."""
    config = BASE.replace(name=f"trial-{trial.number}", ppo={**BASE.settings.model_dump(), **suggested(trial)})
    reporting = Reporting(trial, StopRequest())
    try:
        train(config, RunFolder.create(config, RUNS), reporting, reporting.stop)
    except Interrupted:
        raise optuna.TrialPruned from None
    return reporting.score


RUNS.mkdir(parents=True, exist_ok=True)
study = optuna.create_study(
    storage=optuna.storages.JournalStorage(JournalFileBackend(str(RUNS / "journal.log"))),
    study_name="training",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    direction="maximize",
    load_if_exists=True,
)
if not study.trials:
    study.enqueue_trial(AS_IT_IS)
study.optimize(run, n_trials=TRIALS - sum(trial.state.is_finished() for trial in study.trials))
print(f"best: trial {study.best_trial.number}, {study.best_params}")
print(f"score as it is {study.trials[0].value:.3f}, best {study.best_value:.3f}")
