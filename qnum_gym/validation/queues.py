"""Laws of queues: a link as a server, against queueing theory. [ours]"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qnum_gym.validation.law import Finding, estimated, law
from qnum_gym.validation.running import LARGE, line, loaded, stretches


def waiting(rate: float, p: float, cycle: float) -> float:
    """Mean wait (s) in M/Geo/1, by Pollaczek and Khinchine: rate · E[S²] / (2 (1 − rate · E[S]))."""
    mean, square = cycle / p, cycle**2 * (2 - p) / p**2
    return rate * square / (2 * (1 - rate * mean))


@law("M/M/1", "a load ρ keeps ρ/(1 − ρ) in the system", "Erlang; p = 1e-4, so that the rest is below 1e-4 of it")
def mm1(effort: float) -> Iterator[Finding]:
    """The number at the link, and the share of time that it is busy."""
    for load in (0.3, 0.6, 0.8):
        scenario = line(1000.0, window=LARGE, cycle_time=1e-6)
        runs = stretches(scenario, [100.0 * load], [0.9], seconds=effort * 2e4 / (1 - load), warm_up=100.0)
        number = load / (1 - load)
        yield estimated(f"ρ = {load}: number", number, [t.links.mean_queue[0] for t in runs], 1e-4 * number)
        yield estimated(f"ρ = {load}: busy", load, [t.links.utilisation[0] for t in runs])


@law("M/Geo/1", "attempts in a row make a geometric service", "Pollaczek and Khinchine")
def mgeo1(effort: float) -> Iterator[Finding]:
    """Mean time at the link, s; p = 1 is M/D/1."""
    for p in (0.1, 0.5, 1.0):
        for load in (0.5, 0.8):
            rate = load * p * 1000.0
            scenario = line(p * 2000.0, window=LARGE, werner_range=(0.5, 0.999))
            runs = stretches(scenario, [rate], [0.5], seconds=effort * 1.5e6 / rate / (1 - load), warm_up=10.0)
            expected = waiting(rate, p, 1e-3) + 1e-3 / p
            name = "M/D/1" if p == 1.0 else f"p = {p}"
            yield estimated(f"{name}, ρ = {load}: sojourn", expected, [t.links.mean_sojourn[0] for t in runs])


@law("M/M/1/K", "a memory for K loses (1 − ρ) ρ^K / (1 − ρ^(K+1))", "Erlang; p = 1e-3 or less")
def mm1k(effort: float) -> Iterator[Finding]:
    """Share lost at the second link, which is slow; and what a window of K lets through."""
    for k in (2, 5):
        rho = 0.8
        blocked = (1 - rho) * rho**k / (1 - rho ** (k + 1))
        slow = line(1e7, 1000.0, memory=k, window=LARGE, cycle_time=1e-6, werner_range=(0.9, 0.999))
        runs = stretches(slow, [80.0], [0.9, 0.9], seconds=effort * 2e4, warm_up=10.0)
        lost = [t.links.dropped[1] / t.links.arrivals[1] for t in runs]
        yield estimated(f"memory {k}: lost", blocked, lost, 2e-4 * blocked)
        runs = stretches(line(1000.0, window=k, cycle_time=1e-6), [80.0], [0.9], seconds=effort * 2e4, warm_up=10.0)
        through = [t.sessions.delivered[0] / t.seconds for t in runs]
        yield estimated(f"window {k}: throughput", 80.0 * (1 - blocked), through, 2e-4 * 80.0)


@law("Little", "mean number = departures per second × mean sojourn", "Little 1961")
def little(effort: float) -> Iterator[Finding]:
    """The busiest link of NSFNET at ρ = 0.8, for each discipline."""
    for discipline in ("fifo", "lifo", "fair"):
        scenario, rates, werner = loaded("nsfnet", 0.8, discipline=discipline)
        runs = stretches(scenario, rates, werner, seconds=effort * 4e4, warm_up=100.0)
        l = int(np.argmax(runs[0].links.utilisation))
        number = [float(t.links.mean_queue[l]) for t in runs]
        passed = [float(t.links.departures[l] * t.links.mean_sojourn[l] / t.seconds) for t in runs]
        gaps = np.subtract(number, passed) + np.mean(passed)  # both vary together
        yield estimated(discipline, float(np.mean(passed)), gaps)


@law("Poisson", "a source injects at R", "ω = R t, variance R t")
def poisson(effort: float) -> Iterator[Finding]:
    """Injections per second, paced by chance and evenly, and the variance of their number over its mean."""
    for pacing in ("poisson", "even"):
        scenario = line(1e6, pacing=pacing, window=LARGE, cycle_time=1e-7)
        runs = stretches(scenario, [100.0], [0.9], seconds=effort * 2e4, warm_up=1.0)
        rates = [t.sessions.injected[0] / t.seconds for t in runs]
        within = 1.0 / runs[0].seconds  # an injection more or less
        yield estimated(f"{pacing}: rate", 100.0, rates, within if pacing == "even" else 0.0)
