"""Kinds of action by name: which entries in [−1, 1] an action stands for. [ours]

An action has an entry for each control, −1 to 1 as `ActionMap` says, and with signals one for each header signal. A
kind says how an agent writes these entries down: as they are, or as choices among few of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from qnum_gym.registry import Registry

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOVES = 3  # of one entry: −1, 0 or 1


class ActionKind(ABC):
    """How actions are written down.

    Attributes:
        level: whether an entry from −1 to 1 is the whole range of its control; otherwise a step from where it is.
        choices: whether there are finitely many actions, so that a mask can say which of them change something.
    """

    level: bool = False
    choices: bool = False

    @abstractmethod
    def space(self, size: int) -> spaces.Space[Any]:
        """Of a central agent's actions, of `size` entries."""

    @abstractmethod
    def agent_space(self, size: int) -> spaces.Space[Any]:
        """Of the actions of one agent among many, which has `size` entries of its own."""

    @abstractmethod
    def entries(self, action: Floats, size: int) -> Floats:
        """Entries […, size] of central actions; NaN, or outside [−1, 1], where an action is none of the space."""

    @abstractmethod
    def entries_of_agents(self, actions: Floats, size: int) -> Floats:
        """Entries […, agents, size] of the agents' actions; likewise."""

    @abstractmethod
    def action(self, entries: Floats) -> Floats:
        """Central actions whose entries are as near as can be."""

    def mask(self, down: Bools, up: Bools) -> Bools:
        """[…, choices] of a central agent, where entries may fall and rise as `down` and `up` […, size] say."""
        raise NotImplementedError

    def mask_of_agents(self, down: Bools, up: Bools) -> Bools:
        """[…, agents, choices], likewise of entries […, agents, size]."""
        raise NotImplementedError


ACTIONS: Registry[ActionKind] = Registry("action")


class Continuous(ActionKind):
    """The entries as they are: Box[−1, 1] float32."""

    def __init__(self, *, level: bool) -> None:
        self.level = level

    def space(self, size: int) -> spaces.Space[Any]:
        """Box [size]."""
        return spaces.Box(-1.0, 1.0, (size,), np.float32)

    def agent_space(self, size: int) -> spaces.Space[Any]:
        """Box [size]."""
        return self.space(size)

    def entries(self, action: Floats, size: int) -> Floats:
        """The action itself."""
        return action

    def entries_of_agents(self, actions: Floats, size: int) -> Floats:
        """The actions themselves."""
        return actions

    def action(self, entries: Floats) -> Floats:
        """The entries themselves."""
        return entries


class Discrete(ActionKind):
    """Each entry −1, 0 or 1: lower, hold or raise. MultiDiscrete; of one agent Discrete, its first entry counts 1."""

    choices = True

    def space(self, size: int) -> spaces.Space[Any]:
        """MultiDiscrete [size] of 3 each."""
        return spaces.MultiDiscrete(np.full(size, MOVES))

    def agent_space(self, size: int) -> spaces.Space[Any]:
        """Discrete, 3 for one entry, 9 for two."""
        return spaces.Discrete(MOVES**size)

    def entries(self, action: Floats, size: int) -> Floats:
        """0, 1, 2 to −1, 0, 1."""
        return _among(action, MOVES) - 1.0

    def entries_of_agents(self, actions: Floats, size: int) -> Floats:
        """Digits of base 3, the first entry's first."""
        digits = _among(actions, MOVES**size)[..., np.newaxis] // MOVES ** np.arange(size) % MOVES
        return digits - 1.0

    def action(self, entries: Floats) -> Floats:
        """−1, 0, 1 to 0, 1, 2, rounded."""
        return np.rint(entries) + 1.0

    def mask(self, down: Bools, up: Bools) -> Bools:
        """[…, 3 size], an entry's three choices side by side."""
        return _moves(down, up).reshape(*down.shape[:-1], -1)

    def mask_of_agents(self, down: Bools, up: Bools) -> Bools:
        """[…, agents, 3 or 9]."""
        moves = _moves(down, up)
        mask = moves[..., 0, :]
        for k in range(1, down.shape[-1]):
            both = moves[..., k, :, np.newaxis] & mask[..., np.newaxis, :]
            mask = both.reshape(*mask.shape[:-1], -1)
        return mask


class Single(ActionKind):
    """One entry of all is −1 or 1, or none is, and the others are 0: a plain Discrete, of a central agent alone."""

    choices = True

    def space(self, size: int) -> spaces.Space[Any]:
        """Discrete: 0 holds all, 2 k + 1 is −1 in entry k and 2 k + 2 is 1."""
        return spaces.Discrete(1 + 2 * size)

    def agent_space(self, size: int) -> spaces.Space[Any]:
        """There is none: one control of all moves.

        Raises:
            ValueError: always.
        """
        raise ValueError("action = 'single': moves one control of all; valid for many agents: 'discrete'")

    def entries(self, action: Floats, size: int) -> Floats:
        """±1 in one entry."""
        chosen = _among(action, 1 + 2 * size)[..., np.newaxis]
        k = np.arange(size)
        entries = (chosen == 2 * k + 2).astype(np.float64) - (chosen == 2 * k + 1)
        return np.where(np.isnan(chosen), np.nan, entries)

    def entries_of_agents(self, actions: Floats, size: int) -> Floats:
        """Refused, as `agent_space`."""
        raise NotImplementedError

    def action(self, entries: Floats) -> Floats:
        """The entry furthest from 0, if it is nearer to ±1."""
        k = np.abs(entries).argmax(axis=-1)
        most = np.rint(np.take_along_axis(entries, k[..., np.newaxis], axis=-1)[..., 0])
        return np.where(most == 0.0, 0.0, 2.0 * k + 1.0 + (most > 0.0))

    def mask(self, down: Bools, up: Bools) -> Bools:
        """[…, 1 + 2 size]."""
        front = down.shape[:-1]
        moves = np.stack((down, up), axis=-1).reshape(*front, -1)
        return np.concatenate((np.ones((*front, 1), np.bool_), moves), axis=-1)


ACTIONS.register("step", Continuous(level=False))
ACTIONS.register("level", Continuous(level=True))
ACTIONS.register("discrete", Discrete())
ACTIONS.register("single", Single())


def _among(action: Floats, n: int) -> Floats:
    """The action where it is one of 0 … n − 1, else NaN."""
    return np.where((action >= 0.0) & (action < n) & (action == np.floor(action)), action, np.nan)


def _moves(down: Bools, up: Bools) -> Bools:
    """[…, 3] lower, hold, raise: holding is always open."""
    return np.stack((down, np.ones_like(down), up), axis=-1)


def valid(space: Any) -> str:
    """What an entry of an action may be, for messages."""
    if isinstance(space, spaces.Discrete):
        return f"0 to {cast(Any, space).n - 1}"
    return f"0 to {MOVES - 1}" if isinstance(space, spaces.MultiDiscrete) else "-1 to 1"
