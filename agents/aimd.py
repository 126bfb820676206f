"""AIMD: the Internet's congestion control for q-datagrams, with links that mark.

A baseline: w is the same constant everywhere, and nobody asks what a pair is worth.

[paper] The protocol is that of arXiv:2410.08980, *Leveraging Internet Principles to Build a Quantum Network*, as
model.md §8 states it: a source keeps a window, cwnd; it grows by 1 per ACK in slow start and by 1/cwnd per ACK after
it; on a loss or an ECN mark ssthresh = cwnd/2, and the window goes there. A link marks with a probability p that
follows its queue by a PI law. [ours] All the rest:

**Marks.** Per interval, on the mean queue q that the link measures, p in [0, 0.99]:

    p += k_P (q - q_previous) / q_ref + k_I (q / q_ref - 1)

A link's signal in the headers is -log(1 - p), so that their sum along the route tells a source the probability that an
ACK brings at least one mark, 1 - exp(-Σ). The source counts with this expectation and draws nothing.

**Windows.** With N ACKs and losses in an interval and the share b of them that are losses or marks, each event in
avoidance adds (1 - b)/cwnd and takes b cwnd/2: d(cwnd²)/dN = 2 (1 - b) - b cwnd². Solved over the interval,

    cwnd² ← x + (cwnd² - x) exp(-b N),    x = 2 (1 - b) / b

which is right for one event as for hundreds. Slow start ends with the first mark expected or loss heard of. After an
interval that brought losses and no ACK (TCP's time-out) it begins again, at the session's first rate. A window may be
below 1: fewer than one q-datagram per round trip, which a rate can keep to.

**Rates.** The simulator's knob is a rate, so R = cwnd / RTT, in the session's `rate_range`. RTT is smoothed with TCP's
gain of 1/8 per ACK; a sample is the larger of first pair to ACK and injection to delivery, which differ in that the one
lacks the wait for the first pair and the other the ACK's way. True windows are clocked by ACKs within the interval, a
rate is not, so the step of log R is bounded, and the window taken back to R · RTT: one not made use of does not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.delivery import Delivery
from qnum_gym.agents.options import Constants, Range, constant, constants
from qnum_gym.agents.policy import POLICIES, Bools, Policy, Seen
from qnum_gym.scenarios import Arrays
from qnum_gym.simulator import Controls
from qnum_gym.simulator.telemetry import LinkTelemetry, SessionTelemetry

Floats = NDArray[np.float64]

RTT_GAIN = 1.0 / 8.0  # of the smoothed round-trip time, per ACK (RFC 6298)
MOST_MARKS = 0.99  # of p
DELIVERY_MEMORY = 30.0  # intervals, of the share delivered


@dataclass(frozen=True, slots=True)
class AIMDGains(Constants):
    """Constants of AIMD, those that `configs/policies/aimd.yaml` found, the same for all networks."""

    werner: float = constant(0.972, Range(0.93, 0.99, log=False), share=True)  # w of all links, taken into their range
    queue: float = constant(2.93, Range(0.3, 10.0))  # q_ref, q-datagrams at a link, the one in service included
    proportional: float = constant(0.0528, Range(0.005, 0.5))  # k_P
    integral: float = constant(0.0113, Range(0.002, 0.2))  # k_I
    rate_step: float = constant(0.463, Range(0.1, 1.0))  # bound of a step of log R


@POLICIES.registers("aimd")
class AIMD(Policy):
    """The Internet's congestion control: a window at every source, links that mark; after arXiv:2410.08980.

    Args:
        **gains: fields of `AIMDGains` that shall have other values.

    Raises:
        ValueError: an unknown gain, or one that cannot be.
    """

    local = True

    def __init__(self, **gains: float) -> None:
        self.gains = constants(AIMDGains, gains)

    def prepare(self) -> None:
        """Set up the controllers."""
        self._sources = _Sources(self.networks.arrays, self.gains)
        self._links = _Links(self.networks.arrays, self.gains)

    def forget(self, which: Bools) -> None:
        """Nothing is drawn: `seeds` are unused."""
        sessions, links = self.networks.rows(which)
        self._sources.forget(sessions)
        self._links.forget(links)

    def act(self, seen: Seen) -> Controls:
        """One update of every source and every link, each from its own rows; headers bring the links nothing."""
        rates = self._sources.update(seen.sessions)
        werner, signals = self._links.update(seen.links)
        return Controls(rates, werner, None, signals)


class _Sources:
    """All source controllers, one row each; no row reads another."""

    def __init__(self, a: Arrays, gains: AIMDGains) -> None:
        self._step = gains.rate_step
        self._range = a.rate_min, a.rate_max
        self._delivery = Delivery(len(a.weight), DELIVERY_MEMORY)
        zeros = np.zeros(len(a.weight))
        # log R; cwnd, of one as long as there is no RTT; RTT in s, 0: not known yet; marks and losses in slow start
        self._first: Floats = np.array([np.log(a.initial_rate), zeros + 1.0, zeros, zeros])
        self._memory: Floats = self._first  # [4, R]

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [R]."""
        self._memory = np.where(rows, self._first, self._memory)
        self._delivery.forget(rows)

    def update(self, seen: SessionTelemetry) -> Floats:
        """Rates [R]."""
        log_rate, window, rtt, marks = cast("Sequence[Floats]", self._memory)
        acks, losses = seen.delivered.astype(np.float64), seen.dropped.astype(np.float64)
        heard = acks > 0.0
        bad = losses + acks * np.where(heard, -np.expm1(-np.where(heard, seen.mean_price, 0.0)), 0.0)
        smoothed = _smoothed(rtt, acks, np.where(heard, np.fmax(seen.mean_rtt, seen.mean_latency), 0.0))

        counted = marks + bad
        slow_start = np.where(counted < 1.0, window + acks, window / 2.0)  # the latter ends it
        wanted = np.where(marks < 1.0, slow_start, _avoidance(window, acks + losses, bad))
        silent = ~heard & (losses > 0.0)
        counted = np.where(silent, 0.0, counted)

        known = smoothed > 0.0
        step = np.log(np.where(known, wanted / np.where(known, smoothed, 1.0), 1.0)) - log_rate
        moved = np.exp(log_rate + np.clip(step, -self._step, self._step))
        rate = np.where(known, moved, np.exp(log_rate))
        rate = np.where(silent, np.exp(np.minimum(log_rate, self._first[0])), rate)
        self._delivery.update(seen)
        least, most = np.maximum(seen.min_rate, self._range[0]), np.minimum(self._range[1], seen.rate_cap)
        rate = np.clip(rate, self._delivery.injection(seen.min_rate, self._range[0]), most)
        in_use = np.where(known, rate * smoothed, wanted)

        memory = np.array([np.log(rate), in_use, smoothed, counted])
        self._memory = np.where(seen.active, memory, self._first)
        return np.clip(np.exp(self._memory[0]), least, most)


def _smoothed(rtt: Floats, acks: Floats, sample: Floats) -> Floats:
    """The round-trip time after `acks` ACKs with the mean `sample`; the first sample as it is."""
    share = np.where(rtt > 0.0, 1.0 - (1.0 - RTT_GAIN) ** acks, 1.0)
    return np.where(acks > 0.0, rtt + share * (sample - rtt), rtt)


def _avoidance(window: Floats, events: Floats, bad: Floats) -> Floats:
    """The window after `events` ACKs and losses, `bad` of them losses or marked."""
    some = bad > 0.0
    share = np.where(some, bad / np.maximum(events, 1.0), 1.0)
    balance = 2.0 * (1.0 - share) / share
    eased = balance + (window**2 - balance) * np.exp(-bad)
    return np.sqrt(np.where(some, eased, window**2 + 2.0 * events))


class _Links:
    """All link controllers, one row each; no row reads another."""

    def __init__(self, a: Arrays, gains: AIMDGains) -> None:
        self._gains = gains
        self._werner = np.clip(gains.werner, a.werner_min, a.werner_max)
        self._marks = np.zeros(len(a.capacity))  # p
        self._queue = np.zeros(len(a.capacity))  # q / q_ref in the interval before

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [L]."""
        self._marks, self._queue = np.where(rows, 0.0, self._marks), np.where(rows, 0.0, self._queue)

    def update(self, seen: LinkTelemetry) -> tuple[Floats, Floats]:
        """Werner parameters [L] and signals [L]."""
        k, queue = self._gains, seen.mean_queue / self._gains.queue
        step = k.proportional * (queue - self._queue) + k.integral * (queue - 1.0)
        self._marks, self._queue = np.clip(self._marks + step, 0.0, MOST_MARKS), queue
        return self._werner.copy(), -np.log1p(-self._marks)
