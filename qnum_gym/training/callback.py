"""What happens between two rollouts: evaluation beside the references, checkpoint, interruption."""

from __future__ import annotations

import csv
import io
import signal
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self, cast

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from qnum_gym import agents, files
from qnum_gym.evaluation import Results, difference, evaluate, mean, ratio
from qnum_gym.training import checkpoint
from qnum_gym.training.config import TrainConfig
from qnum_gym.training.folder import RunFolder

Row = dict[str, float]


class Interrupted(Exception):
    """The run was asked to stop, and its checkpoint is written."""


class StopRequest:
    """While entered, SIGINT and SIGTERM ask the run to stop after the present rollout, a second one at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> Self:
        self._before = [(number, signal.signal(number, self._handle)) for number in self.SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True


class Observer(Protocol):
    """Who is told how the run goes."""

    def steps(self, done: int) -> None:
        """`done` control intervals of the whole run are over."""
        ...

    def evaluated(self, row: Row) -> None:
        """The learner was evaluated."""
        ...


def against(own: Results, references: Results) -> Row:
    """The one policy of `own`: score with its interval, geometric mean, both against each reference, seed by seed."""
    score, geometric_mean = own.score[0], own.geometric_mean[0]
    row: Row = {}
    row["score"], row["score_low"], row["score_high"] = mean(score)
    row["geometric_mean"] = mean(geometric_mean).mean
    for p, name in enumerate(references.policies):
        row[f"score_less_{name}"] = difference(score, references.score[p]).mean
        row[f"geometric_mean_over_{name}"] = ratio(geometric_mean, references.geometric_mean[p]).mean
    return row


class TrainingCallback(BaseCallback):
    """Between rollouts: evaluates, keeps the best policy, writes the checkpoint, and stops where that was asked for.

    `history` holds one row per evaluation. It is part of the checkpoint: a resumed run's is an undisturbed run's.
    """

    def __init__(
        self, config: TrainConfig, folder: RunFolder, references: Results, observer: Observer, stop: StopRequest
    ) -> None:
        super().__init__()
        self.history: list[Row] = []
        self._config, self._folder, self.references = config, folder, references
        self._observer, self._stop = observer, stop

    def _on_training_start(self) -> None:
        self._rollouts = self._rollouts_done()

    def _on_step(self) -> bool:
        self._observer.steps(self.num_timesteps)
        return True

    def _on_rollout_start(self) -> None:
        self._between_rollouts()

    def _on_training_end(self) -> None:
        self._between_rollouts()

    def _rollouts_done(self) -> int:
        return self.model.num_timesteps // self._config.rollout_steps

    def _between_rollouts(self) -> None:
        done, config = self._rollouts_done(), self._config
        if done == self._rollouts:
            return  # the start of the run, or where it was resumed
        self._rollouts = done
        last = done >= config.rollouts
        if last or done % config.evaluation.every == 0:
            self._evaluate()
        self.logger.dump(self.num_timesteps)  # with what the last update had to say
        if last or done % config.checkpoint_every == 0 or self._stop.made:
            self._save()
        if self._stop.made and not last:
            raise Interrupted

    def _evaluate(self) -> None:
        self._save_model(self._folder.model)
        references = self.references
        with cast(Any, torch.random).fork_rng(devices=()):  # building the saved policy draws weights
            own = evaluate(references.scenario, {"learned": agents.make(self._folder.model)}, references.seeds)
        row = {"steps": self.num_timesteps, **against(own, references)}
        best = all(row["score"] > earlier["score"] for earlier in self.history)
        self.history.append(row)
        for name, value in row.items():
            if name != "steps":
                self.logger.record(f"eval/{name}", value)
        files.write(self._folder.evaluations, _as_csv(self.history))
        if best:
            self._save_model(self._folder.best_model)
        self._observer.evaluated(row)

    def _save(self) -> None:
        self._save_model(self._folder.model)
        state = checkpoint.capture(self.model)
        checkpoint.write({**state, "config": self._config.lasting(), "history": self.history}, self._folder.checkpoint)

    def save_model(self, model: BaseAlgorithm) -> None:
        """Write the policy of a model that is not learning now."""
        _save(model, self._folder.model)

    def _save_model(self, path: Path) -> None:
        _save(self.model, path)


def _save(model: BaseAlgorithm, path: Path) -> None:
    buffer = io.BytesIO()
    model.save(buffer)
    files.write(path, buffer.getvalue())


def _as_csv(rows: list[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
