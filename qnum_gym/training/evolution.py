"""The shared local policy, trained by an evolution strategy over random networks. [ours]

One generation lives through one episode on every network of a batch, twice: with the weights θ + σ ε and θ − σ ε, on
the same random draws, ε drawn anew for each network. The difference of what the two come to, log of the geometric mean
of R f(W) over the episode's second half, tells how θ should change (Salimans et al., arXiv:1703.03864, antithetic
samples; the step is Adam's). A network is one sample: a hundred of them are a hundred directions tried at once. No
value function, no discount, and the objective is the one that is judged.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np

from qnum_gym import files
from qnum_gym.agents.learned.local import KNOBS, Layers, Network, Rows, answer
from qnum_gym.config import ConfigError
from qnum_gym.training.algorithms import Count, Positive
from qnum_gym.training.checkpoint import HOW_TO_GO_ON
from qnum_gym.training.local import FEATURES, Floats, LocalConfig, Rollouts

MOMENTS = 0.9, 0.99  # Adam's


class EvolutionConfig(LocalConfig):
    """One training run by evolution. A round is a generation; each copy has streams and a direction of its own."""

    algorithm: Literal["evolution"]
    generations: Count = 40
    deviation: Positive = 0.05  # σ
    learning_rate: Positive = 0.012  # falls linearly to a tenth
    limit: Positive = 0.3  # of one network's difference of log gm: a collapse says no more than that

    @property
    def rounds(self) -> int:
        """One for each generation."""
        return self.generations

    def learner(self) -> Evolution:
        """With weights that correct nothing."""
        return Evolution(self)


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


class Evolution:
    """A run's state: weights, Adam's moments, random numbers. `step` is one generation.

    Attributes:
        done: generations. weights: θ [D].
    """

    CHECKPOINT: ClassVar[str] = "checkpoint.npz"

    def __init__(self, config: EvolutionConfig) -> None:
        self.config, self.heads = config, Heads.of(config.hidden)
        self._random = np.random.default_rng(np.random.SeedSequence([config.seed]))
        self.weights: Floats = self.heads.first(self._random)
        self._mean: Floats = np.zeros(self.heads.size)
        self._square: Floats = np.zeros(self.heads.size)
        self.done = 0
        self._rollouts: Rollouts | None = None

    def step(self) -> None:
        """One generation."""
        config = self.config
        if self._rollouts is None or self.done % config.redraw == 0:
            self._rollouts = Rollouts(config.draw(self.done), config.threads)
        rollouts = self._rollouts
        directions = self._random.standard_normal((rollouts.n, self.heads.size))
        seed = int(self._random.integers(2**40))
        up, down = (
            rollouts.play(PerNetwork(self.heads, self.weights + sign * config.deviation * directions, rollouts), seed)
            for sign in (1.0, -1.0)
        )
        difference = np.clip(up - down, -config.limit, config.limit)
        gradient = difference @ directions / (2.0 * config.deviation * rollouts.n)
        self.done += 1
        self._mean += (1.0 - MOMENTS[0]) * (gradient - self._mean)
        self._square += (1.0 - MOMENTS[1]) * (gradient**2 - self._square)
        mean, square = (
            x / (1.0 - beta**self.done) for x, beta in zip((self._mean, self._square), MOMENTS, strict=True)
        )
        pace = config.learning_rate * max(0.1, 1.0 - self.done / config.generations)
        self.weights = self.weights + pace * mean / (np.sqrt(square) + 1e-8)

    def network(self) -> Network:
        """With the present weights."""
        return self.heads.network(self.weights)

    def save(self, path: Path) -> None:
        """Write a checkpoint, at once or not at all."""
        buffer = io.BytesIO()
        random = json.dumps(self._random.bit_generator.state)
        np.savez(
            buffer,
            weights=self.weights,
            mean=self._mean,
            square=self._square,
            done=np.array(self.done),
            random=np.array(random),
            config=np.array(json.dumps(self.config.lasting())),
        )
        files.write(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint: the same bits as without interruption."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                config = json.loads(str(file["config"]))
                vectors = [file[name].astype(np.float64) for name in ("weights", "mean", "square")]
                done, random = int(file["done"]), json.loads(str(file["random"]))
        except (BadZipFile, ValueError, KeyError, TypeError, EOFError, AttributeError) as error:
            raise ConfigError(f"{path}: not a whole checkpoint ({error}); valid: {HOW_TO_GO_ON}") from None
        self.config.check_resumed(config, str(path.parent / "config.yaml"))
        if any(x.shape != (self.heads.size,) or not np.isfinite(x).all() for x in vectors):
            raise ConfigError(f"{path}: not {self.heads.size} finite weights; valid: {HOW_TO_GO_ON}")
        self.weights, self._mean, self._square = vectors
        self.done, self._random.bit_generator.state = done, random
        self._rollouts = None  # drawn again: the same ones


class PerNetwork:
    """Networks' own weights [n, D], each for its own controllers."""

    def __init__(self, heads: Heads, weights: Floats, rollouts: Rollouts) -> None:
        sources, links = heads.arrays(weights)
        self._heads = (sources, rollouts.of_session), (links, rollouts.of_link)

    def __call__(self, sources: Rows, links: Rows) -> tuple[Rows, Rows]:
        """As `Network`."""
        first, second = (
            answer(_layers(head), x, of) for (head, of), x in zip(self._heads, (sources, links), strict=True)
        )
        return first, second
