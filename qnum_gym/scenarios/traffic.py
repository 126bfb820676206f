"""Sessions that come and go at random, and requests for a number of pairs, as sessions of a scenario [ours]."""

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
    _check("poisson_sessions", rate=rate, mean_duration=mean_duration, seconds=seconds, pairs=len(pairs))
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


def poisson_requests(
    between: Iterable[tuple[NodeId, NodeId]],
    rate: float,
    pairs: int,
    patience: float,
    seconds: float,
    seed: int,
    **fields: Any,
) -> tuple[Session, ...]:
    """Requests for a number of pairs by a deadline, which come as a Poisson process: a session for each.

    Args:
        between: source and destination; each request is for one of them, all equally likely.
        rate: of requests, 1/s, all together.
        pairs: that each request wants.
        patience: from its begin to its deadline, s.
        seconds: until when requests come.
        seed: of the draws.
        **fields: others of `Session`, the same for all.

    Raises:
        ValueError: nothing in `between`, a number that is not positive and finite, or draws without a single request.
    """
    ends = list(between)
    _check("poisson_requests", rate=rate, pairs=pairs, patience=patience, seconds=seconds, between=len(ends))
    rng = np.random.default_rng(seed)
    begin = np.sort(rng.uniform(0.0, seconds, rng.poisson(rate * seconds))).tolist()
    if not begin:
        raise ValueError(f"poisson_requests: no request came within {seconds:g} s; valid: another seed or rate")
    indices: list[int] = rng.integers(len(ends), size=len(begin)).tolist()
    return tuple(
        Session(source=source, destination=destination, start=t, stop=t + patience, pairs=pairs, **fields)
        for t, (source, destination) in zip(begin, [ends[i] for i in indices], strict=True)
    )


def _check(what: str, **values: float) -> None:
    for name, value in values.items():
        if not 0.0 < value < np.inf:
            raise ValueError(f"{what}: {name} = {value}; valid: positive and finite")
