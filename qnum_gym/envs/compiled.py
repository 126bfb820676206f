# pyright: basic
"""The arithmetic of observations and scores as plain loops over records, compiled by numba.

Every function works on one environment. The vectorised environments call the same ones, which is what makes their
numbers those of the scalar environment bit for bit. Everything compiled is in this one file: numba's cache does not
notice a change in another. Utilities need f(W), which comes from `werner.py`'s own formulas (see `worth.py`), so they
take two calls.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from qnum_gym.optimum.problem import RATE_FLOOR
from qnum_gym.simulator.state import NEVER, SECOND

inner: Any = njit(nogil=True, error_model="numpy", inline="always")
entry: Any = njit(nogil=True, error_model="numpy", cache=True)  # called from Python: compiled once per machine

KEEP = 0.9  # share of a smoothed sum left after one interval: its mean age is that of the reward's window
NOTHING = 1e-30  # in place of 0 under a logarithm: far below every feature's range


def _floats(names, form):
    return np.dtype([(name, form) for name in names.split()], align=True)


# A source's row and memory; what they mean is said in observation.py.
SESSION_ROW = _floats(
    "rate signal active paused window weight hops goodput "
    "delivered werner elasticity utility storage latency lost price",
    "f4",
)
SESSION_MEMORY = _floats("delivered injected lost seconds werner decay latency price", "f8")
SESSION_SCALE = _floats("weight hops lowest decades worthless utility_span", "f8")
# A link's row and memory.
LINK_ROW = _floats(
    "werner signal capacity utilisation mean_queue queue load lost sojourn announced transit sharing header_signal",
    "f4",
)
LINK_MEMORY = _floats("arrivals possible dropped departures sojourn", "f8")
LINK_SCALE = _floats("memory lowest span undamaged", "f8")


@inner
def unit(value):
    """Cut to [−1, 1]."""
    return min(max(value, -1.0), 1.0)


@inner
def ratio(numerator, denominator):
    """0 where there is nothing to divide by."""
    return numerator / denominator if denominator > 0.0 else 0.0


@inner
def log10(value):
    return math.log10(max(value, NOTHING))


@inner
def utility(rate, worth):
    """U = log max(R f(W), floor), as `optimum.Problem.utilities`."""
    return math.log(max(rate * worth, RATE_FLOOR))


# --- observations -----------------------------------------------------------------------------------------------------


@entry
def remember_sessions(sessions, seconds, memory):
    """Take one interval into the sources' memories [R]; gives the smoothed W [R], 0 where nothing was delivered."""
    werner = np.empty(len(sessions))
    for r in range(len(sessions)):
        s, m = sessions[r], memory[r]
        m.delivered = KEEP * m.delivered + s.delivered
        m.injected = KEEP * m.injected + s.injected
        m.lost = KEEP * m.lost + s.nacked + s.timeouts
        m.seconds = KEEP * m.seconds + (seconds if s.active else 0.0)
        m.werner = KEEP * m.werner + s.werner
        m.decay = KEEP * m.decay + s.decay
        m.latency = KEEP * m.latency + s.latency / SECOND
        m.price = KEEP * m.price + s.price
        werner[r] = ratio(m.werner, m.delivered)
    return werner


@entry
def session_rows(sessions, interval, scale, memory, werner, worth, slope, rows):
    """Fill the sources' rows [R], given f(W) and W f'(W) of the W that `remember_sessions` gave."""
    for r in range(len(sessions)):
        s, m, c, row = sessions[r], memory[r], scale[r], rows[r]
        some = m.delivered > 0.0
        rate = ratio(m.delivered, m.seconds)
        elasticity = log10(slope[r] / worth[r]) - 1.0 if worth[r] > 0.0 else 1.0
        row.rate = unit((log10(s.rate) - c.lowest) / c.decades * 2.0 - 1.0)
        row.signal = unit(s.signal)
        row.active = 1.0 if s.active else -1.0
        row.paused = 1.0 if s.paused else -1.0
        row.window = unit(2.0 * s.unacked / s.window - 1.0)
        row.weight = unit(c.weight)
        row.hops = 1.0 / c.hops
        row.goodput = unit(ratio(m.delivered, m.injected) - 1.0)
        row.delivered = unit((log10(rate) - c.lowest) / c.decades * 2.0 - 1.0)
        row.werner = unit((werner[r] - c.worthless) / (1.0 - c.worthless)) if some else -1.0
        row.elasticity = unit(elasticity)
        row.utility = unit((utility(rate, worth[r]) - math.log(RATE_FLOOR)) / c.utility_span * 2.0 - 1.0)
        row.storage = unit(1.0 - math.exp(-ratio(m.decay, m.delivered)))
        row.latency = unit(log10(ratio(m.latency, m.delivered) / interval) / 2.0)
        row.lost = ratio(m.lost, m.lost + m.delivered)
        row.price = unit(ratio(m.price, m.delivered) / c.hops)


@entry
def link_rows(links, hops, now, seconds, lifetime, scale, memory, rows):
    """Take one interval into the links' memories [L] and fill their rows [L]; `hops` hold the last headers seen."""
    heard = np.zeros((len(links), 4))  # rates, rates from another link, sessions, signals
    for h in range(len(hops)):
        header = hops[h]
        if header.seen != NEVER and (now - header.seen) / SECOND <= lifetime:
            of_link = heard[header.link]
            of_link[0] += header.rate
            of_link[1] += header.rate if header.index > 0 else 0.0
            of_link[2] += 1.0
            of_link[3] += header.header_signal
    length = max(seconds, 1.0 / SECOND)
    for l in range(len(links)):
        k, m, c, row = links[l], memory[l], scale[l], rows[l]
        rates, transit, sessions, signals = heard[l]
        made = k.capacity * (1.0 - k.werner)
        m.arrivals = KEEP * m.arrivals + k.arrivals
        m.possible = KEEP * m.possible + made * seconds
        m.dropped = KEEP * m.dropped + k.dropped
        m.departures = KEEP * m.departures + k.departures
        m.sojourn = KEEP * m.sojourn + k.sojourn / SECOND * made
        row.werner = unit((-math.log1p(-k.werner) - c.lowest) / c.span * 2.0 - 1.0)
        row.signal = unit(k.signal)
        row.capacity = unit(2.0 * k.capacity / c.undamaged - 1.0)
        row.utilisation = unit(2.0 * k.busy / (length * SECOND) - 1.0)
        row.mean_queue = unit(2.0 * math.log1p(k.area / (length * SECOND)) / c.memory - 1.0)
        row.queue = unit(2.0 * math.log1p(k.number) / c.memory - 1.0)
        row.load = unit(ratio(m.arrivals, m.possible) - 1.0)
        row.lost = unit(ratio(m.dropped, m.arrivals))
        row.sojourn = unit(log10(ratio(m.sojourn, m.departures)) / 2.0)
        row.announced = unit(ratio(rates, made) - 1.0)
        row.transit = ratio(transit, rates)
        row.sharing = ratio(1.0, sessions)
        row.header_signal = unit(ratio(signals, sessions))


# --- scores -----------------------------------------------------------------------------------------------------------


@entry
def pool(rows):
    """Add up rows [n, 3R + 3]: the total, and its rates [R] and Werner parameters [R]."""
    total = np.zeros(rows.shape[1])
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            total[j] += rows[i, j]
    n = len(total) // 3 - 1
    rate, werner = np.empty(n), np.empty(n)
    for r in range(n):
        rate[r] = ratio(total[r], total[2 * n + r])
        werner[r] = ratio(total[n + r], total[r])
    return total, rate, werner


@entry
def judge(total, rate, worth, weight, smallest_span):
    """Score, utility, geometric mean and the sessions' scores [R] of a total, given f(W) of the W that `pool` gave."""
    n = len(rate)
    low, high, seconds = total[3 * n], total[3 * n + 1], total[3 * n + 2]
    scores = np.zeros(n)
    whole, shares = 0.0, 0.0
    for r in range(n):
        share = ratio(weight[r] * total[2 * n + r], seconds)
        shares += share
        whole += share * utility(rate[r], worth[r])
    if shares == 0.0:
        return 0.0, 0.0, 0.0, scores
    low, span = low / seconds, max((high - low) / seconds, smallest_span)
    for r in range(n):
        if total[2 * n + r] > 0.0:
            scores[r] = (utility(rate[r], worth[r]) * shares - low) / span
    return (whole - low) / span, whole, math.exp(whole / shares), scores
