# pyright: basic
"""The iterations of `fluid.py` as plain loops, compiled by numba.

A state x is one flat array. Of the paper's form [λ L | μ R | w L | s L], s the slack that (18) asks for; of the scaled
form [log λ L | log(1 - w) L | log R R | log σ R | e^-storage R | log x^(1 - α) R]. What a session hears of a state is
a row of three: Σ θλ, log Π w with gates, and the logarithm of what storage leaves.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import register_jitable

from qnum_gym import caching
from qnum_gym.physics import links, measures
from qnum_gym.physics.links import Hardware, in_modes, quadratics

inner: Any = njit(nogil=True, error_model="numpy")
entry: Any = caching.entry(links, measures, file=__file__)
for function in (in_modes, quadratics):
    register_jitable(function)

SLACK_STEPS = 8  # Newton steps in log s
TRIPLE = types.UniTuple(types.float64, 3)
LARGEST = 1e3  # of a link's rate, the slack where a price is 0
TINY = 1e-300


def _record(**fields: str) -> np.dtype[Any]:
    return np.dtype([(name, form) for form, names in fields.items() for name in names.split()], align=True)


SESSION = _record(
    i8="measure start end",  # place in the tuple of measures; hops
    # ω, α, K (-inf for none), range with the demand, P, the least W at which a(W) is taken, sums of log g and of the
    # log of decay in flight (0 if unaware)
    f8="weight alpha floor rate_min rate_max delivery lowest gates flight",
)
LINK = _record(
    i8="model", f8="capacity chance dark_count clicks modes werner_min werner_max", b1="knob"
)  # place in the tuple of link models; `knob`: whether w can be set
HOP = _record(i8="session link", f8="theta gamma")  # Γ is 0 if unaware


class Network(NamedTuple):
    """What the loops read: records of R sessions, L links, and H hops, session after session."""

    sessions: Any
    links: Any
    hops: Any


def of_measure(measure: measures.Measure) -> Any:
    """Its terms as a compiled function of W: f, W f', W² f''."""
    terms = register_jitable(measure.terms)

    def of_one(w):
        f, slope, bend = terms(w)
        return float(f), float(slope), float(bend)

    return _compiled(of_one, measure.name, measure.terms.__module__, measures, TRIPLE(types.float64))


def of_model(model: links.LinkModel) -> Any:
    """Its terms as a compiled function of w and hardware: b, b', b''."""
    terms = register_jitable(model.terms)

    def of_link(w, chance, dark_count, clicks):
        b, slope, bend = terms(w, Hardware(chance, dark_count, clicks))
        return float(b), float(slope), float(bend)

    return _compiled(of_link, model.name, model.terms.__module__, links, TRIPLE(*(types.float64,) * 4))


def _compiled(function, name, module, home, signature):
    if module == home.__name__:  # other people's code, which may be made of anything, is compiled every time
        function.__qualname__ = f"{name}_terms"
        compiled = entry(function)
    else:
        compiled = inner(function)
    compiled.compile(signature.args)
    compiled.disable_compile()  # so that numba passes it as a function of this signature
    return compiled


# --- links ------------------------------------------------------------------------------------------------------------


@inner
def made(models, link, w):
    """C and -dC/dw of a link at its w, pairs/s."""
    d, chance, modes = link.capacity, link.chance, link.modes
    b, slope, _ = models[link.model](w, chance, link.dark_count, link.clicks)
    if modes == 1.0:
        return d * b, -d * slope
    return d * in_modes(b, chance, modes), -d * slope * max(1.0 - chance * b, 0.0) ** (modes - 1.0)


@inner
def add(net, values, result):
    """[L] sums over hops of a value of their sessions [R]."""
    result[:] = 0.0
    for h in range(len(net.hops)):
        result[net.hops[h].link] += values[net.hops[h].session]


@inner
def saving(net, signal, slack, result):
    """g(s) of (18), [L]."""
    result[:] = 0.0
    for h in range(len(net.hops)):
        gamma = net.hops[h].gamma
        if gamma > 0.0:
            s = slack[net.hops[h].link]
            result[net.hops[h].link] += signal[net.hops[h].session] * gamma / (s * (s + gamma))


@inner
def solve_slack(net, price, signal, result):
    """The s with g(s) = λ [L], by Newton's method in logarithms; 0 where nobody is stored."""
    n = len(price)
    stake, terms, slopes = np.zeros(n), np.zeros(n), np.zeros(n)
    for h in range(len(net.hops)):
        stake[net.hops[h].link] += signal[net.hops[h].session] * net.hops[h].gamma
    for l in range(n):
        result[l] = min(math.sqrt(stake[l] / max(price[l], TINY)), LARGEST * net.links[l].capacity)
    for _ in range(SLACK_STEPS):
        terms[:], slopes[:] = 0.0, 0.0
        for h in range(len(net.hops)):
            l, gamma = net.hops[h].link, net.hops[h].gamma
            if gamma > 0.0 and result[l] > 0.0:
                s = result[l]
                term = signal[net.hops[h].session] * gamma / (s * (s + gamma))
                terms[l] += term
                slopes[l] += term * (1.0 + s / (s + gamma))
        for l in range(n):
            if slopes[l] > 0.0 and price[l] > 0.0:
                wanted = result[l] * math.exp(math.log(terms[l] / price[l]) * terms[l] / slopes[l])
                result[l] = min(wanted, LARGEST * net.links[l].capacity)


# --- what sessions hear -----------------------------------------------------------------------------------------------


@inner
def observe_paper(functions, models, net, gains, x, seen):
    """Rows [R, 3] of a state of the paper's form, where the slack is a variable."""
    n_links, n_sessions = len(net.links), len(net.sessions)
    werner, free = x[n_links + n_sessions : 2 * n_links + n_sessions], x[2 * n_links + n_sessions :]
    for r in range(n_sessions):
        price, fresh, stored = 0.0, net.sessions[r].gates, net.sessions[r].flight
        for h in range(net.sessions[r].start, net.sessions[r].end):
            l = net.hops[h].link
            price += net.hops[h].theta * x[l]
            fresh += math.log(werner[l])
            if net.hops[h].gamma > 0.0:
                slack = max(free[l], (1.0 - gains[3]) * made(models, net.links[l], werner[l])[0])
                stored += math.log(slack / (slack + net.hops[h].gamma))
        seen[r, 0], seen[r, 1], seen[r, 2] = price, fresh, stored


@inner
def observe_scaled(functions, models, net, gains, x, seen):
    """Rows [R, 3] of a state of the scaled form, where the slack is what traffic leaves."""
    n_links, n_sessions = len(net.links), len(net.sessions)
    slack, rates = np.zeros(n_links), np.exp(x[2 * n_links : 2 * n_links + n_sessions])
    for h in range(len(net.hops)):
        slack[net.hops[h].link] -= net.hops[h].theta * rates[net.hops[h].session]
    for l in range(n_links):
        slack[l] += made(models, net.links[l], -math.expm1(x[n_links + l]))[0]
    for r in range(n_sessions):
        price, fresh, stored = 0.0, net.sessions[r].gates, net.sessions[r].flight
        for h in range(net.sessions[r].start, net.sessions[r].end):
            l = net.hops[h].link
            price += net.hops[h].theta * math.exp(x[l])
            fresh += math.log(-math.expm1(x[n_links + l]))
            if net.hops[h].gamma > 0.0:
                left = max(slack[l], 1e-12)
                stored += math.log(left / (left + net.hops[h].gamma))
        seen[r, 0], seen[r, 1], seen[r, 2] = price, fresh, stored


# --- the paper's form -------------------------------------------------------------------------------------------------


@inner
def source(functions, session, price, log_werner, floor_price):
    """R of (15), and ω a x^(1 - α) + μ."""
    w, alpha = max(math.exp(log_werner), session.lowest), session.alpha
    f, slope, _ = functions[session.measure](w)
    wanted = np.inf
    if price > 0.0:
        wanted = (session.weight * (session.delivery * f) ** (1.0 - alpha) / price) ** (1.0 / alpha)
    rate = min(max(wanted, session.rate_min), session.rate_max)
    return rate, session.weight * (session.delivery * rate * f) ** (1.0 - alpha) * slope / f + floor_price


@inner
def step_paper(functions, models, net, gains, x, seen, delay, result):
    """One update by (14)-(17), in this order, each with what is new; with Γ > 0 (14'), (18) and (21)."""
    n_links, n_sessions = len(net.links), len(net.sessions)
    k_price, k_floor, k_werner, rho = gains[0], gains[1], gains[2], gains[3]
    at_werner, at_slack = n_links + n_sessions, 2 * n_links + n_sessions
    signal, load, value, saved = np.zeros(n_sessions), np.zeros(n_links), np.zeros(n_links), np.zeros(n_links)
    for r in range(n_sessions):
        log_werner = seen[r, 1] + seen[r, 2]
        floor_price = max(x[n_links + r] + k_floor * (net.sessions[r].floor - log_werner), 0.0)
        rate, signal[r] = source(functions, net.sessions[r], seen[r, 0], log_werner, floor_price)
        result[n_links + r] = floor_price
        for h in range(net.sessions[r].start, net.sessions[r].end):
            load[net.hops[h].link] += net.hops[h].theta * rate
    for l in range(n_links):
        capacity, _ = made(models, net.links[l], x[at_werner + l])
        slack = max(x[at_slack + l], (1.0 - rho) * capacity)
        result[l] = max(x[l] + k_price * (load[l] + slack - capacity), 0.0)
    free = result[at_slack:]
    solve_slack(net, result[:n_links], signal, free)
    add(net, signal, value)
    slacks = free.copy()
    for l in range(n_links):
        slacks[l] = max(free[l], (1.0 - rho) * made(models, net.links[l], x[at_werner + l])[0])
    saving(net, signal, slacks, saved)
    for l in range(n_links):
        w, price = x[at_werner + l], result[l]
        _, cost = made(models, net.links[l], w)
        own = price - (1.0 - rho) * max(price - saved[l], 0.0)
        wanted = w + k_werner * (value[l] / w - cost * own)
        result[at_werner + l] = min(max(wanted, net.links[l].werner_min), net.links[l].werner_max)
        if value[l] == 0.0 or not net.links[l].knob:
            result[at_werner + l] = w


@inner
def slope_paper(functions, models, net, gains, x, seen, result):
    """d/dt of the continuous form of (14), (16) and (17), held within λ, μ ≥ 0 and the links' ranges of w."""
    n_links, n_sessions = len(net.links), len(net.sessions)
    at_werner, rho = n_links + n_sessions, gains[3]
    signal, load, value = np.zeros(n_sessions), np.zeros(n_links), np.zeros(n_links)
    observe_paper(functions, models, net, gains, x, seen)
    result[:] = 0.0
    for r in range(n_sessions):
        log_werner, floor_price = seen[r, 1] + seen[r, 2], x[n_links + r]
        rate, signal[r] = source(functions, net.sessions[r], seen[r, 0], log_werner, floor_price)
        slope = gains[1] * (net.sessions[r].floor - log_werner)
        result[n_links + r] = slope if floor_price > 0.0 or slope > 0.0 else 0.0
        for h in range(net.sessions[r].start, net.sessions[r].end):
            load[net.hops[h].link] += net.hops[h].theta * rate
    add(net, signal, value)
    for l in range(n_links):
        w = x[at_werner + l]
        capacity, cost = made(models, net.links[l], w)
        slope = gains[0] * (load[l] - rho * capacity)
        result[l] = slope if x[l] > 0.0 or slope > 0.0 else 0.0
        slope = gains[2] * (value[l] / w - rho * cost * x[l])
        held = (w <= net.links[l].werner_min and slope < 0.0) or (w >= net.links[l].werner_max and slope > 0.0)
        if value[l] > 0.0 and net.links[l].knob and not held:
            result[at_werner + l] = slope


# --- the scaled form --------------------------------------------------------------------------------------------------


@inner
def cut(x, bound):
    """x, at most `bound` either way."""
    return min(max(x, -bound), bound)


@inner
def step_scaled(functions, models, net, gains, x, seen, delay, result):
    """One update by (22)-(24): sources and links at once, each with what was."""
    n_links, n_sessions = len(net.links), len(net.sessions)
    at_rate, at_signal = 2 * n_links, 2 * n_links + n_sessions
    at_stored, at_tilt = at_signal + n_sessions, at_signal + 2 * n_sessions
    _, _, _, k_floor, rate_step, signal_step, spread, memory, tilt_step, margin = gains
    for r in range(n_sessions):
        session = net.sessions[r]
        log_rate, log_signal, tilt = x[at_rate + r], x[at_signal + r], x[at_tilt + r]
        keep = 1.0 - 1.0 / max(memory, 1.0)
        stored = keep * x[at_stored + r] + (1.0 - keep) * math.exp(seen[r, 2])
        arrived = max(math.exp(seen[r, 1]) * stored, 1e-9)
        w = max(arrived, session.lowest)
        f, slope, bend = functions[session.measure](w)
        a = slope / f
        back = max((bend + slope * (1.0 - a)) / slope * seen[r, 1], 0.0)  # b: a'/a times log of fresh pairs' W
        to_value = (math.log(session.weight * a) - log_signal) / (1.0 + back)
        floor = max(session.floor, math.log(session.lowest)) if arrived < session.lowest else session.floor
        wanted = max(to_value, k_floor * (math.log(arrived) / floor - 1.0))
        pace = 1.0 / max(spread * delay[r], 1.0)
        most = math.log(session.weight / margin)
        result[at_signal + r] = min(log_signal + pace * cut(wanted, signal_step), most)
        bias = 1.0 - session.alpha
        step = cut(math.log(session.weight / max(seen[r, 0], TINY)) + tilt - log_rate, rate_step)
        low, high = math.log(session.rate_min), math.log(session.rate_max)
        result[at_rate + r] = min(max(log_rate + step, low), high)
        result[at_stored + r], result[at_tilt + r] = stored, tilt
        if arrived >= session.lowest:
            worth = math.log(session.delivery * f) + result[at_rate + r]
            result[at_tilt + r] += cut(tilt_step * (bias * worth - tilt), signal_step)
    _links_scaled(models, net, gains, x, result)


@inner
def _links_scaled(models, net, gains, x, result):
    n_links, n_sessions = len(net.links), len(net.sessions)
    at_rate, at_signal, at_tilt = 2 * n_links, 2 * n_links + n_sessions, 2 * n_links + 3 * n_sessions
    rho, k, kappa = gains[0], gains[1], gains[2]
    price = np.exp(x[:n_links])
    signal, rates = np.zeros(n_sessions), np.zeros(n_sessions)
    load, value, slacks, saved = np.zeros(n_links), np.zeros(n_links), np.zeros(n_links), np.zeros(n_links)
    for r in range(n_sessions):
        signal[r], rates[r] = math.exp(x[at_signal + r] + x[at_tilt + r]), math.exp(x[at_rate + r])
    for h in range(len(net.hops)):
        load[net.hops[h].link] += net.hops[h].theta * rates[net.hops[h].session]
    add(net, signal, value)
    solve_slack(net, price, signal, slacks)
    for l in range(n_links):
        capacity, _ = made(models, net.links[l], -math.expm1(x[n_links + l]))
        slacks[l] = max(slacks[l], (1.0 - rho) * capacity)
    saving(net, signal, slacks, saved)
    for l in range(n_links):
        log_loss = x[n_links + l]
        result[l], result[n_links + l] = x[l], log_loss
        if value[l] == 0.0 or net.links[l].capacity <= 0.0:
            continue
        w = -math.expm1(log_loss)
        capacity, cost = made(models, net.links[l], w)
        if not net.links[l].knob:
            cost = capacity / (1.0 - w)
        own = price[l] - (1.0 - rho) * max(price[l] - saved[l], 0.0)
        congestion = cut(math.log((load[l] + slacks[l]) / capacity), 1.0)
        worth = cut(math.log(value[l] / (cost * w * own)), 1.0)
        wanted = log_loss + k * (congestion - kappa * worth)
        result[n_links + l] = min(
            max(wanted, math.log1p(-net.links[l].werner_max)), math.log1p(-net.links[l].werner_min)
        )
        free = result[n_links + l] == wanted
        result[l] = x[l] + k * ((worth + kappa * congestion) if free else congestion)


# --- called from Python -----------------------------------------------------------------------------------------------


@entry
def iterate(functions, models, net, gains, scaled, x, delay, steps, every, given):
    """States [1 + steps/every, N] from x on, and what sessions heard before the last step, [R, 3].

    Session r hears of what was delay[r] updates ago; of what is `given` [R, 3], unless that is empty.
    """
    n, depth = len(net.sessions), np.max(delay) + 1
    heard, seen = np.zeros((depth, n, 3)), np.zeros((n, 3))
    states = np.zeros((1 + steps // every, len(x)))
    states[0] = x
    now, result = x.copy(), np.zeros_like(x)
    for t in range(max(steps, 1)):
        if scaled:
            observe_scaled(functions, models, net, gains, now, heard[t % depth])
        else:
            observe_paper(functions, models, net, gains, now, heard[t % depth])
        if steps == 0:
            return states, heard[0]
        for r in range(n):
            seen[r] = given[r] if len(given) > 0 else heard[max(t - delay[r], 0) % depth, r]
        if scaled:
            step_scaled(functions, models, net, gains, now, seen, delay, result)
        else:
            step_paper(functions, models, net, gains, now, seen, delay, result)
        now, result = result, now
        if (t + 1) % every == 0:
            states[(t + 1) // every] = now
    return states, seen


@entry
def flow(functions, models, net, gains, x, dt, steps, every):
    """States [1 + steps/every, N] in continuous time, and d/dt at the end: Runge and Kutta's method of order four."""
    seen = np.zeros((len(net.sessions), 3))
    states = np.zeros((1 + steps // every, len(x)))
    states[0] = x
    now, slopes = x.copy(), np.zeros((4, len(x)))
    for t in range(steps + 1):
        point = now
        for stage in range(4):
            slope_paper(functions, models, net, gains, point, seen, slopes[stage])
            if t == steps:
                break
            point = inside(net, now + (dt if stage == 2 else 0.5 * dt) * slopes[stage])
        if t == steps:
            break
        now = inside(net, now + dt / 6.0 * (slopes[0] + 2.0 * slopes[1] + 2.0 * slopes[2] + slopes[3]))
        if (t + 1) % every == 0:
            states[(t + 1) // every] = now
    return states, slopes[0]


@inner
def inside(net, x):
    """The nearest state with λ, μ ≥ 0 and w in the links' ranges; x itself is changed."""
    n_links, at_werner = len(net.links), len(net.links) + len(net.sessions)
    for i in range(at_werner):
        x[i] = max(x[i], 0.0)
    for l in range(n_links):
        if net.links[l].knob:
            x[at_werner + l] = min(max(x[at_werner + l], net.links[l].werner_min), net.links[l].werner_max)
    return x
