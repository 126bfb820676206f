"""The shared local policy: one small network for all sources and links, on top of QPrimalDual-DA. [ours]

Every controller runs QPrimalDual-DA (`qprimaldual.py`) and corrects each of its steps: a source those of log R and of
its signal log σ, a link those of log(1 − w) and of its price log λ. What a correction is made of is the controller's
own row of the environment's observation, the step that QPrimalDual-DA proposes and the one before, what it measures of
delay and queue, and its last correction; all of it relative to the controller's own scale. So the policy is local, and
runs on any network without retraining. It starts, untrained, as QPrimalDual-DA itself: a warm start by construction.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.learned import files
from qnum_gym.agents.learned import perceptron as compiled
from qnum_gym.agents.networks import Networks
from qnum_gym.agents.policy import Policy, Seen
from qnum_gym.agents.update_rules import Gains, Links, Sources
from qnum_gym.envs.observation import LINK_FEATURES as OBSERVED
from qnum_gym.envs.observation import SESSION_FEATURES, ObservationEncoder
from qnum_gym.simulator import Controls

perceptron: Any = compiled  # numba has no types

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Bools = NDArray[np.bool_]

SOURCE_REACH = np.array([[0.5], [0.1]])  # largest corrections of log R and log σ in one interval
LINK_REACH = np.array([[0.15], [0.3]])  # of log(1 − w) and log λ
KNOBS = 2  # corrections per controller: of its control, of its signal
PATIENCE = 3.0  # intervals
TINY = 1e-9  # pairs/s: a link that is down
MEMORY = (
    *("step.control", "step.signal", "step_before.control", "step_before.signal"),  # as QPrimalDual-DA proposes
    *("correction.control", "correction.signal"),  # the last ones
)
SOURCE_FEATURES = (
    *SESSION_FEATURES,
    *MEMORY,
    "delay",  # log of the round trip in control intervals
    "backlog",  # log of unanswered q-datagrams over what rate and round trip account for
)
LINK_FEATURES = (
    *OBSERVED,
    *MEMORY,
    "backlog",  # log of the queue over what the load accounts for
    "surprise",  # log of arrivals over those that headers announced
    "trend",  # of the queue
)

Layers = Sequence[tuple[Rows, Rows]]
Corrector: TypeAlias = Callable[[Rows, Rows], tuple[Rows, Rows]]  # of the sources' features, and the links'

# Of a row that both roles share: 1 for who has a role, then its features; zeros for the other.
SOURCES, LINKS = slice(1, 1 + len(SOURCE_FEATURES)), slice(2 + len(SOURCE_FEATURES), None)
FEATURES = 2 + len(SOURCE_FEATURES) + len(LINK_FEATURES)


def in_one(sources: Rows, links: Rows) -> Rows:
    """Features of sources and of links as rows [R + L, FEATURES] that both roles share."""
    rows = np.zeros((len(sources) + len(links), FEATURES), np.float32)
    rows[: len(sources), 0], rows[: len(sources), SOURCES] = 1.0, sources
    rows[len(sources) :, LINKS.start - 1], rows[len(sources) :, LINKS] = 1.0, links
    return rows


class Network:
    """Two heads, one for all sources and one for all links: perceptrons with tanh between their layers.

    The same bits for one network and for many, whatever the BLAS: see `perceptron.layer`.

    Args:
        sources, links: matrices [in, out] and biases [out], float32, of each head.
    """

    def __init__(self, sources: Layers, links: Layers) -> None:
        self.heads = tuple(sources), tuple(links)
        self._stacks = tuple([(matrix[None], bias[None]) for matrix, bias in head] for head in self.heads)

    def __call__(self, sources: Rows, links: Rows) -> tuple[Rows, Rows]:
        """Corrections [R, KNOBS] and [L, KNOBS] within [−1, 1] of rows [R, SOURCE_FEATURES] and [L, LINK_FEATURES]."""
        first, second = self._stacks
        return answer(first, sources), answer(second, links)


def answer(layers: Layers, rows: Rows, of: NDArray[np.int64] | None = None) -> Rows:
    """Corrections [n, KNOBS] within [−1, 1] of rows [n, features].

    Args:
        layers: matrices [m, in, out] and biases [m, out], float32, of m networks.
        rows: [n, features] float32.
        of: [n] which network's turn it is in each row; the first one's if not given.
    """
    of = np.zeros(len(rows), np.int64) if of is None else of
    x = rows
    for i, (matrices, biases) in enumerate(layers):
        x = perceptron.layer(*map(np.ascontiguousarray, (x, of, matrices, biases)), i > 0)
    return np.clip(x, -1.0, 1.0)


class SharedControllers:
    """All controllers of n networks, side by side: QPrimalDual-DA's, and what corrects them."""

    def __init__(self, networks: Networks) -> None:
        a, interval, gains = networks.arrays, networks.interval, Gains()
        self._networks = networks
        self.sources, self.links = Sources(a, interval, gains, aware=True), Links(a, interval, gains, aware=True)
        self._interval, self._hop_interval = interval, interval[a.hop_session]
        self._hop_link, self._n_links, self._rates = a.hop_link, len(a.capacity), a.link_rates
        self._lifetime = gains.forget * self._hop_interval
        self._bounds = np.array([[gains.rate_step], [gains.signal_step]]), gains.gain * (1.0 + gains.damping)
        self._memory = tuple(np.zeros((3 * KNOBS, n)) for n in (len(interval), self._n_links))  # in MEMORY's order
        self._silence, self._heard = np.zeros(len(interval)), np.zeros(len(interval), np.bool_)
        self._still = np.zeros(len(interval), np.bool_), np.zeros(self._n_links, np.bool_)
        self._queue = np.zeros(self._n_links)

    def forget(self, which: Bools | None = None) -> None:
        """Begin anew in all networks, or in those `which` [n]."""
        sessions, links = self._networks.rows(np.ones(len(self._networks), np.bool_) if which is None else which)
        self.sources.forget(sessions)
        self.links.forget(links)
        for memory, rows in zip(self._memory, (sessions, links), strict=True):
            memory[:, rows] = 0.0
        self._silence[sessions], self._heard[sessions] = 0.0, False
        self._queue[links] = 0.0

    def look(self, seen: Seen, shared: Rows) -> tuple[Rows, Rows]:
        """One update of QPrimalDual-DA, and what there is to know for correcting it.

        Args:
            seen: what was measured.
            shared: [R + L, SHARED_SIZE] of `ObservationEncoder.shared_rows`.

        Returns:
            Rows of the sources [R, SOURCE_FEATURES] and of the links [L, LINK_FEATURES], within [−1, 1].
        """
        before = self.sources.logs, self.links.logs
        self.sources.update(seen.sessions)
        self.links.update(seen.links, seen.headers, self._networks.decay_rate(seen.times))
        for memory, now, then, bound in zip(
            self._memory, (self.sources.logs, self.links.logs), before, self._bounds, strict=True
        ):
            memory[KNOBS : 2 * KNOBS] = memory[:KNOBS]
            memory[:KNOBS] = np.clip((now - then) / bound, -1.0, 1.0)  # a price that was not known begins anywhere
        self._still = self._out_of_touch(seen), (self.links.logs == before[1]).all(axis=0)
        n, split = len(self._interval), 1 + len(SESSION_FEATURES)
        return (
            np.hstack((shared[:n, 1:split], self._memory[0].T, self._of_sources(seen))).astype(np.float32),
            np.hstack((shared[n:, split:], self._memory[1].T, self._of_links(seen))).astype(np.float32),
        )

    def correct(self, sources: Rows, links: Rows) -> tuple[Floats, Floats, Floats, Floats]:
        """Rates [R], Werner parameters [L], signals σ [R] and prices [L] after corrections [R, KNOBS], [L, KNOBS].

        Who learns nothing corrects nothing, or would drift away for as long as a link is down: a source that has waited
        too long for an answer, and a link where QPrimalDual-DA moved neither w nor λ.
        """
        for memory, still, corrections in zip(self._memory, self._still, (sources, links), strict=True):
            memory[2 * KNOBS :] = np.where(still, 0.0, corrections.T)
        rates, signals = self.sources.correct(SOURCE_REACH * self._memory[0][2 * KNOBS :])
        werner, prices = self.links.correct(LINK_REACH * self._memory[1][2 * KNOBS :])
        return rates, werner, signals, prices

    def _out_of_touch(self, seen: Seen) -> Bools:
        """[R] sources without an answer for more than `PATIENCE` intervals and two round trips, as they knew them."""
        answered = seen.sessions.delivered + seen.sessions.dropped > 0
        self._silence = np.where(answered, 0.0, self._silence + 1.0)
        self._heard |= answered
        return self._silence > PATIENCE + 2.0 * np.where(self._heard, self.sources.delay, 0.0)

    def _of_sources(self, seen: Seen) -> Floats:
        s, delay = seen.sessions, self.sources.delay
        backlog = np.log((1.0 + s.unacked) / (1.0 + s.rate * delay * self._interval))
        return np.clip(np.column_stack((np.log(1.0 + delay) / 3.0, backlog / 3.0)), -1.0, 1.0)

    def _of_links(self, seen: Seen) -> Floats:
        l, h = seen.links, seen.headers
        rates = np.where(h.age <= self._lifetime, h.rate * h.thinning, 0.0)
        announced, expected, measured = (
            np.bincount(self._hop_link, values, self._n_links)
            for values in (rates, rates * self._hop_interval, h.arrivals)
        )
        load = np.minimum(announced / np.maximum(self._rates.rate(l.werner, l.capacity), TINY), 0.95)
        queue = np.log1p(l.mean_queue)
        trend, self._queue = queue - self._queue, queue
        backlog = queue - np.log1p(load / (1.0 - load))
        surprise = np.log((1.0 + measured) / (1.0 + expected))
        return np.clip(np.column_stack((backlog / 3.0, surprise / 2.0, trend)), -1.0, 1.0)


class LocalPolicy(Policy):
    """The shared local policy with trained weights.

    Args:
        network: what corrects QPrimalDual-DA: a `Network`, or anything that gives corrections as it does.
        name: as tables show it.
    """

    local = True

    def __init__(self, network: Corrector, *, name: str = "local") -> None:
        self.name, self.network = name, network

    def prepare(self) -> None:
        """Set up the controllers, and what they observe."""
        self._encoder = ObservationEncoder(self.networks.scenarios)
        self._controllers = SharedControllers(self.networks)

    def forget(self, which: Bools) -> None:
        """Nothing is drawn: `seeds` are unused."""
        self._encoder.forget(*self.networks.rows(which))
        self._controllers.forget(which)

    def act(self, seen: Seen) -> Controls:
        """One update of every source and every link, each from its own rows."""
        rows = self._controllers.look(seen, self._encoder.shared_rows(self._encoder.encode(seen)))
        return Controls(*self._controllers.correct(*self.network(*rows)))


POLICY = "local"
HEADS, KINDS = ("sources", "links"), ("matrix", "bias")
ABOUT: dict[str, Any] = {
    "policy": POLICY,
    "format": 2,  # another one whenever what a feature or a correction means changes
    "features": [list(SOURCE_FEATURES), list(LINK_FEATURES)],
}


def save(network: Network, path: str | os.PathLike[str], **about: Any) -> None:
    """Write a network's weights as plain arrays (`*.npz`), with what else there is to say `about` it (JSON)."""
    arrays: dict[str, Any] = {
        f"{head}.{i}.{kind}": x
        for head, layers in zip(HEADS, network.heads, strict=True)
        for i, layer in enumerate(layers)
        for kind, x in zip(KINDS, layer, strict=True)
    }
    files.write(path, ABOUT | about, arrays)


def load(path: str | os.PathLike[str]) -> LocalPolicy:
    """The policy of a file of `save`. Safe to open: it holds numbers and one text.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of `save`, or of another format.
    """
    about, arrays = files.read(path)
    for name, value in ABOUT.items():
        if about.get(name) != value:
            raise ValueError(f"model = {os.fspath(path)!r}: {name} = {about.get(name)!r}; valid: {value!r}")
    heads = [_layers(arrays, head, len(features)) for head, features in zip(HEADS, ABOUT["features"], strict=True)]
    if None in heads:
        raise ValueError(f"model = {os.fspath(path)!r}: arrays missing or of other shapes; valid: a file of `save`")
    return LocalPolicy(Network(*cast("list[Layers]", heads)), name=Path(path).stem)


def _layers(arrays: dict[str, np.ndarray], head: str, features: int) -> Layers | None:
    """The layers of a head from its features to its corrections; None if they are not all there, or do not fit."""
    depth = max(1, sum(name.startswith(f"{head}.") for name in arrays) // len(KINDS))
    names = [f"{head}.{i}.{kind}" for i in range(depth) for kind in KINDS]
    if any(name not in arrays for name in names):
        return None
    layers = [(arrays[matrix], arrays[bias]) for matrix, bias in zip(names[::2], names[1::2], strict=True)]
    widths = [features, *(bias.size for _, bias in layers)]
    fit = all((m.shape, b.shape) == ((i, o), (o,)) for (m, b), (i, o) in zip(layers, pairwise(widths), strict=True))
    return layers if fit and widths[-1] == KNOBS else None
