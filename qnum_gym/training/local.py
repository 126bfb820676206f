"""What every way of training the shared local policy has: batches of networks, the validation, the run.

Networks are drawn from the families of the split `train`; it is validated on those of `validation`, beside
QPrimalDual-DA on the same random draws. A policy whose last layer is zero is QPrimalDual-DA itself.
"""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from qnum_gym import files
from qnum_gym.agents.learned.local import (
    KNOBS,
    LINK_FEATURES,
    SOURCE_FEATURES,
    Network,
    Rows,
    SharedControllers,
    save,
)
from qnum_gym.agents.networks import Networks
from qnum_gym.config import ConfigError
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.evaluation.statistics import interquartile_mean
from qnum_gym.families import family, names, sample
from qnum_gym.optimum.problem import RATE_FLOOR
from qnum_gym.registry import suggest
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls
from qnum_gym.training.algorithms import Count, Width
from qnum_gym.training.config import Configuration
from qnum_gym.training.folder import versions

Floats = NDArray[np.float64]
FEATURES = len(SOURCE_FEATURES), len(LINK_FEATURES)
VALIDATION_SEED = 900_000


def _family(name: str) -> str:
    valid = (*names("train"), *names("validation"))
    if name not in valid:
        raise ValueError(f"{suggest(name, valid)}must be one of {', '.join(valid)}")
    return name


Families = Annotated[tuple[Annotated[str, AfterValidator(_family)], ...], Field(min_length=1)]


class LocalConfig(Configuration, ABC):
    """One training run of the shared local policy."""

    families: Families = names("train")
    scenarios: Count = 12  # of each family, in one batch
    copies: Count = 3  # of each scenario in it
    redraw: Count = 25  # rounds after which other scenarios take their place
    hidden: tuple[Width, ...] = ()  # layers of each head; none: corrections linear in the features
    validation_every: Count = 10  # rounds
    validation_families: Families = names("validation")
    validation_scenarios: Count = 8  # of each family
    validation_seeds: Count = 2
    threads: Count = 1

    @property
    @abstractmethod
    def rounds(self) -> int:
        """Episodes of the batch that the run learns from, one after the other."""

    @abstractmethod
    def learner(self) -> Learner:
        """At its beginning."""

    def draw(self, done: int) -> list[Scenario]:
        """The networks to learn from after so many rounds, each of them `copies` times in a row."""
        first = (self.seed * 1000 + done // self.redraw) * self.scenarios
        drawn = [sample(name, first + i) for name in self.families for i in range(self.scenarios)]
        return [scenario for scenario in drawn for _ in range(self.copies)]


class Learner(Protocol):
    """What learns. `CHECKPOINT` is the name of its file; `done` counts rounds."""

    CHECKPOINT: ClassVar[str]
    done: int

    def step(self) -> None:
        """One round."""
        ...

    def network(self) -> Network:
        """What is learned so far."""
        ...

    def save(self, path: Path) -> None:
        """Write a checkpoint, at once or not at all."""
        ...

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint: the same bits as without interruption. ConfigError if it is not this run's."""
        ...


class Rollouts:
    """A batch of networks and their controllers."""

    def __init__(self, scenarios: Sequence[Scenario], threads: int) -> None:
        self.envs, networks = EnvBatch(scenarios, threads), Networks(scenarios)
        self.scenarios = self.envs.scenarios
        self.n = len(self.scenarios)
        self.of_session, self.of_link = networks.of_session, networks.of_link
        self.controllers = SharedControllers(networks)
        self.intervals = max(scenario.episode_length for scenario in self.scenarios)

    def play(self, network: Callable[[Rows, Rows], tuple[Rows, Rows]], seed: int) -> Floats:
        """[n] log gm over the second half of an episode, with the corrections of `network`."""
        envs, controllers = self.envs, self.controllers
        for i in range(self.n):
            envs.reset(i, seed + i)
        controllers.forget()
        episode: list[Floats] = []
        for _ in range(self.intervals):
            rows = controllers.look(envs.telemetry(), envs.shared_rows())
            envs.step(Controls(*controllers.correct(*network(*rows))))
            episode.append(envs.rows)
        rows = np.array(episode).swapaxes(0, 1)
        means = [score.result(mine).geometric_mean for score, mine in zip(envs.scores, rows, strict=True)]
        return np.log(np.maximum(means, RATE_FLOOR))


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """A policy on networks that training does not see, beside QPrimalDual-DA on the same draws.

    Of the static and the dynamic families: log of gm over QPrimalDual-DA's, interquartile mean over tasks and seeds,
    and the share of pairs that it wins.
    """

    done: int
    static: float
    dynamic: float
    static_wins: float
    dynamic_wins: float

    def line(self) -> str:
        """For the terminal."""
        return (
            f"round {self.done:>4}: over qprimaldual-da static {100 * self.static:+.2f} %, "
            f"dynamic {100 * self.dynamic:+.2f} %; wins {self.static_wins:.2f}, {self.dynamic_wins:.2f}"
        )


class ValidationSet:
    """Holds the validation's networks, and what QPrimalDual-DA comes to there."""

    def __init__(self, config: LocalConfig) -> None:
        drawn = [sample(name, i) for name in config.validation_families for i in range(config.validation_scenarios)]
        self._rollouts = Rollouts(drawn, config.threads)
        self._seeds = [VALIDATION_SEED + 1000 * i for i in range(config.validation_seeds)]
        played = [scenario.name.rsplit("/", 1)[0] for scenario in self._rollouts.scenarios]
        self._dynamic = np.array([family(name).dynamic for name in played])
        self._base = self._play(silent)

    def _play(self, network: Callable[[Rows, Rows], tuple[Rows, Rows]]) -> Floats:
        return np.array([self._rollouts.play(network, seed) for seed in self._seeds])

    def validate(self, learner: Learner) -> ValidationResult:
        """What is learned so far comes to."""
        gain = self._play(learner.network()) - self._base  # [seeds, tasks]
        (static, static_wins), (dynamic, dynamic_wins) = (_summary(gain[:, x]) for x in (~self._dynamic, self._dynamic))
        return ValidationResult(learner.done, static, dynamic, static_wins, dynamic_wins)


def silent(sources: Rows, links: Rows) -> tuple[Rows, Rows]:
    """No corrections: QPrimalDual-DA."""
    return np.zeros((len(sources), KNOBS), np.float32), np.zeros((len(links), KNOBS), np.float32)


def _summary(gain: Floats) -> tuple[float, float]:
    """Interquartile mean, and the share above zero."""
    if not gain.size:
        return np.nan, np.nan
    return interquartile_mean(gain[np.newaxis], resamples=1).mean, float((gain > 0.0).mean())


def train(config: LocalConfig, path: Path, report: Callable[[str], None], stop: Callable[[], bool]) -> bool:
    """Train to the end, which leaves the policy in `path`/model.npz; from the checkpoint on where there is one.

    Returns:
        Whether it came to the end; otherwise `stop` said so, and the checkpoint is written.
    """
    learner = config.learner()
    checkpoint, model = path / learner.CHECKPOINT, path / "model.npz"
    if checkpoint.exists():
        learner.restore(checkpoint)
    curve = Curve(path / "validations.csv", learner.done)
    validation_set = ValidationSet(config)
    while True:
        over = learner.done >= config.rounds
        due = learner.done > curve.done or not model.exists()
        if (over or learner.done % config.validation_every == 0) and due:
            validation = validation_set.validate(learner)
            curve.add(validation)
            about = {"config": config.model_dump(mode="json"), "commit": versions().get("commit"), "curve": curve.rows}
            save(learner.network(), model, **about)
            learner.save(checkpoint)
            curve.write()  # last: a validation in it has its policy and its checkpoint
            report(validation.line())
        if over:
            return True
        if stop():
            learner.save(checkpoint)
            return False
        learner.step()


class Curve:
    """The validations of a run, a row each, and their CSV file.

    Args:
        path: of the file.
        done: rounds of the checkpoint; what the file has of later ones belongs to a run that is no more.

    Raises:
        ConfigError: the file is not such a curve.
    """

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        self.rows: list[dict[str, float]] = []
        if not path.exists():
            return
        names = [field.name for field in fields(ValidationResult)]
        try:
            with path.open(newline="", encoding="utf-8") as file:
                kept = [{name: float(row[name]) for name in names} for row in csv.DictReader(file)]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ConfigError(f"{path}: not a run's validations ({error}); valid: train.py's own, or none") from None
        self.rows = [row for row in kept if row["done"] <= done]

    @property
    def done(self) -> float:
        """Rounds before the last validation; −1 if there was none."""
        return self.rows[-1]["done"] if self.rows else -1

    def add(self, validation: ValidationResult) -> None:
        """One more row, in place of another of the same round."""
        self.rows = [row for row in self.rows if row["done"] < validation.done] + [asdict(validation)]

    def write(self) -> None:
        """Write the file."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows({**row, "done": int(row["done"])} for row in self.rows)
        files.write(self._path, text.getvalue())
