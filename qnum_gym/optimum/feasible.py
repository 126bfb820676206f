"""A strictly feasible point to start from, or the reason why there is none [ours]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qnum_gym.optimum.formulation import Model, infeasible
from qnum_gym.optimum.interior import maximise, start
from qnum_gym.optimum.matrices import Floats, Ints, totals
from qnum_gym.optimum.problem import InfeasibleError, Problem
from qnum_gym.optimum.program import Worth, WorthSlopes
from qnum_gym.physics.werner import fidelity

MARGIN = 1e-9  # log W by which a session must be able to exceed what it needs
SHARES = (0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)  # of the way from the lowest to the highest admissible w
NOTICED = 0.01  # share of the highest price below which a link does not stand in the way
LOADS = (0.5, 0.2, 0.05, 1e-3, 1e-6)  # share of the spare capacity given to rates beyond the lowest


class RivalryError(InfeasibleError):
    """Sessions that can not be served together; `sessions` begins with those that matter most."""


def start_point(problem: Problem, model: Model) -> Floats:
    """z = (R, w, s), strictly feasible.

    Raises:
        RivalryError: there is none, though not for one session's sake alone; names more sessions than it takes.
        InfeasibleError: there is none for some sessions, even alone; names them.
    """
    low_rates = _rates_to_start(problem, model)
    program = model.program
    best, best_value = None, -np.inf
    for load in LOADS:
        for share in SHARES:
            z = _candidate(model, low_rates, share, load)
            s = program.log_werner(z)
            if (s > program.floor).all() and (value := program.objective(z, s)) > best_value:
                best, best_value = z, value
        if best is not None:
            break
    if best is None:
        _refuse_hopeless(problem, model)
        best = _search(problem, model, _candidate(model, low_rates, SHARES[2], 0.0))
    return best


def smallest_rivalry(problem: Problem, error: RivalryError, attempt: Callable[[Problem], object]) -> InfeasibleError:
    """The same of sessions of which all but any one could be served together; there may be other such sets.

    Of a list that is infeasible, the session that ends its shortest infeasible beginning is needed, and those behind
    it are not. So one search after the other, among ever fewer sessions, finds one needed session after the other.

    Args:
        problem: without a solution.
        error: says so.
        attempt: raises InfeasibleError for a problem without a solution.
    """
    reason: InfeasibleError = error
    needed: list[int] = []
    others = list(error.sessions)
    while others:
        served, refused = 0, len(others)  # how many of the others, beside those needed, can be served, and can not
        while refused - served > 1:
            tried = min(max(1, 2 * served), (served + refused) // 2)  # small problems take least time
            found = _why_not(problem, needed + others[:tried], attempt)
            if found is None:
                served = tried
            else:
                refused, reason = tried, found
        needed.append(others[refused - 1])
        found = _why_not(problem, needed, attempt)
        if found is not None:
            reason = found
            break
        others = [r for r in reason.sessions if r in others[: refused - 1]]  # those that matter most first
    return InfeasibleError(str(reason), tuple(sorted(reason.sessions)), reason.links)


def _why_not(problem: Problem, sessions: list[int], attempt: Callable[[Problem], object]) -> InfeasibleError | None:
    """What keeps the `sessions` from being served if all others are off."""
    try:
        attempt(problem.without(~np.isin(np.arange(len(problem.active)), sessions)))
    except InfeasibleError as error:
        return error
    return None


def _rivalry(problem: Problem, sessions: Ints, links: Ints, why: str) -> RivalryError:
    """`sessions` begins with those that matter most."""
    text = f"{problem.describe(np.sort(sessions))}: {why}"
    return RivalryError(text, tuple(sessions.tolist()), tuple(links.tolist()))


def _rates_to_start(problem: Problem, model: Model) -> Floats:
    """Rates a hair above the lowest admissible ones; raises if even those do not fit at the lowest w."""
    program, n_sessions = model.program, len(model.sessions)
    low, high = program.low[:n_sessions], program.high[:n_sessions]
    if (low > high).any():
        why = "delivering min_rate takes a higher injection rate than rate_range allows"
        raise infeasible(problem, model.sessions[low > high], why)
    most = model.max_utilisation * model.capacity * (1.0 - program.low[n_sessions:][: len(model.links)])
    load = model.thinning @ low
    room = 1.0 - load / most
    if (room < MARGIN).any():
        worst = int(np.argmin(room))
        row, link = model.thinning[[worst]], model.links[[worst]]
        largest_first = row.indices[np.argsort(-row.data * low[row.indices], kind="stable")]
        asked = f"{load[worst]:g}/s of {problem.describe_links(link)}, which carries {most[worst]:g}/s"
        raise _rivalry(
            problem, model.sessions[largest_first], link, f"their lowest rates ask {asked} (a min_rate is one)"
        )
    return low + 1e-7 * np.minimum(high - low, room.min() * np.maximum(low, most.min() / n_sessions))


def _candidate(model: Model, low_rates: Floats, share: Floats | float, load: float) -> Floats:
    """A point within all linear constraints: v `share` of the way up, rates an equal split of `load` of the rest."""
    program, n_sessions, n_links = model.program, len(model.sessions), len(model.links)
    v_low, v_high = (bound[n_sessions : n_sessions + n_links] for bound in (program.low, program.high))
    usable = model.max_utilisation * model.capacity
    needed = model.thinning @ low_rates
    v = v_low + share * np.maximum(np.minimum(v_high, 1.0 - needed / usable) - v_low, 0.0)
    split = load * (usable * (1.0 - v) - needed) / np.diff(model.thinning.indptr)
    smallest = np.minimum.reduceat(split[program.hop_link], program.hop_start[:-1])
    ceiling = 0.5 * (low_rates + program.high[:n_sessions])
    rates = np.where(program.free[:n_sessions], np.minimum(low_rates + smallest, ceiling), low_rates)
    slack = 0.999 * (model.capacity * (1.0 - v) - model.thinning @ rates)
    return np.concatenate([rates, v, slack[model.queues]])


def _refuse_hopeless(problem: Problem, model: Model) -> None:
    """Raises for sessions that could not reach what they need with the whole network to themselves."""
    program, reach = model.program, highest(model)
    hopeless = np.flatnonzero(reach <= program.floor + MARGIN)
    if len(hopeless):
        worst = hopeless[np.argmin((reach - program.floor)[hopeless])]
        why = (
            "even alone on the network, at the lowest rate, the fidelity stays below what is needed "
            f"({fidelity(np.exp(reach[worst])):.6g} at best, needed {fidelity(np.exp(program.floor[worst])):.6g}, for "
            "min_fidelity or for pairs that are worth anything); leave_out_hopeless=True counts the other sessions, as "
            "simulate and evaluate do"
        )
        raise infeasible(problem, model.sessions[hopeless], why)


def highest(model: Model) -> Floats:
    """[R'] log W that each session reaches alone in the network, at its lowest rate; no allocation gives more."""
    program, n_sessions = model.program, len(model.sessions)
    link = program.hop_link
    d, gamma = model.capacity[link], program.gamma
    fresh, y = program.fresh[link], program.low[program.hop_session] * model.reaching
    v = fresh.best(gamma, y, program.low[n_sessions + link], program.high[n_sessions + link])
    slack = np.maximum(d * (1.0 - v) - y, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.log(fresh.werner(v)) - np.where(gamma > 0.0, np.log1p(gamma / slack), 0.0)
    return program.constant + totals(program.hop_session, terms, n_sessions)


def another_start(model: Model, z: Floats, rng: np.random.Generator) -> Floats:
    """A random strictly feasible point: some way, or all, from `z`, which is one, to one with random loads and v."""
    program, n_sessions = model.program, len(model.sessions)
    low_rates = np.minimum(z[:n_sessions], (1.0 + 1e-7) * program.low[:n_sessions])
    share = rng.uniform(0.0, 1.0, len(model.links))
    aim = _candidate(model, low_rates, share, float(10 ** rng.uniform(-3.0, 0.0)))
    aim[:n_sessions] = low_rates + 10 ** rng.uniform(-3.0, 0.0, n_sessions) * (aim[:n_sessions] - low_rates)
    way = 1.0
    while way > 1e-6:
        there = z + way * (aim - z)
        s = program.log_werner(there)
        if (program.rooms(there, program.gap(there), s) > 0.0).all() and np.isfinite(program.objective(there, s)):
            return there
        way *= 0.5
    return z


def _search(problem: Problem, model: Model, z: Floats) -> Floats:
    """Maximises the smallest margin of S over what is needed, at the lowest rates, by the method of centres.

    At the centre of sum log(S - needed + shift) with multipliers nu = 1/(S - needed + shift), concavity bounds every
    reachable margin by (number of barrier terms)/sum(nu) - shift: once that is no longer positive there is no point.
    """
    original, n_sessions, mu = model.program, len(model.sessions), 1e-4
    fixed = slice(n_sessions)
    low, high = original.low.copy(), original.high.copy()
    low[fixed] = high[fixed] = z[fixed]
    relaxed = replace(
        original, alpha=1.0, rate_weight=np.zeros(n_sessions), floor=np.full(n_sessions, -np.inf), low=low, high=high
    )
    margin = original.log_werner(z) - original.floor
    shift = 1.0 - float(margin.min())
    multipliers, price = np.ones(n_sessions), np.zeros(relaxed.n_linear)
    for _ in range(60):
        worth, worth_slopes = _log_margin(original.floor - shift)
        program = replace(relaxed, worth_weight=np.ones(n_sessions), worth=worth, worth_slopes=worth_slopes)
        point = maximise(program, start(program, z, mu), mu=mu, mu_end=mu)
        z, price = point.z, relaxed.split(point.price)[0]
        margin = original.log_werner(z) - original.floor
        if margin.min() > 0.0:
            return z
        multipliers = 1.0 / (margin + shift)
        if (n_sessions + mu * len(point.price)) / multipliers.sum() - shift <= MARGIN:
            break
        shift = 0.1 * shift - 0.9 * float(margin.min())
    links = _contended(model, price)
    why = "they can not all reach the Werner parameter they need, even at their lowest rates (the worst stays "
    why += f"{-100.0 * np.expm1(margin.min()):.2g} % below), over {problem.describe_links(links)}"
    raise _rivalry(problem, model.sessions[np.argsort(-multipliers, kind="stable")], links, why)


def _contended(model: Model, price: Floats) -> Ints:
    """The links for whose capacity sessions compete, by their prices; where none is shared, those that hold one up."""
    at = np.concatenate([model.queues, model.capped])
    prices = totals(at, price, len(model.links))
    shared = np.diff(model.thinning.indptr) > 1
    if shared.any():
        prices = np.where(shared, prices, 0.0)
    return model.links[prices > NOTICED * prices.max()]


def _log_margin(base: Floats) -> tuple[Worth, WorthSlopes]:
    """phi(S) = log(S - base), and its derivatives."""

    def worth(s: Floats) -> Floats:
        margin = s - base
        return np.log(margin, out=np.full_like(margin, -np.inf), where=margin > 0.0)

    return worth, lambda s: (1.0 / (s - base), -1.0 / (s - base) ** 2)
