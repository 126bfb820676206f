"""Whether QPrimalDual comes to rest: V along its way, eigenvalues at the optimum, and the largest stable gain.

[paper] arXiv:2510.09371 proves global asymptotic stability for concave separable utilities, and gives a sufficient
condition for local stability of others. [ours] Its text was not to be had beyond that: V (31) is the function that the
standard proof takes, and the condition (34) is derived here.

With φ(λ, μ, w) = max over R of the Lagrangian of (9), the continuous form in `fluid.py` is

    dλ/dt = -k_λ ∂φ/∂λ,   dμ/dt = -k_μ ∂φ/∂μ,   dw/dt = k_w ∂φ/∂w

φ is convex in λ, μ. In coordinates √k its Jacobian is [[-P, Q], [-Qᵀ, H]], P = ∂²φ/∂(λ,μ)², H = ∂²φ/∂w², of which the
symmetric part is diag(-P, H): the crossed parts cancel. If φ is concave in w, V falls wherever one starts. If only
H < 0 at the optimum, no eigenvalue has a real part above 0, and none has 0 where the floors that bind are independent:
a vector with real part 0 has no part in w, and so none in λ, μ. In log w, in which a stationary point's H is congruent,

    -H = diag( Σ_{r∋l} σ_r + w_l² λ_l dc_l/dw ) - Σ_r σ°_r b_r 1_r 1_rᵀ,    b = a'/a + (1/α - 1) a,   σ° = σ - μ

with c = -dC/dw, which does not fall. As 1_r 1_rᵀ ≤ h_r diag(1_r) for a route of h_r links, this is positive definite if

    h_r σ°_r b_r < σ_r   for every session,

which is (34): a session's log f may be convex at its optimum, as long as it is so by less than a_r/h_r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qnum_gym.optimum.fluid import Fluid, Steps
from qnum_gym.optimum.matrices import Bools, Floats, Ints
from qnum_gym.optimum.problem import Allocation
from qnum_gym.physics import measures

Complexes = NDArray[np.complex128]

INSIDE = 1e-7  # how far from the ends of its range a variable is free
NUDGE = 1e-6  # relative step of differences
CLOSE = 0.005  # relative error of critical gains
LEAST, MOST = 2.0**-20, 2.0**20  # factors between which a critical gain is searched
BUMP = 1e-7  # relative size of the disturbance whose growth is measured
GROWN, DIED = 1e4, 0.05  # when it has grown, and when it has died out
BLOCKS, BLOCK = 40, 1000  # updates over which it is measured, at most


def lyapunov(fluid: Fluid, states: Floats, best: Allocation) -> Floats:
    """V (31) of states [..., N] of the paper's form, at their distance from the optimum: [...].

    Raises:
        ValueError: another form.
    """
    k = _steps(fluid)
    n_links, n_sessions = fluid.size
    rate = np.concatenate([np.full(n_links, k.price), np.full(n_sessions, k.fidelity), np.full(n_links, k.werner)])
    distance = (states - fluid.at(best))[..., : len(rate)]
    return (distance**2 / (2.0 * rate)).sum(axis=-1)


class Jacobian(NamedTuple):
    """matrix: [n, n] of the continuous form at the optimum. free: [n] places in the state that it is of."""

    matrix: Floats
    free: Ints

    @property
    def eigenvalues(self) -> Complexes:
        """[n] complex, 1/update, by falling real part."""
        found = np.linalg.eigvals(self.matrix).astype(np.complex128)
        return found[np.argsort(-found.real)]


def jacobian(fluid: Fluid, best: Allocation) -> Jacobian:
    """Of the paper's form in continuous time, without decoherence, at its optimum (32).

    What is held is left out: prices that are 0, a w at the end of its range, links that nobody uses.

    Raises:
        ValueError: another form.
    """
    k, terms = _steps(fluid), _terms(fluid, best)
    on, share, w = terms.on, terms.share, best.werner  # [L, R]
    rho, n_links = k.utilisation, len(best.werner)
    pull = on / w[:, None]  # d log W_r / d w_l, transposed
    per_price = terms.rates * terms.by_price  # dR/dp
    prices = share @ (per_price[:, None] * share.T)
    across = share @ ((terms.rates * terms.by_log_werner)[:, None] * pull.T) + np.diag(rho * terms.cost)
    own = pull @ (terms.signal_slope[:, None] * pull.T)
    own -= np.diag((on @ terms.signal) / w**2 + rho * terms.cost_slope * best.link_prices)
    back = pull @ ((terms.own_signal * (1.0 - terms.alpha) * terms.by_price)[:, None] * share.T)
    back -= np.diag(rho * terms.cost)
    floors = np.zeros((on.shape[1], n_links))
    matrix = np.block(
        [
            [k.price * prices, np.zeros_like(floors.T), k.price * across],
            [floors, np.zeros((len(floors), len(floors))), -k.fidelity * pull.T],
            [k.werner * back, k.werner * pull, k.werner * own],
        ]
    )
    x = fluid.at(best)[: len(matrix)]
    free = np.flatnonzero(_free(fluid, x)[: len(matrix)] & ((x > INSIDE * np.abs(x).max()) | _is_werner(fluid, x)))
    return Jacobian(matrix[np.ix_(free, free)], free)


@dataclass(frozen=True, slots=True)
class Condition:
    """The sufficient condition for local stability, in the sense of (33) and (34).

    Attributes:
        sessions: [R] 1 - h b σ°/σ of each active session: (34) holds where it is above 0; 1 or more where log f is
            concave.
        hessian: [n] eigenvalues of -H (33) scaled to a unit diagonal of its first part, rising: all above 0 is
            what (34) is sufficient for. Over links whose w is free.
    """

    sessions: Floats
    hessian: Floats

    @property
    def by_sessions(self) -> bool:
        """Whether (34) holds for every session."""
        return bool((self.sessions > 0.0).all())

    @property
    def holds(self) -> bool:
        """Whether the optimum is stable by (33), for all gains of the continuous form."""
        return bool((self.hessian > 0.0).all())


def condition(fluid: Fluid, best: Allocation) -> Condition:
    """Of the paper's form without decoherence, at its optimum [ours].

    Raises:
        ValueError: another form.
    """
    k, terms = _steps(fluid), _terms(fluid, best)
    n_links, n_sessions = fluid.size
    hops = terms.on.sum(axis=0)
    of_werner = _free(fluid, fluid.at(best))[n_links + n_sessions : 2 * n_links + n_sessions]
    on = terms.on[of_werner]
    stiff = on @ terms.signal + (k.utilisation * best.werner**2 * terms.cost_slope * best.link_prices)[of_werner]
    scale = 1.0 / np.sqrt(stiff)
    bent = scale[:, None] * (on @ (terms.signal_slope[:, None] * on.T)) * scale
    hessian = np.array(np.linalg.eigvalsh(np.eye(len(scale)) - bent), np.float64)
    return Condition(1.0 - hops * terms.signal_slope / terms.signal, hessian)


# --- in steps, with delay ---------------------------------------------------------------------------------------------


class Linear(NamedTuple):
    """A form's update near its optimum (35): x' = own x + heard h, h_r(n) = told_r x(n - D_r), over what is free.

    own: [n, n]. heard: [n, 3R]. told: [3R, n].
    """

    own: Floats
    heard: Floats
    told: Floats


def linear(fluid: Fluid, best: Allocation) -> Linear:
    """By central differences, of any form."""
    x = fluid.at(best)
    free = np.flatnonzero(_free(fluid, x))
    seen = fluid.observe(x)

    def differences(function: Callable[[Floats], Floats], at: Floats, places: Ints) -> Floats:
        columns: list[Floats] = []
        for i in places:
            step = np.zeros_like(at)
            step[i] = NUDGE * max(abs(at[i]), 1e-6)
            columns.append((function(at + step) - function(at - step)) / (2.0 * step[i]))
        return np.array(columns).T

    own = differences(lambda x: fluid.step(x, seen)[free], x, free)
    told = differences(lambda x: fluid.observe(x).ravel(), x, free)
    every = np.arange(seen.size)
    heard = differences(lambda h: fluid.step(x, h.reshape(seen.shape))[free], seen.ravel(), every)
    return Linear(own, heard, told)


def spectral_radius(form: Linear, delay: Ints) -> float:
    """Largest modulus of the eigenvalues of the update with what is under way as part of the state.

    Args:
        form: of R sessions.
        delay: [R] updates.
    """
    late = np.repeat(delay, 3)
    matters = (np.abs(form.heard).max(axis=0) > 0.0) & (np.abs(form.told).max(axis=1) > 0.0)
    n, at_once = len(form.own), matters & (late == 0)
    size = n + int(late[matters & ~at_once].sum())
    matrix = np.zeros((size, size))
    matrix[:n, :n] = form.own + form.heard[:, at_once] @ form.told[at_once]
    place = n
    for i in np.flatnonzero(matters & ~at_once):
        end = place + late[i]
        matrix[place, :n] = form.told[i]
        matrix[np.arange(place + 1, end), np.arange(place, end - 1)] = 1.0
        matrix[:n, end - 1] = form.heard[:, i]
        place = end
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def predicted_gain(make: Callable[[float], Fluid], best: Allocation) -> float:
    """The largest gain for which the linearised delayed update is stable; infinite if there is none.

    Args:
        make: the fluid at a gain. Gains are taken as stable from 0 on, up to the one that is found.
        best: where it comes to rest at every gain.
    """

    def stable(gain: float) -> bool:
        fluid = make(gain)
        return spectral_radius(linear(fluid, best), fluid.delay) < 1.0

    return _largest(stable)


def measured_gain(make: Callable[[float], Fluid], best: Allocation) -> float:
    """The largest gain at which a small disturbance of the optimum dies out; arguments as for `predicted_gain`."""
    return _largest(lambda gain: settles(make(gain), best))


def settles(fluid: Fluid, best: Allocation) -> bool:
    """Whether a state next to the optimum goes back to it, of 40 000 updates at most.

    It does not if its distance grows by a factor of ten thousand. If neither that happens nor it falls to a twentieth
    of its largest, what counts is whether it falls in the second half.
    """
    at = fluid.at(best)
    free, scale = _free(fluid, at), np.maximum(np.abs(at), 1e-3)
    x = at + BUMP * scale * np.where(free, np.cos(np.arange(len(at))), 0.0)  # nothing special in any direction
    sizes = [BUMP]
    states = fluid.run(x, BLOCKS * BLOCK)
    for history in np.split(states[1:], BLOCKS):
        sizes.append(float(np.abs((history - at) / scale)[:, free].max()))
        if sizes[-1] > GROWN * BUMP:
            return False
        if sizes[-1] < DIED * max(sizes):
            return True
    return sizes[-1] < sizes[BLOCKS // 2]


def _largest(stable: Callable[[float], bool]) -> float:
    low = high = 1.0
    while stable(high):
        low, high = high, 2.0 * high
        if high > MOST:
            return np.inf
    while low == high or not stable(low):
        high, low = low, 0.5 * low
        if low < LEAST:
            return 0.0
    while high > (1.0 + CLOSE) * low:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if stable(middle) else (low, middle)
    return float(np.sqrt(low * high))


# --- terms ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Terms:
    """Derivatives at an optimum; [R] sessions, [L] links."""

    on: Floats  # [L, R] 1 where a session uses a link
    share: Floats  # [L, R] θ there
    alpha: Floats
    rates: Floats
    own_signal: Floats  # σ° = ω a x^(1 - α)
    signal: Floats  # σ = σ° + μ
    signal_slope: Floats  # dσ°/d log W
    by_price: Floats  # d log R / dp
    by_log_werner: Floats  # d log R / d log W
    cost: Floats  # c = -dC/dw
    cost_slope: Floats  # dc/dw


def _terms(fluid: Fluid, best: Allocation) -> _Terms:
    p, a, chosen = fluid.problem, fluid.problem.arrays, fluid.chosen
    n_links, n_sessions = fluid.size
    place = np.full(len(a.active), -1)
    place[chosen] = np.arange(n_sessions)
    hops = np.flatnonzero(p.active[a.hop_session])
    on, share = np.zeros((n_links, n_sessions)), np.zeros((n_links, n_sessions))
    on[a.hop_link[hops], place[a.hop_session[hops]]] = 1.0
    share[a.hop_link[hops], place[a.hop_session[hops]]] = p.thinning[hops]
    alpha, code, w = a.fairness[chosen], a.measure[chosen], best.expected_werner[chosen]
    rates = best.rates[chosen]
    pull, bend = measures.elasticities(code, w), measures.elasticity_slopes(code, w)
    worth = p.delivery[chosen] * rates * measures.values(code, w)
    own = a.weight[chosen] * pull * worth ** (1.0 - alpha)
    low, high = p.lowest_rates[chosen], a.rate_max[chosen]
    moves = (rates > low * (1.0 + INSIDE)) & (rates < high * (1.0 - INSIDE))
    price = share.T @ best.link_prices
    by_log_werner = np.where(moves, (1.0 - alpha) * pull / alpha, 0.0)
    _, slope, curve = a.link_rates.brightness(best.werner, a.capacity)
    return _Terms(
        on=on,
        share=share,
        alpha=alpha,
        rates=rates,
        own_signal=own,
        signal=own + best.fidelity_prices[chosen],
        signal_slope=own * ((1.0 - alpha) * (by_log_werner + pull) + bend / pull),
        by_price=np.where(moves, -1.0 / (alpha * price), 0.0),
        by_log_werner=by_log_werner,
        cost=-a.capacity * slope,
        cost_slope=-a.capacity * curve,
    )


def _steps(fluid: Fluid) -> Steps:
    if not isinstance(fluid.gains, Steps) or fluid.decoherence:
        raise ValueError("stability: of the paper's form alone; valid: Steps, without decoherence")
    return fluid.gains


def _is_werner(fluid: Fluid, x: Floats) -> Bools:
    """[N] whether an entry of the state is a link's knob."""
    n_links, n_sessions = fluid.size
    begin = n_links if fluid.scaled else n_links + n_sessions
    return (np.arange(len(x)) >= begin) & (np.arange(len(x)) < begin + n_links)


def _free(fluid: Fluid, x: Floats) -> Bools:
    """[N] entries of the state that move: of links in use, and no w that cannot, or that is at the end of its range.

    In the scaled form no price that is next to nothing either: its logarithm falls for ever, and nobody notices.
    """
    a, (n_links, _) = fluid.problem.arrays, fluid.size
    w = fluid.werner(x)
    knob = a.link_rates.knobs & (w > a.werner_min + INSIDE) & (w < a.werner_max - INSIDE)
    free = np.ones(len(x), np.bool_)
    free[:n_links] = fluid.used
    if fluid.scaled:
        prices = fluid.link_prices(x)
        free[:n_links] &= prices > INSIDE * prices[fluid.used].max()
    free[_is_werner(fluid, x)] = fluid.used & knob
    if not fluid.scaled:
        free[-n_links:] &= fluid.used
    return free
