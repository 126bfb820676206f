"""The shared local policy, trained by an evolution strategy over random networks. [ours]

One generation lives through one episode on every network of a crowd, twice: with the weights θ + σ ε and θ − σ ε, on
the same random draws, ε drawn anew for each network. The difference of what the two come to, log of the geometric mean
of R f(W) over the episode's second half, tells how θ should change (Salimans et al., arXiv:1703.03864, antithetic
samples; the step is Adam's). A network is one sample: a hundred of them are a hundred directions tried at once. No
value function, no discount, and the objective is the one that is judged.

θ = 0 is QPrimalDual-DA itself.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from qnum_gym.agents.learned.local import KNOBS, LINK_FEATURES, SOURCE_FEATURES, Layers, Network, Rows, Teams, save
from qnum_gym.envs.crowd import Crowd
from qnum_gym.families import family, names, sample
from qnum_gym.scenario.errors import suggest
from qnum_gym.training.algorithms import Count, Positive
from qnum_gym.training.config import Configuration

Floats = NDArray[np.float64]
FEATURES = len(SOURCE_FEATURES), len(LINK_FEATURES)
MOMENTS = 0.9, 0.99  # Adam's
TRIAL_SEED = 900_000


def _family(name: str) -> str:
    valid = (*names("train"), *names("validation"))
    if name not in valid:
        raise ValueError(f"{suggest(name, valid)}must be one of {', '.join(valid)}")
    return name


Families = Annotated[tuple[Annotated[str, AfterValidator(_family)], ...], Field(min_length=1)]


class EvolutionConfig(Configuration):
    """One training run of the shared local policy."""

    algorithm: Literal["evolution"]
    generations: Count = 40
    families: Families = names("train")
    scenarios: Count = 12  # of each family, in one crowd
    copies: Count = 3  # of each scenario in it, each with streams and a direction of its own
    redraw: Count = 25  # generations after which other scenarios take their place
    hidden: tuple[Count, ...] = ()  # layers of each head; none: corrections linear in the features
    deviation: Positive = 0.05  # σ
    learning_rate: Positive = 0.012  # falls linearly to a tenth
    limit: Positive = 0.3  # of one network's difference of log gm: a collapse says no more than that
    trial_every: Count = 10  # generations
    trial_families: Families = names("validation")
    trial_scenarios: Count = 8  # of each family
    trial_seeds: Count = 2
    threads: Count = 1


class Heads(NamedTuple):
    """How a vector of weights [D] stands for the layers of both heads."""

    shapes: tuple[tuple[tuple[int, ...], ...], ...]  # of matrix, bias, matrix, … for each head

    @classmethod
    def of(cls, hidden: Sequence[int]) -> Heads:
        """With these hidden layers."""
        shapes: list[tuple[tuple[int, ...], ...]] = []
        for features in FEATURES:
            sizes = (features, *hidden, KNOBS)
            shapes.append(tuple(s for a, b in pairwise(sizes) for s in ((a, b), (b,))))
        return cls(tuple(shapes))

    @property
    def size(self) -> int:
        """D."""
        return sum(int(np.prod(shape)) for head in self.shapes for shape in head)

    def arrays(self, weights: Floats) -> list[list[Rows]]:
        """Weights […, D] as arrays […, *shape], head by head."""
        found: list[list[Rows]] = []
        k = 0
        for head in self.shapes:
            found.append([])
            for shape in head:
                n = int(np.prod(shape))
                found[-1].append(weights[..., k : k + n].reshape(*weights.shape[:-1], *shape).astype(np.float32))
                k += n
        return found

    def network(self, weights: Floats) -> Network:
        """The network with weights [D]."""
        sources, links = (_layers(head) for head in self.arrays(weights))
        return Network(sources, links)

    def first(self, random: np.random.Generator) -> Floats:
        """Weights [D] that correct nothing: zero, but for hidden matrices, which have to be told apart."""
        weights: list[Floats] = []
        for head in self.shapes:
            for i, shape in enumerate(head):
                hidden_matrix = len(shape) == 2 and i + 2 < len(head)
                deviation = shape[0] ** -0.5 if hidden_matrix else 0.0
                weights.append(deviation * random.standard_normal(int(np.prod(shape))))
        return np.concatenate(weights)


def _layers(arrays: list[Rows]) -> Layers:
    return list(zip(arrays[::2], arrays[1::2], strict=True))


class Training:
    """A run's state: weights, Adam's moments, random numbers. `step` is one generation.

    Attributes:
        generation: how many are done. weights: θ [D].
    """

    def __init__(self, config: EvolutionConfig) -> None:
        self.config, self.heads = config, Heads.of(config.hidden)
        self._random = np.random.default_rng(np.random.SeedSequence([config.seed]))
        self.weights: Floats = self.heads.first(self._random)
        self._mean: Floats = np.zeros(self.heads.size)
        self._square: Floats = np.zeros(self.heads.size)
        self.generation = 0
        self._players: Players | None = None

    def step(self) -> float:
        """One generation; gives the mean over networks of |difference|, before the limit."""
        config = self.config
        if self._players is None or self.generation % config.redraw == 0:
            first = (config.seed * 1000 + self.generation // config.redraw) * config.scenarios
            self._players = Players(config.families, first, config.scenarios, config.copies, config.threads)
        players = self._players
        directions = self._random.standard_normal((players.n, self.heads.size))
        seed = int(self._random.integers(2**40))
        up, down = (
            players.play(PerNetwork(self.heads, self.weights + sign * config.deviation * directions, players), seed)
            for sign in (1.0, -1.0)
        )
        difference = np.clip(up - down, -config.limit, config.limit)
        gradient = difference @ directions / (2.0 * config.deviation * players.n)
        self.generation += 1
        self._mean += (1.0 - MOMENTS[0]) * (gradient - self._mean)
        self._square += (1.0 - MOMENTS[1]) * (gradient**2 - self._square)
        mean, square = (
            x / (1.0 - beta**self.generation) for x, beta in zip((self._mean, self._square), MOMENTS, strict=True)
        )
        pace = config.learning_rate * max(0.1, 1.0 - self.generation / config.generations)
        self.weights = self.weights + pace * mean / (np.sqrt(square) + 1e-8)
        return float(np.abs(up - down).mean())

    def save(self, path: Path) -> None:
        """Write a checkpoint, at once or not at all."""
        buffer = io.BytesIO()
        random = json.dumps(self._random.bit_generator.state)
        np.savez(
            buffer,
            weights=self.weights,
            mean=self._mean,
            square=self._square,
            generation=np.array(self.generation),
            random=np.array(random),
        )
        partial = path.with_suffix(".part")
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint: the same bits as without interruption."""
        with np.load(path, allow_pickle=False) as file:
            self.weights, self._mean, self._square = file["weights"], file["mean"], file["square"]
            self.generation = int(file["generation"])
            self._random.bit_generator.state = json.loads(str(file["random"]))
        self._players = None  # drawn again: the same ones


Head = Callable[[Rows, Rows], tuple[Rows, Rows]]


class Players:
    """A crowd and its controllers."""

    def __init__(self, drawn_from: Sequence[str], first: int, scenarios: int, copies: int, threads: int) -> None:
        drawn = [sample(each, first + i) for each in drawn_from for i in range(scenarios)]
        self._crowd = Crowd([scenario for scenario in drawn for _ in range(copies)], threads)
        self.scenarios = self._crowd.scenarios
        self.n = len(self.scenarios)
        self.of_session, self.of_link = self._crowd.of_session, self._crowd.of_link
        self._teams = Teams(self.scenarios)
        self._intervals = max(scenario.episode_length for scenario in self.scenarios)

    def play(self, network: Head, seed: int) -> Floats:
        """[n] log gm over the second half of an episode, with the corrections of `network`."""
        crowd, teams = self._crowd, self._teams
        crowd.reset(seed)
        teams.forget()
        sums = np.zeros_like(crowd.sums)
        for interval in range(self._intervals):
            rows = teams.look(crowd.telemetry(), crowd.shared_rows())
            crowd.step(*teams.correct(*network(*rows)))
            if 2 * interval >= self._intervals:
                sums += crowd.sums
        return crowd.log_means(sums)


class PerNetwork:
    """Networks' own weights [n, D], each for its own controllers."""

    def __init__(self, heads: Heads, weights: Floats, players: Players) -> None:
        sources, links = heads.arrays(weights)
        self._heads = (sources, players.of_session), (links, players.of_link)

    def __call__(self, sources: Rows, links: Rows) -> tuple[Rows, Rows]:
        """As `Network`."""
        first, second = (self._answer(*head, x) for head, x in zip(self._heads, (sources, links), strict=True))
        return first, second

    @staticmethod
    def _answer(arrays: list[Rows], of: NDArray[np.int64], x: Rows) -> Rows:
        for i, (matrix, bias) in enumerate(_layers(arrays)):
            x = np.einsum("nf,nfk->nk", np.tanh(x) if i else x, matrix[of]) + bias[of]
        return np.clip(x, -1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Trial:
    """Weights on networks that training does not see, beside QPrimalDual-DA on the same draws.

    Of the static and the dynamic families: log of gm over QPrimalDual-DA's, interquartile mean over tasks and seeds,
    and the share of pairs that it wins.
    """

    generation: int
    static: float
    dynamic: float
    static_wins: float
    dynamic_wins: float

    def line(self) -> str:
        """For the terminal."""
        return (
            f"generation {self.generation:>4}: over qprimaldual-da static {100 * self.static:+.2f} %, "
            f"dynamic {100 * self.dynamic:+.2f} %; wins {self.static_wins:.2f}, {self.dynamic_wins:.2f}"
        )


class Referee:
    """Holds the trial's networks, and what QPrimalDual-DA comes to there."""

    def __init__(self, config: EvolutionConfig) -> None:
        self._players = Players(config.trial_families, 0, config.trial_scenarios, 1, config.threads)
        self._seeds = [TRIAL_SEED + 1000 * i for i in range(config.trial_seeds)]
        played = [scenario.name.rsplit("/", 1)[0] for scenario in self._players.scenarios]
        self._dynamic = np.array([family(each).dynamic for each in played])
        heads = Heads.of(())
        self._base = self._play(heads.network(np.zeros(heads.size)))

    def _play(self, network: Network) -> Floats:
        return np.array([self._players.play(network, seed) for seed in self._seeds])

    def trial(self, training: Training) -> Trial:
        """What the present weights come to."""
        gain = self._play(training.heads.network(training.weights)) - self._base  # [seeds, tasks]
        found: list[float] = []
        for which in (~self._dynamic, self._dynamic):
            x = np.sort(gain[:, which].ravel())
            cut = len(x) // 4
            found += [float(x[cut : len(x) - cut].mean()), float((x > 0.0).mean())] if len(x) else [np.nan, np.nan]
        return Trial(training.generation, found[0], found[2], found[1], found[3])


def train(config: EvolutionConfig, path: Path, report: Callable[[str], None], stop: Callable[[], bool]) -> bool:
    """Train to the end, which leaves the policy in `path`/model.npz; from the checkpoint on where there is one.

    Returns:
        Whether it came to the end; otherwise `stop` said so, and the checkpoint is written.
    """
    training, checkpoint, trials = Training(config), path / "checkpoint.npz", path / "trials.csv"
    if checkpoint.exists():
        training.restore(checkpoint)
    referee = Referee(config)
    while True:
        over = training.generation >= config.generations
        if over or training.generation % config.trial_every == 0:
            trial = referee.trial(training)
            report(trial.line())
            _append(trials, trial)
            save(training.heads.network(training.weights), path / "model.npz", config=config.model_dump(mode="json"))
            training.save(checkpoint)
        if over:
            return True
        if stop():
            training.save(checkpoint)
            return False
        training.step()


def _append(path: Path, trial: Trial) -> None:
    row: dict[str, Any] = {name: getattr(trial, name) for name in Trial.__slots__}
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
