# pyright: basic
"""The arithmetic of observations and scores as plain loops over records, compiled by numba.

Every rule is a function of one network. `…_all` call it for some or all of n networks, whose arrays have a first axis
of n, on the records in the simulators themselves. Utilities need f(W), which comes from the registered measures (see
`formulas.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from qnum_gym import caching
from qnum_gym.optimum import fairness, problem
from qnum_gym.optimum.problem import RATE_FLOOR
from qnum_gym.physics import links as link_models
from qnum_gym.physics import werner
from qnum_gym.simulator import formulas, kernel, pointers, state
from qnum_gym.simulator.formulas import coordinate, fill_worth
from qnum_gym.simulator.kernel.view import view
from qnum_gym.simulator.state import NEVER, REASONS, SECOND

inner: Any = njit(nogil=True, error_model="numpy")
# called from Python
entry: Any = caching.entry(fairness, problem, link_models, werner, formulas, state, pointers, kernel, file=__file__)

# nats per unit of weight: least U₁ − U₀ that the reward is counted in, which bounds it; times x^(1 − α)
SMALLEST_SPAN = 0.05
KEEP = 0.9  # share of a smoothed sum left after one interval: its mean age is that of the reward's window
# of an `Outcome`, one each
FIGURES = (
    *("score", "relative", "utility", "geometric_mean", "optimum", "seconds", "cost", "fairness"),
    *("jain", "worst", "worst_session", "mean_age", "waste", "requests", "completed", "completion_time"),
)
ROWS = (  # of an `Outcome`, one for each session
    *("rate", "werner", "fidelity", "session_relative", "utilities"),
    *("fidelity_shortfall", "rate_shortfall", "counted", "share", "age"),
)
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
SESSION_SCALE = _floats("hops lowest decades worthless utility_span", "f8")
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
def limited(relative):
    """The reward `relative` within ±1000, which only alpha above 1 exceeds."""
    return min(max(relative, -1000.0), 1000.0)


@inner
def ratio(numerator, denominator):
    """0 where there is nothing to divide by."""
    return numerator / denominator if denominator > 0.0 else 0.0


@inner
def log10(value):
    """Finite also for 0."""
    return math.log10(max(value, NOTHING))


fidelity: Any = inner(werner.fidelity)
fair_utility: Any = inner(fairness.utility)
certainty_equivalent: Any = inner(fairness.certainty_equivalent)


@inner
def utility(rate, worth, alpha):
    """U of max(R f(W), floor), as `optimum.Problem.utilities`."""
    return fair_utility(max(rate * worth, RATE_FLOOR), alpha)


# --- observations -----------------------------------------------------------------------------------------------------


@inner
def remember(n, sessions, seconds, memory, werner):
    """Add an interval of `seconds` to the n sources' fading sums; `werner` becomes the mean W of their pairs."""
    for r in range(n):
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


@inner
def fill_session_rows(n, sessions, interval, scale, memory, werner, worth, slope, rows):
    """The n sources' rows of an observation, each column in [-1, 1] (`observation.py` says what they mean)."""
    for r in range(n):
        s, m, c, row = sessions[r], memory[r], scale[r], rows[r]
        some = m.delivered > 0.0
        rate = ratio(m.delivered, m.seconds)
        elasticity = log10(slope[r] / worth[r]) - 1.0 if worth[r] > 0.0 else 1.0
        row.rate = unit((log10(s.rate) - c.lowest) / c.decades * 2.0 - 1.0)
        row.signal = unit(s.signal)
        row.active = 1.0 if s.active else -1.0
        row.paused = 1.0 if s.paused else -1.0
        row.window = unit(2.0 * s.unacked / s.window - 1.0)
        row.weight = unit(log10(s.weight) / 2.0)
        row.hops = 1.0 / c.hops
        row.goodput = unit(ratio(m.delivered, m.injected) - 1.0)
        row.delivered = unit((log10(rate) - c.lowest) / c.decades * 2.0 - 1.0)
        row.werner = unit((werner[r] - c.worthless) / (1.0 - c.worthless)) if some else -1.0
        row.elasticity = unit(elasticity)
        row.utility = unit((utility(rate, worth[r], 1.0) - math.log(RATE_FLOOR)) / c.utility_span * 2.0 - 1.0)
        row.storage = unit(1.0 - math.exp(-ratio(m.decay, m.delivered)))
        row.latency = unit(log10(ratio(m.latency, m.delivered) / interval) / 2.0)
        row.lost = ratio(m.lost, m.lost + m.delivered)
        row.price = unit(ratio(m.price, m.delivered) / c.hops)


@inner
def fill_link_rows(table, n, links, n_hops, hops, now, seconds, lifetime, scale, memory, rows):
    """The n links' rows likewise; of sessions a link knows what headers no older than `lifetime` told it."""
    heard = np.zeros((n, 4))  # rates, rates from another link, sessions, signals
    for h in range(n_hops):
        header = hops[h]
        if header.seen != NEVER and (now - header.seen) / SECOND <= lifetime:
            of_link = heard[header.link]
            of_link[0] += header.rate
            of_link[1] += header.rate if header.index > 0 else 0.0
            of_link[2] += 1.0
            of_link[3] += header.header_signal
    length = max(seconds, 1.0 / SECOND)
    for l in range(n):
        k, m, c, row = links[l], memory[l], scale[l], rows[l]
        rates, transit, sessions, signals = heard[l]
        made = formulas.rate(table, k)
        m.arrivals = KEEP * m.arrivals + k.arrivals
        m.possible = KEEP * m.possible + made * seconds
        m.dropped = KEEP * m.dropped + k.dropped
        m.departures = KEEP * m.departures + k.departures
        m.sojourn = KEEP * m.sojourn + k.sojourn / SECOND * made
        row.werner = unit((coordinate(k.werner) - c.lowest) / c.span * 2.0 - 1.0) if c.span > 0.0 else 0.0
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


@entry
def encode(table, sessions, links, hops, first, when, intervals, lifetime, codes, of_sessions, of_links, rows):
    """Take one interval of n networks side by side into their controllers' memory, and fill the rows.

    table: of `formulas`. hops: the last headers seen, which count links network by network. first: [n + 1, 3] where a
    network's sessions, links and hops begin. when: [n] ns now, [n] seconds of the interval. of_sessions, of_links:
    (scale, memory). rows: of sessions and links.
    """
    w, worth, slope = np.empty(len(sessions)), np.empty(len(sessions)), np.empty(len(sessions))
    for i in range(len(intervals)):
        (r, l, h), (r_end, l_end, h_end) = first[i], first[i + 1]
        now, seconds, n = when[0][i], when[1][i], r_end - r
        seen, memory, of_pairs = sessions[r:r_end], of_sessions[1][r:r_end], w[r:r_end]
        f, g = worth[r:r_end], slope[r:r_end]
        remember(n, seen, seconds, memory, of_pairs)
        fill_worth(table, codes[r:r_end], of_pairs, f, g)
        fill_session_rows(n, seen, intervals[i], of_sessions[0][r:r_end], memory, of_pairs, f, g, rows[0][r:r_end])
        forgotten, scale_of_links, memory_of_links = lifetime * intervals[i], of_links[0][l:l_end], of_links[1][l:l_end]
        fill_link_rows(
            table,
            l_end - l,
            links[l:l_end],
            h_end - h,
            hops[h:h_end],
            now,
            seconds,
            forgotten,
            scale_of_links,
            memory_of_links,
            rows[1][l:l_end],
        )


# --- scores -----------------------------------------------------------------------------------------------------------


@inner
def fill_score_row(n, sessions, made, now, interval, times, per_second, row):
    """What an interval that ends now, and in which `made` pairs were made, came to: a row of sums (`scores.Score`)."""
    end, begin = now / SECOND, (now - interval) / SECOND
    row[:] = 0.0
    i = 0
    while i + 1 < len(times) and times[i + 1] <= begin:
        i += 1
    while True:
        until = min(end, times[i + 1]) if i + 1 < len(times) else end
        for j in range(3):
            row[9 * n + j] += (until - begin) * per_second[i, 4 * n + j]
        for r in range(n):
            lasts = until - begin
            if sessions[r].pairs > 0 and sessions[r].served >= sessions[r].pairs:  # judged until it had its pairs
                lasts = max(min(until, sessions[r].ended / SECOND) - begin, 0.0)
                row[9 * n] -= (until - begin - lasts) * per_second[i, 4 * n + 4 + r]
                row[9 * n + 1] -= (until - begin - lasts) * per_second[i, 5 * n + 4 + r]
            row[2 * n + r] += lasts * per_second[i, n + r]
            row[6 * n + r] += lasts * per_second[i, r]
            row[4 * n + r] += lasts * per_second[i, 2 * n + r]
            row[5 * n + r] += lasts * per_second[i, 3 * n + r]
        if until >= end:
            break
        begin = until
        i += 1
    for r in range(n):
        if per_second[i, r] == 0.0:
            row[r] = sessions[r].delivered
            row[n + r] = sessions[r].werner
            row[3 * n + r] = sessions[r].worth
        else:
            row[7 * n + r] = sessions[r].delivered
            row[8 * n + r] = sessions[r].werner
        if per_second[i, n + r] > 0.0:
            row[9 * n + 3 + r] = sessions[r].age / SECOND**2
        row[10 * n + 4] += sessions[r].delivered * sessions[r].hops
        if sessions[r].pairs > 0 and now - interval <= sessions[r].ended < now:
            row[10 * n + 5] += 1.0
            if sessions[r].served >= sessions[r].pairs:
                row[10 * n + 6] += 1.0
                row[10 * n + 7] += (sessions[r].ended - sessions[r].began) / SECOND
    row[10 * n + 3], row[10 * n + 8] = made, per_second[i, 4 * n + 3]


@inner
def add_up(n, rows, which, total, rate, werner):
    """Sums of the rows numbered `which`, of all if negative; from them each session's rate of delivery and mean W."""
    total[:] = 0.0
    for i in range(rows.shape[0]):
        if which < 0 or rows[i, 10 * n + 8] == which:
            for j in range(10 * n + 8):
                total[j] += rows[i, j]
    for r in range(n):
        if total[2 * n + r] > 0.0:
            rate[r] = ratio(total[r], total[2 * n + r])
            werner[r] = ratio(total[n + r], total[r])
        else:
            rate[r] = ratio(total[7 * n + r], total[6 * n + r])
            werner[r] = ratio(total[8 * n + r], total[7 * n + r])


@inner
def cost(penalty, missing):
    """Of a broken promise; free where the promise costs the optimum nothing, also where infinitely much is missing."""
    return penalty * max(missing, 0.0) if penalty > 0.0 else 0.0


@inner
def fill_utilities(n, part, total, rate, werner, worth, rules, rows):
    """Add to `rows` what the part of a stretch came to in which the sessions wanted what `rules` say.

    part, total: sums of its rows, and of all. rate, werner, worth: [n] in this part. Means are over the time counted.

    Returns: sums over sessions of share U_r with penalties and without, of the shares, and the cost of broken promises.
    """
    weight, log_floor, demand, apart, fair = rules
    alpha = fair[0]
    least = fair_utility(RATE_FLOOR, alpha)
    utilities, below_floor, below_demand, shares = rows[4], rows[5], rows[6], rows[8]
    counted, worths, floor_penalty, demand_penalty = part[2 * n :], part[3 * n :], part[4 * n :], part[5 * n :]
    whole, plain, weights, broken = 0.0, 0.0, 0.0, 0.0
    for r in range(n):
        if counted[r] > 0.0:
            f = ratio(worths[r], part[r]) if apart[r] != 0.0 else worth[r]
            u = utility(rate[r], f, alpha)
            log_werner = math.log(werner[r]) if werner[r] > 0.0 else -np.inf
            missing = math.log(demand[r]) - math.log(rate[r]) if demand[r] > 0.0 and rate[r] > 0.0 else np.inf
            of_floor = cost(floor_penalty[r] / counted[r], log_floor[r] - log_werner)
            of_demand = cost(demand_penalty[r] / counted[r], missing)
            with_penalty = max(u - (of_floor + of_demand) / weight[r], least)
            lacks_fidelity = max(0.75 * (math.exp(log_floor[r]) - werner[r]), 0.0)
            lacks_rate = max(demand[r] - rate[r], 0.0)
            of_time = counted[r] / total[2 * n + r]
            utilities[r] += of_time * with_penalty
            below_floor[r] += of_time * lacks_fidelity
            below_demand[r] += of_time * lacks_rate
            broken += of_time * (ratio(lacks_fidelity, fidelity(math.exp(log_floor[r]))) + ratio(lacks_rate, demand[r]))
            share = weight[r] * counted[r] / total[9 * n + 2]
            shares[r] += share
            weights += share
            whole += share * with_penalty
            plain += share * u
    return whole, plain, weights, broken


@inner
def fill_distribution(n, total, worth, apart, figures, rows):
    """How evenly R f⁺(W) is distributed over the sessions that counted, and how old their entanglement is."""
    rate, ages = rows[0], rows[9]
    sessions, amount, square, age = 0, 0.0, 0.0, 0.0
    for r in range(n):
        if total[2 * n + r] > 0.0:
            x = rate[r] * max(ratio(total[3 * n + r], total[r]) if apart[r] != 0.0 else worth[r], 0.0)
            if sessions == 0 or x < figures[9]:
                figures[9], figures[10] = x, r
            ages[r] = total[9 * n + 3 + r] / total[2 * n + r]
            sessions, amount, square, age = sessions + 1, amount + x, square + x**2, age + ages[r]
    figures[8], figures[11] = ratio(amount**2, sessions * square), ratio(age, sessions)


@inner
def fill_score(n, total, alpha, whole, plain, weights, figures, rows):
    """Score, `relative` and geometric means of what `fill_utilities` found."""
    relative, utilities = rows[3], rows[4]
    low, high = total[9 * n] / total[9 * n + 2], total[9 * n + 1] / total[9 * n + 2]
    best = certainty_equivalent(high / weights, alpha)
    span = max(high - low, SMALLEST_SPAN * weights * best ** (1.0 - alpha))
    for r in range(n):
        if total[2 * n + r] > 0.0:
            relative[r] = limited((utilities[r] * weights - low) / span)
    if alpha == 1.0:
        figures[0] = math.exp((whole - high) / weights)
    else:
        figures[0] = certainty_equivalent(whole / weights, alpha) / best
    figures[1], figures[2] = limited((whole - low) / span), whole
    figures[3], figures[4] = certainty_equivalent(plain / weights, alpha), best


@inner
def judge(n, sums, table, codes, rules, nothing, figures, rows):
    """Add up sums [k, 10n + 9] of k intervals of n sessions, and fill in what they come to.

    table: `formulas.TABLE`. rules: [·, 5, n] as of `Score`. nothing: the score where no session counted. figures: of
    `FIGURES`. rows: [·, n] of `ROWS`. Of longer arrays the rest stays as it is.
    """
    total, worth, slope = np.empty(10 * n + 8), np.empty(n), np.empty(n)
    add_up(n, sums, -1, total, rows[0], rows[1])
    fill_worth(table, codes[:n], rows[1], worth, slope)
    apart, alpha = rules[0, 3], rules[0, 4, 0]
    figures[:] = 0.0
    figures[0], figures[5], figures[7] = nothing, total[9 * n + 2], alpha
    figures[10], figures[12] = -1.0, total[10 * n + 3] / max(total[10 * n + 4], 1.0)
    figures[13], figures[14], figures[15] = (
        total[10 * n + 5],
        total[10 * n + 6],
        ratio(total[10 * n + 7], total[10 * n + 6]),
    )
    for r in range(n):
        rows[2, r], rows[7, r] = fidelity(rows[1, r]), total[2 * n + r]
        for k in (3, 4, 5, 6, 8, 9):
            rows[k, r] = 0.0
    fill_distribution(n, total, worth, apart, figures, rows)
    whole, plain, weights, broken = 0.0, 0.0, 0.0, 0.0
    if len(rules) == 1:
        whole, plain, weights, broken = fill_utilities(n, total, total, rows[0], rows[1], worth, rules[0], rows)
    else:
        part, rate, werner = np.empty(10 * n + 8), np.empty(n), np.empty(n)
        for which in range(len(rules)):
            add_up(n, sums, which, part, rate, werner)
            fill_worth(table, codes[:n], werner, worth, slope)
            found = fill_utilities(n, part, total, rate, werner, worth, rules[which], rows)
            whole, plain, weights, broken = whole + found[0], plain + found[1], weights + found[2], broken + found[3]
    figures[6] = broken
    if weights > 0.0:
        fill_score(n, total, alpha, whole, plain, weights, figures, rows)


# --- many networks at once ----------------------------------------------------------------------------------------


@inner
def observe_each(table, which, intervals, seconds, lifetime, codes, of_sessions, of_links, rows, measured):
    """Observations and measurements of the networks `which`; arrays have a first axis of n, where not said.

    R and L are those of the largest network; what lies behind a smaller one's own rows stays as it is.
    intervals, seconds: of control, and of the last advance. of_sessions, of_links: (scale, memory). rows: of sessions
    and links, to be filled. measured: times [n] in s; injected, delivered, dropped [3, n, R]; latency, age in s; mean
    queue and utilisation [n, L]; rates; Werner parameters; sources' and links' signals: to be filled.
    """
    times, counts, latency, age, queue, utilisation, rates, werner, session_signals, link_signals = measured
    w, worth, slope = np.empty(codes.shape[1]), np.empty(codes.shape[1]), np.empty(codes.shape[1])
    for i in which:
        s = view(table, i)
        now = s.clock[0].now
        remember(s.n_sessions, s.sessions, seconds[i], of_sessions[1][i], w)
        fill_worth(s.formulas, codes[i, : s.n_sessions], w, worth, slope)
        fill_session_rows(
            s.n_sessions, s.sessions, intervals[i], of_sessions[0][i], of_sessions[1][i], w, worth, slope, rows[0][i]
        )
        forgotten = lifetime * intervals[i]
        fill_link_rows(
            s.formulas,
            s.n_links,
            s.links,
            s.n_hops,
            s.hops,
            now,
            seconds[i],
            forgotten,
            of_links[0][i],
            of_links[1][i],
            rows[1][i],
        )
        times[i] = now / SECOND
        for r in range(s.n_sessions):
            session = s.sessions[r]
            counts[0, i, r], counts[1, i, r], counts[2, i, r] = session.injected, session.delivered, 0
            for reason in range(len(REASONS)):
                counts[2, i, r] += s.drops[r * len(REASONS) + reason]
            latency[i, r] = 0.0
            if session.delivered > 0:
                latency[i, r] = session.latency / session.delivered * (1.0 / SECOND)
            age[i, r] = (now - session.fresh) / SECOND if session.active else 0.0
            rates[i, r], session_signals[i, r] = session.rate, session.signal
        nanoseconds = max(seconds[i] * SECOND, 1.0)
        for l in range(s.n_links):
            queue[i, l], utilisation[i, l] = s.links[l].area / nanoseconds, s.links[l].busy / nanoseconds
            werner[i, l], link_signals[i, l] = s.links[l].werner, s.links[l].signal


@inner
def record_each(table, which, intervals, scales, sums, place):
    """Put what one interval (s) adds to a score into sums [n, WINDOW, 10R + 9] of the networks `which`, at `place` [n].

    scales: (times [n, k], per_second [n, k, 6R + 4]).
    """
    for i in which:
        s = view(table, i)
        interval = np.int64(np.rint(intervals[i] * SECOND))
        row = sums[i, place[i]]
        made = 0
        for l in range(s.n_links):
            made += s.links[l].generated
        fill_score_row(s.n_sessions, s.sessions, made, s.clock[0].now, interval, scales[0][i], scales[1][i], row)
        place[i] = (place[i] + 1) % sums.shape[1]


@inner
def judge_each(which, counts, sums, table, codes, rules, nothing, figures, rows):
    """`judge` for the networks `which`, of `counts` sessions; all arrays but `table` have a first axis of n."""
    for i in which:
        judge(counts[i], sums[i], table, codes[i], rules[i], nothing[i], figures[i], rows[i])


@entry
def observe_all(table, which, observing):
    """`observe_each` with the arguments `observing`."""
    observe_each(table, which, *observing)


@entry
def judge_all(which, judging):
    """`judge_each` with the arguments `judging`."""
    judge_each(which, *judging)


@entry
def observe_and_judge_all(table, which, observing, recording, judging):
    """`observe_each`, `record_each` and `judge_each` in one call, which is one return to Python less for a thread."""
    observe_each(table, which, *observing)
    record_each(table, which, *recording)
    judge_each(which, *judging)


@entry
def coherences(table, counts, intervals, columns):
    """Fill `NODE_FEATURES`' coherence into columns [n, V] of n networks with `counts` nodes."""
    for i in range(len(counts)):
        s = view(table, i)
        for v in range(counts[i]):
            decay = s.nodes[v].decay_rate
            columns[i, v] = unit(-log10(decay * intervals[i]) / 3.0) if decay > 0.0 else 1.0


@entry
def local_rewards(neighbourhoods, rewards, counted, of_all, local):
    """Fill `scores.local_rewards` [n, R + L], with one neighbourhood for all or one for each."""
    for i in range(len(local)):
        mine = neighbourhoods[i if len(neighbourhoods) > 1 else 0]
        for agent in range(local.shape[1]):
            total, whole = 0.0, 0.0
            for r in range(rewards.shape[1]):
                share = mine[agent, r] * counted[i, r]
                total += share
                whole += share * rewards[i, r]
            local[i, agent] = whole / total if total > 0.0 else of_all[i]
