"""The fluid form in torch: differentiable, so that gradients go through the network into whoever controls it.

```python
fluid = TorchFluid(qnum_gym.scenario("dumbbell"))
state = fluid.start(8)  # of 8 networks
for _ in range(60):
    state, flows = fluid.advance(state, rates, werner)  # [8, R], [8, L]
(-fluid.utility(flows).mean()).backward()
```

The steps are those of model.md §13 and of `simulator="fluid"`, of what matters to rates, Werner parameters and queues;
amounts are not cut to whole q-datagrams, and what policies write into headers does not flow along. [ours]
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qnum_gym.config import ScenarioError
from qnum_gym.physics.links import LinkRates
from qnum_gym.physics.measures import MEASURES
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator.state import SECOND, STEP, unseeded

Floats = NDArray[np.float64]


class FluidState(NamedTuple):
    """What a network holds, all [..., ·] in the order of `Scenario.arrays`."""

    amount: Tensor  # [..., H] q-datagrams in the tank of each hop
    werner: Tensor  # [..., H] the sum of their W
    inflow: Tensor  # [..., H] 1/s in the last step
    unacked: Tensor  # [..., R] q-datagrams without an answer
    answers: Tensor  # [..., 3, slots, R] amount and sum of W of ACKs, amount of NACKs, by when they come


class Flows(NamedTuple):
    """What an interval brought; sums over its `seconds`."""

    seconds: float
    injected: Tensor  # [..., R] q-datagrams
    delivered: Tensor  # [..., R] pairs whose ACK has come
    werner: Tensor  # [..., R] the sum of their W
    lost: Tensor  # [..., R] q-datagrams of which a NACK has come
    arrivals: Tensor  # [..., L] q-datagrams that came to each link
    mean_queue: Tensor  # [..., L] q-datagrams at each link, mean over time
    utilisation: Tensor  # [..., L]


class TorchFluid:
    """A scenario's network as flows of torch tensors, float64.

    Args:
        scenario: of any simulator; it must be one that "fluid" takes, without events, starts and stops.
        step: longest step, s.

    Raises:
        ScenarioError: the scenario changes in time, or the fluid form does not know something in it.
    """

    def __init__(self, scenario: Scenario, step: float = STEP / SECOND) -> None:
        self.scenario = s = scenario.replace(simulator="fluid")
        if s.changes():
            raise ScenarioError(
                f"scenario: {s.name!r} changes at {s.changes()[0].time:g} s; valid: one without changes"
            )
        self.arrays = a = s.arrays()
        self.steps = math.ceil(s.control_interval / step)
        self.seconds = s.control_interval / self.steps
        state = unseeded(s)
        hops, of_sessions = state.hops, state.fluid_sessions
        first: NDArray[np.bool_] = hops["index"] == 0
        last: NDArray[np.bool_] = hops["index"] + 1 == hops["hops"]
        crossing = a.latency[a.hop_link]
        before = np.roll(hops["decay_rate"], 1)
        self._link, self._session = _index(a.hop_link), _index(a.hop_session)
        self._stored = _real(np.where(first, 0.0, before))
        log_gate: Floats = np.where(first, 0.0, hops["log_gate"])
        self._kept = _real(np.exp(log_gate - hops["decay_rate"] * crossing))
        self._success = _real(np.where(first, 1.0, hops["swap_success"]))
        self._lossless = bool((hops["swap_success"][~first] == 1.0).all())
        after = a.until_ack.astype(np.float64) * hops["decay_rate"][last] * of_sessions["delay"]
        self._kept_after = _real(np.exp(-after))
        self._window = _real(a.window.astype(float))
        channel = 2 * a.hop_link + a.hop_direction
        self._channel, self._memory = _index(channel), _real(a.memory[a.hop_link].astype(float))
        self._waits = _real((~first).astype(float))
        self._last = _index(np.flatnonzero(last))
        # the hops in the order of their places on the routes: [hops, rows of them in what the place before let out]
        places = [np.flatnonzero(hops["index"] == k) for k in range(hops["hops"].max())]
        rows = [np.searchsorted(a.hop_session[p], a.hop_session[q]) for p, q in pairwise(places)]
        self._places = [(_index(place), None) for place in places[:1]]
        self._places += [(_index(place), _index(row)) for place, row in zip(places[1:], rows, strict=True)]
        self._order = _index(np.argsort(np.concatenate(places)))
        back = hops["back"] / SECOND + s.feedback_delay
        self.slots = math.floor(max(of_sessions["delay"].max(), back.max()) / self.seconds) + 2
        self._ack_slots, self._nack_slots = self._between(of_sessions["delay"]), self._between(back)

    def _between(self, delays: Floats) -> Tensor:
        """[slots, ·] the shares with which an answer sent now comes in this step and the later ones."""
        shares, places = np.zeros((self.slots, len(delays))), np.arange(len(delays))
        slot = np.floor(delays / self.seconds).astype(int)
        later = delays / self.seconds - slot
        shares[slot, places], shares[slot + 1, places] = 1.0 - later, later
        return _real(shares)

    def start(self, *batch: int) -> FluidState:
        """Empty networks, `batch` of them."""
        hops, sessions = len(self._link), len(self._window)
        tanks = torch.zeros((*batch, hops), dtype=torch.float64)
        answers = torch.zeros((*batch, 3, self.slots, sessions), dtype=torch.float64)
        return FluidState(tanks, tanks, tanks, answers[..., 0, 0, :], answers)

    def advance(self, state: FluidState, rates: Tensor, werner: Tensor) -> tuple[FluidState, Flows]:
        """A control interval under rates [..., R] (1/s) and Werner parameters [..., L]."""
        made = _applied(LinkRate, werner, self.arrays.link_rates, self.arrays.capacity)
        total: list[Tensor] = []
        for _ in range(self.steps):
            state, flows = self._step(state, rates, werner, made)
            total = [a + b for a, b in zip(total, flows, strict=True)] if total else flows
        injected, delivered, sums, lost, arrivals, queue, busy = total
        n, seconds = self.steps, self.scenario.control_interval
        return state, Flows(seconds, injected, delivered, sums, lost, arrivals, queue / n, busy / n)

    def _step(self, state: FluidState, rates: Tensor, werner: Tensor, made: Tensor) -> tuple[FluidState, list[Tensor]]:
        """(53) to (56); what `Flows` counts, of this step."""
        h, links = self.seconds, made.shape[-1]
        sent = torch.minimum(rates * h, (self._window - state.unacked).clamp(min=0.0))
        inflow = state.inflow.index_copy(-1, self._places[0][0], sent / h)
        out = h * made / (1.0 + _rest(_sums(state.amount + inflow * h, self._link, links), made * h))
        amount, content, come, passed = self._move(state, sent, out[..., self._link], werner[..., self._link])
        lost = passed * (1.0 - self._success)
        full = self._full(amount)
        lost = lost + amount * (1.0 - full)
        arrived = passed[..., self._last] * self._success[self._last]
        arrived_werner = content[1][..., self._last] * self._kept_after
        queue = _sums(amount, self._link, links)
        amount, content = amount * full, (content[0] * full, content[1])

        told = torch.stack([arrived, arrived_werner], -2)[..., None, :] * self._ack_slots
        answers = state.answers[..., :2, :, :] + told
        nacks = state.answers[..., 2:, :, :]
        if not self._lossless or bool((full < 1.0).any()):
            of_hops = lost[..., None, :] * self._nack_slots
            nacks = nacks + _sums(of_hops, self._session, len(self._window))[..., None, :, :]
        answers = torch.cat([answers, nacks], -3)
        heard = answers[..., 0, :]
        answers = torch.cat([answers[..., 1:, :], torch.zeros_like(answers[..., :1, :])], -2)
        unacked = (state.unacked + sent - heard[..., 0, :] - heard[..., 2, :]).clamp(min=0.0)
        new = FluidState(amount, content[0], come / h, unacked, answers)
        arrivals = _sums(come, self._link, links)
        return new, [sent, *heard.unbind(-2), arrivals, queue, queue / (1.0 + queue)]

    def _move(
        self, state: FluidState, sent: Tensor, out: Tensor, werner: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor, Tensor]:
        """(55) along all routes at once: amounts; W that stays and that leaves; what came and what left each tank."""
        rows: list[tuple[Tensor, ...]] = []
        flow = flow_werner = sent
        for place, row in self._places:
            if row is not None:
                flow, flow_werner = flow[..., row], flow_werner[..., row]
            come, leaving = flow, out[..., place]
            amount = (state.amount[..., place] + flow) / (1.0 + leaving)
            content = (state.werner[..., place] + flow_werner) / (1.0 + leaving + self.seconds * self._stored[place])
            passed, success = leaving * amount, self._success[place]
            first = row is None  # where the first pair's W is the link's
            left = (passed if first else leaving * content) * werner[..., place] * self._kept[place]
            flow, flow_werner = passed * success, left * success
            rows.append((amount, torch.zeros_like(content) if first else content, flow_werner, come, passed))
        amount, content, left, come, passed = (
            torch.cat(parts, -1)[..., self._order] for parts in zip(*rows, strict=True)
        )
        return amount, (content, left), come, passed

    def _full(self, amount: Tensor) -> Tensor:
        """[..., H] the share of each tank that there is memory for. (56)"""
        waiting = _sums(amount * self._waits, self._channel, 2 * len(self.arrays.capacity))[..., self._channel]
        room = torch.where(waiting > self._memory, self._memory / waiting.clamp(min=1e-300), 1.0)
        return torch.where(self._waits > 0.0, room, 1.0)

    def utility(self, flows: Flows) -> Tensor:
        """[...] the weighted mean over sessions of log R f(W): the log of the geometric mean (11).

        Where f is less than `LEAST`, log f goes on as a straight line in f, so that there is a slope out of it.
        """
        rate = flows.delivered / flows.seconds
        mean = flows.werner / flows.delivered.clamp(min=1e-12)
        worth = _applied(LogWorth, mean, self.arrays.measure)
        weight = _real(self.arrays.weight / self.arrays.weight.sum())
        utility = weight * (torch.log(rate.clamp(min=1e-9)) + worth)
        return utility.sum(-1)


class LinkRate(torch.autograd.Function):
    """C of w by any registered link model, pairs/s."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, rates: LinkRates, capacity: Floats) -> Tensor:
        """[..., L] of w [..., L]."""
        plain = w.detach().numpy()
        ctx.save_for_backward(_real(-rates.cost(plain, capacity)))
        return _real(rates.rate(plain, capacity))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """By w alone."""
        return gradients[0] * ctx.saved_tensors[0], None, None


LEAST = 0.01  # f from which on its logarithm is taken


class LogWorth(torch.autograd.Function):
    """log f(W) of any registered measure; below f = `LEAST` its tangent there."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, codes: NDArray[np.int64]) -> Tensor:
        """[..., R] of w [..., R]."""
        plain = w.detach().numpy().clip(1e-6, 1.0 - 1e-9)
        f, slope = np.empty_like(plain), np.empty_like(plain)
        for code in np.unique(codes).tolist():
            own = codes == code
            f[..., own], pull, _ = MEASURES.at(code)(plain[..., own])
            slope[..., own] = pull / plain[..., own]
        ctx.save_for_backward(_real(slope / np.maximum(f, LEAST)))
        return _real(np.log(np.maximum(f, LEAST)) + np.minimum(f / LEAST - 1.0, 0.0))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """By W alone."""
        return gradients[0] * ctx.saved_tensors[0], None


def _applied(function: Any, *arguments: Any) -> Tensor:
    """A `torch.autograd.Function`, whose `apply` has no types."""
    return function.apply(*arguments)


def _rest(load: Tensor, made: Tensor) -> Tensor:
    """q' of (54)."""
    b = load - 1.0 - made
    root = torch.sqrt(b * b + 4.0 * load)
    return torch.where(b > 0.0, 0.5 * (root + b), 2.0 * load / torch.where(b > 0.0, 1.0, root - b))


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    """[..., size] of values [..., n], each added to its index [n]."""
    return torch.zeros((*values.shape[:-1], size), dtype=values.dtype).index_add(-1, index, values)


def _real(values: NDArray[Any]) -> Tensor:
    return torch.as_tensor(np.array(values), dtype=torch.float64)


def _index(values: NDArray[Any]) -> Tensor:
    return torch.as_tensor(np.array(values), dtype=torch.int64)
