"""Sessions that come and go at random, as periods of a scenario: the simulator needs to know of nothing new [ours]."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from qnum_gym.scenarios.fields import NodeId, Session


def poisson_sessions(
    pairs: Iterable[tuple[NodeId, NodeId]],
    rate: float,
    mean_duration: float,
    seconds: float,
    seed: int,
    **fields: Any,
) -> tuple[Session, ...]:
    """One session for each pair of nodes, on as long as anybody asks for it.

    Requests come as a Poisson process, each for one of the pairs, all equally likely, and each lasts for an exponential
    time. Requests for the same pair share its session, so that it is on where at least one is under way: with n pairs,
    a share 1 - exp(-rate mean_duration/n) of the time, but for the beginning, when nobody is there.

    Args:
        pairs: source and destination of each.
        rate: of requests, 1/s, all pairs together.
        mean_duration: of a request, s.
        seconds: until when requests come and are served. A pair that nobody asks for begins then.
        seed: of the draws.
        **fields: others of `Session`, the same for all.

    Raises:
        ValueError: no pair, or a rate or time that is not positive and finite.
    """
    pairs = list(pairs)
    for name, value in {"rate": rate, "mean_duration": mean_duration, "seconds": seconds, "pairs": len(pairs)}.items():
        if not 0.0 < value < np.inf:
            raise ValueError(f"poisson_sessions: {name} = {value}; valid: positive and finite")
    rng = np.random.default_rng(seed)
    requests = rng.poisson(rate * seconds)
    begin = np.sort(rng.uniform(0.0, seconds, requests))
    end = np.minimum(begin + rng.exponential(mean_duration, requests), seconds)
    asked = rng.integers(len(pairs), size=requests)
    sessions: list[Session] = []
    for i, (source, destination) in enumerate(pairs):
        periods: list[tuple[float, float]] = []
        for start, stop in zip(begin[asked == i].tolist(), end[asked == i].tolist(), strict=True):
            if periods and start <= periods[-1][1]:
                periods[-1] = periods[-1][0], max(periods[-1][1], stop)
            elif start < stop:
                periods.append((start, stop))
        when: dict[str, Any] = {"periods": periods} if periods else {"start": seconds}
        sessions.append(Session(source=source, destination=destination, **when, **fields))
    return tuple(sessions)
