"""Actions in [-1, 1] and the controls they stand for.

Every control has one coordinate in which it is natural to steer: a rate log R, a Werner parameter −log(1 − w), because
link capacity goes with 1 − w (model.md §2). Both ranges are then finite intervals, and a step means the same relative
change of rate or capacity anywhere. [ours]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from qnum_gym.envs import decoding as compiled
from qnum_gym.envs.action_kinds import ACTIONS, ActionKind, valid
from qnum_gym.physics.links import coordinate
from qnum_gym.scenarios import Arrays, Scenario
from qnum_gym.scenarios.sizes import Sizes
from qnum_gym.simulator import Controls
from qnum_gym.simulator.simulator import real

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Largest changes in one interval. On Dumbbell, PPO from a cold start came to 0.97 of the oracle's gm in 0.3 million
# intervals with these and with half of them, to 0.95 with twice them.
RATE_STEP = 0.2  # of log R
WERNER_STEP = 0.1  # of log(1 - w)
AT_END = 1e-6  # relative: a control as near as this to the end of its range is there

decoding: Any = compiled  # numba has no types


class Coordinates:
    """Rates and Werner parameters of a scenario as one vector x[R + L] = (log R, −log(1 − w)), within [low, high].

    Of a list of n scenarios: everything with a first axis of n, and R and L those of the largest, or of `sizes`; what a
    smaller network has not is 0.
    """

    def __init__(self, scenario: Scenario | Sequence[Scenario] | Arrays, sizes: Sizes | None = None) -> None:
        alone = isinstance(scenario, (Scenario, Arrays))
        networks = [s if isinstance(s, Arrays) else s.arrays(0.0) for s in ([scenario] if alone else scenario)]
        self.sessions = sizes.sessions if sizes else max(len(a.weight) for a in networks)
        self.links = sizes.links if sizes else max(len(a.capacity) for a in networks)
        self.table = np.zeros((4, len(networks), self.sessions + self.links))  # low, high, and both as `ends`
        self._which = 0 if alone else slice(None)
        for i, a in enumerate(networks):
            self._put(i, a)

    def _put(self, i: int, a: Arrays) -> None:
        rates, werner = slice(len(a.weight)), slice(self.sessions, self.sessions + len(a.capacity))
        low, high, *ends = rows = self.table[:, i]
        rows[:] = 0.0
        ends[0][rates], ends[0][werner] = a.rate_min, a.werner_min
        ends[1][rates], ends[1][werner] = a.rate_max, a.werner_max
        for x, end in ((low, ends[0]), (high, ends[1])):
            x[rates], x[werner] = np.log(end[rates]), coordinate(end[werner])

    @property
    def low(self) -> Floats:
        """[R + L] the least."""
        return self.table[0, self._which]

    @property
    def high(self) -> Floats:
        """[R + L] the greatest."""
        return self.table[1, self._which]

    @property
    def ends(self) -> tuple[Floats, Floats]:
        """[R + L] of both, rates (1/s) and Werner parameters."""
        return self.table[2, self._which], self.table[3, self._which]

    def replace(self, i: int, scenario: Scenario) -> None:
        """Another scenario comes in place i."""
        self._put(i, scenario.arrays(0.0))

    def of(self, rates: Floats, werner: Floats) -> Floats:
        """x[R + L] of rates[R] (1/s) and werner[L]."""
        x = np.log(rates, out=np.zeros(rates.shape), where=rates > 0.0)
        return np.concatenate((x, coordinate(werner)), axis=-1, dtype=np.float64)

    def position(self, x: Floats) -> Floats:
        """x[R + L] as a place within its range: −1 the lowest rate or Werner parameter, 1 the highest."""
        span = self.high - self.low
        return np.divide(x - self.low, span, out=np.full(x.shape, 0.5), where=span > 0.0) * 2.0 - 1.0


class ActionMap:
    """Decodes actions: the rates first, then the Werner parameters, then, with `signals`, sources' and links' signals.

    An action stands for these entries in [−1, 1], one after the other, as its kind says (`action_kinds`).

    Of networks of different sizes R and L are those of the largest, or of `sizes`; what an action says where a network
    has nothing is ignored.

    Args: scenario: whose ranges the controls respect, or its arrays; a list of n makes everything [n, …]. kind: one of
        `ACTIONS`. "level" maps [−1, 1] onto the whole range; the others move each control from where it is by at most
        `rate_step` in log R or `werner_step` in log(1 − w). In all, more is a higher rate or a higher (better) Werner
        parameter. signals: whether the action also sets one header signal per source and per link, as it is, in
        [−1, 1]. rate_step, werner_step: positive; "level" does not use them. sizes: room for larger networks, which
        may come by `replace`.

    Raises:
        ValueError: unknown kind, or a step that is not positive.
    """

    def __init__(
        self,
        scenario: Scenario | Sequence[Scenario] | Arrays,
        kind: str = "step",
        *,
        signals: bool = False,
        rate_step: float = RATE_STEP,
        werner_step: float = WERNER_STEP,
        sizes: Sizes | None = None,
    ) -> None:
        self.kind = ACTIONS.find(kind)
        for name, value in (("rate_step", rate_step), ("werner_step", werner_step)):
            if not 0.0 < value < np.inf:
                raise ValueError(f"{name} = {value!r}; valid: a positive number")
        self._options = {"action": kind, "signals": signals, "rate_step": rate_step, "werner_step": werner_step}
        self.signals = signals
        self.coordinates = Coordinates(scenario, sizes)
        n_sessions, n_links = self.coordinates.sessions, self.coordinates.links
        self._knobs = n_sessions + n_links
        self._step = np.repeat([rate_step, werner_step], [n_sessions, n_links])
        self.size = self._knobs * (2 if signals else 1)
        self._space: Any = self.kind.space(self.size)
        self._shape = (*self.coordinates.low.shape[:-1], *self._space.shape)

    def space(self) -> spaces.Space[Any]:
        """That of the kind; its attribute `env_options` says what an action means, also in saved models."""
        space: Any = self.kind.space(self.size)
        space.env_options = dict(self._options)
        return space

    def agent_space(self) -> Any:
        """Likewise of one agent among many."""
        space: Any = self.kind.agent_space(self.of_agent)
        space.env_options = dict(self._options)
        return space

    @property
    def of_agent(self) -> int:
        """How many entries an agent has: its control, and with `signals` its signal."""
        return self.size // self._knobs

    def replace(self, i: int, scenario: Scenario) -> None:
        """Another scenario, for which there is room, comes in place i."""
        self.coordinates.replace(i, scenario)

    def mask(self, sessions: Bools, links: Bools) -> NDArray[np.int8]:
        """[…, size] which entries of an action matter, where `sessions` […, R] and `links` […, L] do."""
        low, high = (x[..., self.coordinates.sessions :] for x in (self.coordinates.low, self.coordinates.high))
        signals = (sessions, links) * self.signals
        return np.concatenate((sessions, links & (low < high), *signals), axis=-1).astype(np.int8)

    def masks(self, sessions: Bools, links: Bools, last: Controls) -> Bools:
        """[…, choices] which choices of a central agent may change something, `last` being in force.

        Not those that move what is not in `sessions` […, R] and `links` […, L], nor a control beyond its range.

        Raises:
            ValueError: a kind of action without choices.
        """
        return self._kind_of_choices().mask(*self._open(sessions, links, last))

    def masks_of_agents(self, sessions: Bools, links: Bools, last: Controls) -> Bools:
        """[…, R + L, choices] likewise of each controller as an agent.

        Raises:
            ValueError: a kind of action without choices.
        """
        kind = self._kind_of_choices()
        down, up = (self.apart(entries) for entries in self._open(sessions, links, last))
        return kind.mask_of_agents(down, up)

    def _kind_of_choices(self) -> ActionKind:
        if not self.kind.choices:
            names = ", ".join(name for name in ACTIONS if ACTIONS[name].choices)
            raise ValueError(f"action = {self._options['action']!r}: has no masks of choices; valid: {names}")
        return self.kind

    def _open(self, sessions: Bools, links: Bools, last: Controls) -> tuple[Bools, Bools]:
        """[…, size] which entries may be below 0, and which above."""
        n, (lowest, highest) = self.coordinates.sessions, self.coordinates.ends
        rates, loss = last.rates, 1.0 - last.werner
        down = rates > lowest[..., :n] * (1.0 + AT_END), loss < (1.0 - lowest[..., n:]) * (1.0 - AT_END)
        up = rates < highest[..., :n] * (1.0 - AT_END), loss > (1.0 - highest[..., n:]) * (1.0 + AT_END)
        there = np.concatenate((sessions, links), axis=-1)
        signals = [there] * self.signals
        lower, higher = (np.concatenate(parts, axis=-1) & there for parts in (down, up))
        return np.concatenate((lower, *signals), axis=-1), np.concatenate((higher, *signals), axis=-1)

    def apart(self, entries: NDArray[Any]) -> NDArray[Any]:
        """Entries […, size] as those of each agent, […, R + L, 1 or 2]."""
        return entries.reshape(*entries.shape[:-1], self.of_agent, self._knobs).swapaxes(-1, -2)

    def joint(self, entries: Floats) -> Floats:
        """The central action of all agents' entries […, R + L, 1 or 2]."""
        return self.kind.action(entries.swapaxes(-1, -2).reshape(*entries.shape[:-2], self.size))

    def decode(self, action: ArrayLike, last: Controls, ignored: Bools | None = None) -> Controls:
        """Controls that `action` asks for, `last` being in force.

        Args:
            action: one of the space, of each network.
            last: the controls in force.
            ignored: [n] networks whose action may be anything.

        Raises:
            ValueError: it is not one of real numbers (but masked, complex, of texts, dates or objects), has a wrong
                shape, or lies outside the space: NaN, or a value that is not valid.
        """
        given = real("action", action, self._shape)
        values = self.kind.entries(given, self.size)
        if ignored is not None and ignored.any():
            values = np.where(ignored[:, np.newaxis], 0.0, values)
        c, front = self.coordinates, values.shape[:-1]
        rates, werner = np.empty((*front, c.sessions)), np.empty((*front, c.links))
        present = _rows(last.rates), _rows(last.werner)
        wrong = decoding.decode(
            self.kind.level, _rows(values), present, c.table, self._step, _rows(rates), _rows(werner)
        )
        if wrong >= 0:
            where = [*divmod(wrong, self.size)][-values.ndim :][: given.ndim]
            name = f"action[{', '.join(map(str, where))}]" if where else "action"
            raise ValueError(f"{name} = {given[*where]:.10g}; valid: {valid(self._space)}")
        if not self.signals:
            return Controls(rates, werner)
        signals = np.clip(values[..., self._knobs :], -1.0, 1.0)
        return Controls(rates, werner, signals[..., : c.sessions].copy(), signals[..., c.sessions :].copy())

    def encode(self, controls: Controls, last: Controls) -> NDArray[Any]:
        """The action that leads to `controls`, or, where a step is too short, as near as it gets.

        Absent signals are 0. A decentralised policy acts through its signals, as QPrimalDual through its prices, which
        may be any numbers: its controls go through `step_controls`.

        Raises:
            ValueError: controls carry signals that an action cannot: outside [−1, 1], or any without `signals`.
        """
        of_sessions, of_links = controls.session_signals, controls.link_signals
        for name, values in (("session_signals", of_sessions), ("link_signals", of_links)):
            if values is None:
                continue
            if not self.signals:
                raise ValueError(f"controls have {name}, an action has none; valid: signals=True, or step_controls")
            if not (np.abs(values) <= 1.0).all():
                raise ValueError(f"{name} up to {np.abs(values).max():g}; valid: -1 to 1, or step_controls")
        x = self.coordinates.of(controls.rates, controls.werner)
        if self.kind.level:
            action = self.coordinates.position(x)
        else:
            action = (x - self.coordinates.of(last.rates, last.werner)) / self._step
        if self.signals:
            pairs = (of_sessions, controls.rates), (of_links, controls.werner)
            parts = [np.zeros_like(like) if signals is None else signals for signals, like in pairs]
            action = np.concatenate((action, *parts), axis=-1)
        return self.kind.action(np.clip(action, -1.0, 1.0)).astype(self._space.dtype)


def _rows(array: Floats) -> Floats:
    """An array with a first axis of environments, if it has none."""
    return np.ascontiguousarray(array, dtype=np.float64).reshape(-1, array.shape[-1])
