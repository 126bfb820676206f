"""Rewards by name, and what one has to be to stand beside them (model.md §5, [ours]).

Write your own, and give it to any of the three environments as `reward=`: an object, the class, a name that you
registered, or "file.py:Class" or "module:Class". docs/extending.md shows one; `OutcomeOf` says what it can look at.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np

from qnum_gym.envs.scores import Floats, Outcomes
from qnum_gym.optimum.fairness import certainty_equivalent
from qnum_gym.registry import Registry

LEAST_SHARE = 1e-4  # of the optimum, under the logarithm of `log` [ours]


class Reward(ABC):
    """What an interval is worth to the agents of n networks at once.

    A reward keeps nothing from one call to the next: environments and their copies share it.

    Attributes:
        pooled: whether it looks at the last 20 intervals pooled (fewer at the start), or at the last interval alone.
        local: whether in the parallel environment each agent gets the mean over its neighbourhood (see
            `scores.neighbourhoods`) in place of the reward of all.
    """

    pooled: bool = True
    local: bool = False

    @abstractmethod
    def __call__(self, seen: Outcomes) -> Floats:
        """[n] rewards; `seen` is what the intervals came to, arrays [n] and [n, R] to be read only.

        Of a network with fewer sessions than the largest the rows behind its own are 0, `counted` too.
        """

    def per_session(self, seen: Outcomes) -> Floats:
        """[n, R] each session's part, which `info["rewards/session"]` shows; the reward of all if not given."""
        return np.repeat(self(seen)[:, np.newaxis], seen.rate.shape[1], axis=1)


RewardSource: TypeAlias = str | Reward | type[Reward]
REWARDS: Registry[type[Reward]] = Registry("reward", "qnum_gym.rewards")
DEFAULT = "share"  # its sum over an episode ranks policies as the evaluation does: docs/reproduce.md, Rewards


@REWARDS.registers("share")
class Share(Reward):
    """The score gm / gm*, the share of the optimum; 0 where nobody counts."""

    def __call__(self, seen: Outcomes) -> Floats:
        """[n] the score."""
        return np.where(seen.optimum > 0.0, seen.score, 0.0)

    def per_session(self, seen: Outcomes) -> Floats:
        """Each session's own share of gm*; the reward is their mean weighted by `share`, of the kind that gm* is."""
        worth, optimum = np.empty_like(seen.utilities), seen.optimum[:, np.newaxis]
        for alpha in set(seen.fairness.tolist()):
            own = seen.fairness == alpha
            with np.errstate(divide="ignore"):  # 0 for a session that does not count
                worth[own] = certainty_equivalent(seen.utilities[own], alpha)
        return np.divide(worth, optimum, out=np.zeros_like(seen.rate), where=seen.counted > 0.0)


@REWARDS.registers("log")
class Log(Share):
    """The logarithm of the score, and at least log 1e-4; 0 where nobody counts."""

    def __call__(self, seen: Outcomes) -> Floats:
        """[n] its logarithm."""
        return _log(super().__call__(seen), seen.optimum > 0.0)

    def per_session(self, seen: Outcomes) -> Floats:
        """The logarithm of each session's own share of gm*."""
        return _log(super().per_session(seen), seen.counted > 0.0)


@REWARDS.registers("interval")
class Interval(Share):
    """`share` of the last interval alone."""

    pooled = False


@REWARDS.registers("relative")
class Relative(Reward):
    """(U − U₀)/(U₁ − U₀): 0 for `equal_share`, 1 for the optimum."""

    def __call__(self, seen: Outcomes) -> Floats:
        """[n] U between the two references."""
        return seen.relative

    def per_session(self, seen: Outcomes) -> Floats:
        """The sessions' parts, whose mean weighted by `share` is the reward."""
        return seen.session_relative


@REWARDS.registers("local")
class Local(Relative):
    """`relative`; in the parallel environment each agent gets that of its neighbourhood alone."""

    local = True


def _log(share: Floats, counts: Any) -> Floats:
    return np.where(counts, np.log(np.maximum(share, LEAST_SHARE)), 0.0)


def make_reward(reward: RewardSource) -> Reward:
    """A reward by name (another package's too, see `REWARDS.group`), by "file.py:Class", by its class, or as it is.

    Raises:
        ValueError: no such name, code that fails, or something that is no `Reward`.
    """
    return REWARDS.instance(reward, Reward)
