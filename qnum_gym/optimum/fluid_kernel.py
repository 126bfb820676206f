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


class Network(NamedTuple):
    """What the loops read; R sessions, L links, H hops, session after session."""

    measure: Any  # [R] place in the tuple of measures
    weight: Any  # [R]
    alpha: Any  # [R]
    floor: Any  # [R] K, -inf for none
    rate_min: Any  # [R] the demand included
    rate_max: Any  # [R]
    delivery: Any  # [R] P
    lowest: Any  # [R] the W at which a(W) is taken where W is lower
    gates: Any  # [R] sum of log g
    flight: Any  # [R] sum of the hops' log of decay in flight; 0 if unaware
    start: Any  # [R+1]
    session: Any  # [H]
    link: Any  # [H]
    theta: Any  # [H]
    gamma: Any  # [H] 0 if unaware
    model: Any  # [L] place in the tuple of link models
    capacity: Any  # [L]
    chance: Any  # [L]
    dark_count: Any  # [L]
    clicks: Any  # [L]
    modes: Any  # [L]
    werner_min: Any  # [L]
    werner_max: Any  # [L]
    knob: Any  # [L] whether w can be set


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
def made(models, net, l, w):
    """C and -dC/dw of a link at its w, pairs/s."""
    d, chance, modes = net.capacity[l], net.chance[l], net.modes[l]
    b, slope, _ = models[net.model[l]](w, chance, net.dark_count[l], net.clicks[l])
    if modes == 1.0:
        return d * b, -d * slope
    return d * in_modes(b, chance, modes), -d * slope * max(1.0 - chance * b, 0.0) ** (modes - 1.0)


@inner
def add(net, values, result):
    """[L] sums over hops of a value of their sessions [R]."""
    result[:] = 0.0
    for h in range(len(net.link)):
        result[net.link[h]] += values[net.session[h]]


@inner
def saving(net, signal, slack, result):
    """g(s) of (18), [L]."""
    result[:] = 0.0
    for h in range(len(net.link)):
        gamma = net.gamma[h]
        if gamma > 0.0:
            s = slack[net.link[h]]
            result[net.link[h]] += signal[net.session[h]] * gamma / (s * (s + gamma))


@inner
def solve_slack(net, price, signal, result):
    """The s with g(s) = λ [L], by Newton's method in logarithms; 0 where nobody is stored."""
    n = len(price)
    stake, terms, slopes = np.zeros(n), np.zeros(n), np.zeros(n)
    for h in range(len(net.link)):
        stake[net.link[h]] += signal[net.session[h]] * net.gamma[h]
    for l in range(n):
        result[l] = min(math.sqrt(stake[l] / max(price[l], TINY)), LARGEST * net.capacity[l])
    for _ in range(SLACK_STEPS):
        terms[:], slopes[:] = 0.0, 0.0
        for h in range(len(net.link)):
            l, gamma = net.link[h], net.gamma[h]
            if gamma > 0.0 and result[l] > 0.0:
                s = result[l]
                term = signal[net.session[h]] * gamma / (s * (s + gamma))
                terms[l] += term
                slopes[l] += term * (1.0 + s / (s + gamma))
        for l in range(n):
            if slopes[l] > 0.0 and price[l] > 0.0:
                wanted = result[l] * math.exp(math.log(terms[l] / price[l]) * terms[l] / slopes[l])
                result[l] = min(wanted, LARGEST * net.capacity[l])


# --- what sessions hear -----------------------------------------------------------------------------------------------


@inner
def observe_paper(functions, models, net, gains, x, seen):
    """Rows [R, 3] of a state of the paper's form, where the slack is a variable."""
    n_links, n_sessions = len(net.capacity), len(net.weight)
    werner, free = x[n_links + n_sessions : 2 * n_links + n_sessions], x[2 * n_links + n_sessions :]
    for r in range(n_sessions):
        price, fresh, stored = 0.0, net.gates[r], net.flight[r]
        for h in range(net.start[r], net.start[r + 1]):
            l = net.link[h]
            price += net.theta[h] * x[l]
            fresh += math.log(werner[l])
            if net.gamma[h] > 0.0:
                slack = max(free[l], (1.0 - gains[3]) * made(models, net, l, werner[l])[0])
                stored += math.log(slack / (slack + net.gamma[h]))
        seen[r, 0], seen[r, 1], seen[r, 2] = price, fresh, stored


@inner
def observe_scaled(functions, models, net, gains, x, seen):
    """Rows [R, 3] of a state of the scaled form, where the slack is what traffic leaves."""
    n_links, n_sessions = len(net.capacity), len(net.weight)
    slack, rates = np.zeros(n_links), np.exp(x[2 * n_links : 2 * n_links + n_sessions])
    for h in range(len(net.link)):
        slack[net.link[h]] -= net.theta[h] * rates[net.session[h]]
    for l in range(n_links):
        slack[l] += made(models, net, l, -math.expm1(x[n_links + l]))[0]
    for r in range(n_sessions):
        price, fresh, stored = 0.0, net.gates[r], net.flight[r]
        for h in range(net.start[r], net.start[r + 1]):
            l = net.link[h]
            price += net.theta[h] * math.exp(x[l])
            fresh += math.log(-math.expm1(x[n_links + l]))
            if net.gamma[h] > 0.0:
                left = max(slack[l], 1e-12)
                stored += math.log(left / (left + net.gamma[h]))
        seen[r, 0], seen[r, 1], seen[r, 2] = price, fresh, stored


# --- the paper's form -------------------------------------------------------------------------------------------------


@inner
def source(functions, net, r, price, log_werner, floor_price):
    """R of (15), and ω a x^(1 - α) + μ."""
    w, alpha = max(math.exp(log_werner), net.lowest[r]), net.alpha[r]
    f, slope, _ = functions[net.measure[r]](w)
    wanted = np.inf
    if price > 0.0:
        wanted = (net.weight[r] * (net.delivery[r] * f) ** (1.0 - alpha) / price) ** (1.0 / alpha)
    rate = min(max(wanted, net.rate_min[r]), net.rate_max[r])
    return rate, net.weight[r] * (net.delivery[r] * rate * f) ** (1.0 - alpha) * slope / f + floor_price


@inner
def step_paper(functions, models, net, gains, x, seen, delay, result):
    """One update by (14)-(17), in this order, each with what is new; with Γ > 0 (14'), (18) and (21)."""
    n_links, n_sessions = len(net.capacity), len(net.weight)
    k_price, k_floor, k_werner, rho = gains[0], gains[1], gains[2], gains[3]
    at_werner, at_slack = n_links + n_sessions, 2 * n_links + n_sessions
    signal, load, value, saved = np.zeros(n_sessions), np.zeros(n_links), np.zeros(n_links), np.zeros(n_links)
    for r in range(n_sessions):
        log_werner = seen[r, 1] + seen[r, 2]
        floor_price = max(x[n_links + r] + k_floor * (net.floor[r] - log_werner), 0.0)
        rate, signal[r] = source(functions, net, r, seen[r, 0], log_werner, floor_price)
        result[n_links + r] = floor_price
        for h in range(net.start[r], net.start[r + 1]):
            load[net.link[h]] += net.theta[h] * rate
    for l in range(n_links):
        capacity, _ = made(models, net, l, x[at_werner + l])
        slack = max(x[at_slack + l], (1.0 - rho) * capacity)
        result[l] = max(x[l] + k_price * (load[l] + slack - capacity), 0.0)
    free = result[at_slack:]
    solve_slack(net, result[:n_links], signal, free)
    add(net, signal, value)
    slacks = free.copy()
    for l in range(n_links):
        slacks[l] = max(free[l], (1.0 - rho) * made(models, net, l, x[at_werner + l])[0])
    saving(net, signal, slacks, saved)
    for l in range(n_links):
        w, price = x[at_werner + l], result[l]
        _, cost = made(models, net, l, w)
        own = price - (1.0 - rho) * max(price - saved[l], 0.0)
        wanted = w + k_werner * (value[l] / w - cost * own)
        result[at_werner + l] = min(max(wanted, net.werner_min[l]), net.werner_max[l])
        if value[l] == 0.0 or not net.knob[l]:
            result[at_werner + l] = w


@inner
def slope_paper(functions, models, net, gains, x, seen, result):
    """d/dt of the continuous form of (14), (16) and (17), held within λ, μ ≥ 0 and the links' ranges of w."""
    n_links, n_sessions = len(net.capacity), len(net.weight)
    at_werner, rho = n_links + n_sessions, gains[3]
    signal, load, value = np.zeros(n_sessions), np.zeros(n_links), np.zeros(n_links)
    observe_paper(functions, models, net, gains, x, seen)
    result[:] = 0.0
    for r in range(n_sessions):
        log_werner, floor_price = seen[r, 1] + seen[r, 2], x[n_links + r]
        rate, signal[r] = source(functions, net, r, seen[r, 0], log_werner, floor_price)
        slope = gains[1] * (net.floor[r] - log_werner)
        result[n_links + r] = slope if floor_price > 0.0 or slope > 0.0 else 0.0
        for h in range(net.start[r], net.start[r + 1]):
            load[net.link[h]] += net.theta[h] * rate
    add(net, signal, value)
    for l in range(n_links):
        w = x[at_werner + l]
        capacity, cost = made(models, net, l, w)
        slope = gains[0] * (load[l] - rho * capacity)
        result[l] = slope if x[l] > 0.0 or slope > 0.0 else 0.0
        slope = gains[2] * (value[l] / w - rho * cost * x[l])
        held = (w <= net.werner_min[l] and slope < 0.0) or (w >= net.werner_max[l] and slope > 0.0)
        if value[l] > 0.0 and net.knob[l] and not held:
            result[at_werner + l] = slope


# --- the scaled form --------------------------------------------------------------------------------------------------


@inner
def cut(x, bound):
    """x, at most `bound` either way."""
    return min(max(x, -bound), bound)


@inner
def step_scaled(functions, models, net, gains, x, seen, delay, result):
    """One update by (22)-(24): sources and links at once, each with what was."""
    n_links, n_sessions = len(net.capacity), len(net.weight)
    at_rate, at_signal = 2 * n_links, 2 * n_links + n_sessions
    at_stored, at_tilt = at_signal + n_sessions, at_signal + 2 * n_sessions
    _, _, _, k_floor, rate_step, signal_step, spread, memory, tilt_step, margin = gains
    for r in range(n_sessions):
        log_rate, log_signal, tilt = x[at_rate + r], x[at_signal + r], x[at_tilt + r]
        keep = 1.0 - 1.0 / max(memory, 1.0)
        stored = keep * x[at_stored + r] + (1.0 - keep) * math.exp(seen[r, 2])
        arrived = max(math.exp(seen[r, 1]) * stored, 1e-9)
        w = max(arrived, net.lowest[r])
        f, slope, bend = functions[net.measure[r]](w)
        a = slope / f
        back = max((bend + slope * (1.0 - a)) / slope * seen[r, 1], 0.0)  # b: a'/a times log of fresh pairs' W
        to_value = (math.log(net.weight[r] * a) - log_signal) / (1.0 + back)
        floor = max(net.floor[r], math.log(net.lowest[r])) if arrived < net.lowest[r] else net.floor[r]
        wanted = max(to_value, k_floor * (math.log(arrived) / floor - 1.0))
        pace = 1.0 / max(spread * delay[r], 1.0)
        most = math.log(net.weight[r] / margin)
        result[at_signal + r] = min(log_signal + pace * cut(wanted, signal_step), most)
        bias = 1.0 - net.alpha[r]
        step = cut(math.log(net.weight[r] / max(seen[r, 0], TINY)) + tilt - log_rate, rate_step)
        low, high = math.log(net.rate_min[r]), math.log(net.rate_max[r])
        result[at_rate + r] = min(max(log_rate + step, low), high)
        result[at_stored + r], result[at_tilt + r] = stored, tilt
        if arrived >= net.lowest[r]:
            worth = math.log(net.delivery[r] * f) + result[at_rate + r]
            result[at_tilt + r] += cut(tilt_step * (bias * worth - tilt), signal_step)
    _links_scaled(models, net, gains, x, result)


@inner
def _links_scaled(models, net, gains, x, result):
    n_links, n_sessions = len(net.capacity), len(net.weight)
    at_rate, at_signal, at_tilt = 2 * n_links, 2 * n_links + n_sessions, 2 * n_links + 3 * n_sessions
    rho, k, kappa = gains[0], gains[1], gains[2]
    price = np.exp(x[:n_links])
    signal, rates = np.zeros(n_sessions), np.zeros(n_sessions)
    load, value, slacks, saved = np.zeros(n_links), np.zeros(n_links), np.zeros(n_links), np.zeros(n_links)
    for r in range(n_sessions):
        signal[r], rates[r] = math.exp(x[at_signal + r] + x[at_tilt + r]), math.exp(x[at_rate + r])
    for h in range(len(net.link)):
        load[net.link[h]] += net.theta[h] * rates[net.session[h]]
    add(net, signal, value)
    solve_slack(net, price, signal, slacks)
    for l in range(n_links):
        capacity, _ = made(models, net, l, -math.expm1(x[n_links + l]))
        slacks[l] = max(slacks[l], (1.0 - rho) * capacity)
    saving(net, signal, slacks, saved)
    for l in range(n_links):
        log_loss = x[n_links + l]
        result[l], result[n_links + l] = x[l], log_loss
        if value[l] == 0.0 or net.capacity[l] <= 0.0:
            continue
        w = -math.expm1(log_loss)
        capacity, cost = made(models, net, l, w)
        if not net.knob[l]:
            cost = capacity / (1.0 - w)
        own = price[l] - (1.0 - rho) * max(price[l] - saved[l], 0.0)
        congestion = cut(math.log((load[l] + slacks[l]) / capacity), 1.0)
        worth = cut(math.log(value[l] / (cost * w * own)), 1.0)
        wanted = log_loss + k * (congestion - kappa * worth)
        result[n_links + l] = min(max(wanted, math.log1p(-net.werner_max[l])), math.log1p(-net.werner_min[l]))
        free = result[n_links + l] == wanted
        result[l] = x[l] + k * ((worth + kappa * congestion) if free else congestion)


# --- called from Python -----------------------------------------------------------------------------------------------


@entry
def iterate(functions, models, net, gains, scaled, x, delay, steps, every, given):
    """States [1 + steps/every, N] from x on, and what sessions heard before the last step, [R, 3].

    Session r hears of what was delay[r] updates ago; of what is `given` [R, 3], unless that is empty.
    """
    n, depth = len(net.weight), np.max(delay) + 1
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
    seen = np.zeros((len(net.weight), 3))
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
    n_links, at_werner = len(net.capacity), len(net.capacity) + len(net.weight)
    for i in range(at_werner):
        x[i] = max(x[i], 0.0)
    for l in range(n_links):
        if net.knob[l]:
            x[at_werner + l] = min(max(x[at_werner + l], net.werner_min[l]), net.werner_max[l])
    return x
