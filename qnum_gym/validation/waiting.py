"""Laws of waiting for several links: one q-datagram at a time, in sequence and in parallel. [ours]"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, exp, inf, log
from typing import Any

from qnum_gym.scenarios import Scenario
from qnum_gym.validation.law import Finding, estimated, law
from qnum_gym.validation.running import LARGE, line, stretches

P, KEPT, W = 0.1, 0.99, 0.95  # of an attempt: success, what a pair keeps; of a fresh pair
CYCLE = 1e-3
SECONDS = 40_000.0


def _alone(links: int, **physics: Any) -> Scenario:
    """One q-datagram at a time over links with success P, whose pairs keep KEPT per attempt."""
    coherence = -2.0 * CYCLE / log(KEPT)
    fields: dict[str, Any] = {"window": 1, "coherence_time": coherence, **physics}
    return line(*[P / CYCLE / (1 - W)] * links, **fields)


@law("sequential", "n links take n/p attempts, E[W] = w^n (p x/(1 − (1 − p) x))^(n − 1)", "geometric series")
def sequential(effort: float) -> Iterator[Finding]:
    """Attempts, and W where both halves decay by x in all per attempt."""
    for links in (2, 4):
        runs = stretches(_alone(links), [1000.0], [W] * links, seconds=effort * SECONDS, warm_up=1.0)
        attempts = [t.links.attempts.sum() / t.sessions.delivered[0] for t in runs]
        yield estimated(f"{links} links: attempts", links / P, attempts)
        expected = W**links * (P * KEPT / (1 - (1 - P) * KEPT)) ** (links - 1)
        yield estimated(f"{links} links: W", expected, [t.sessions.mean_werner[0] for t in runs])


@law(
    "parallel",
    "n links at once take the longest of n geometric times",
    "inclusion and exclusion; Bernardes et al., arXiv:1010.0106",
)
def parallel(effort: float) -> Iterator[Finding]:
    """Time to delivery in attempts, and W of two segments, where the first pair waits at one node for the second."""
    for links in (2, 4):
        scenario = _alone(links, swapping="parallel", coherence_time=inf)
        runs = stretches(scenario, [1000.0], [W] * links, seconds=effort * SECONDS, warm_up=1.0)
        longest = sum((-1) ** (k + 1) * comb(links, k) / (1 - (1 - P) ** k) for k in range(1, links + 1))
        yield estimated(f"{links} links: attempts", longest, [t.sessions.mean_latency[0] / CYCLE for t in runs])
    runs = stretches(_alone(2, swapping="parallel"), [1000.0], [W] * 2, seconds=effort * SECONDS, warm_up=1.0)
    kept = KEPT  # each of the two halves at the ends and in the middle decays while the first pair waits: x per attempt
    waits = P / (2 - P) * (1 + (1 - P) * kept) / (1 - (1 - P) * kept)
    yield estimated("two segments: W", W**2 * waits, [t.sessions.mean_werner[0] for t in runs])


@law("fork and join", "two M/M/1 queues at once: (12 − ρ)/8 of one's sojourn", "Flatto and Hahn 1984")
def fork_join(effort: float) -> Iterator[Finding]:
    """Time to delivery over two links that work in parallel, s."""
    for load in (0.5, 0.8):
        rate = 100.0 * load
        scenario = line(1000.0, 1000.0, window=LARGE, memory=LARGE, cycle_time=1e-6, swapping="parallel")
        runs = stretches(scenario, [rate], [0.9] * 2, seconds=effort * 2e4 / (1 - load), warm_up=100.0)
        expected = (12 - load) / 8 / (100.0 - rate)
        yield estimated(f"ρ = {load}: latency", expected, [t.sessions.mean_latency[0] for t in runs], 2e-4 * expected)


@law(
    "decay while queueing",
    "E[W] after an M/Geo/1 queue is the transform of the sojourn, (20)",
    "Pollaczek and Khinchine; Burke: the first link, M/M/1, sends on a Poisson stream",
)
def queueing(effort: float) -> Iterator[Finding]:
    """W over two links: a quick first one, then one with p = 0.1 at which the first pair waits."""
    gamma = 2.0  # of both halves together
    for load in (0.5, 0.9):
        rate, p = 100.0 * load, 0.1
        scenario = Scenario(
            links=[
                {"a": 0, "b": 1, "length_km": 0.0, "capacity": 2000.0, "cycle_time": 1e-6},
                {"a": 1, "b": 2, "length_km": 0.0, "capacity": 1000.0},
            ],
            sessions=[{"source": 0, "destination": 2}],
            coherence_time=2.0 / gamma,
            window=LARGE,
            memory=LARGE,
        )
        runs = stretches(scenario, [rate], [0.9] * 2, seconds=effort * 3e3 / (1 - load) ** 2, warm_up=100.0)
        kept = exp(-gamma * CYCLE)
        service = p * kept / (1 - (1 - p) * kept)
        expected = 0.9**2 * (1 - load) * gamma * service / (gamma - rate + rate * service)
        yield estimated(f"ρ = {load}: W", expected, [t.sessions.mean_werner[0] for t in runs], 2e-5)
