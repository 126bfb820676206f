"""Newton systems by conjugate gradients on what is left once every link's own variables are eliminated [ours].

A link's own variables (w, s) meet other links only through the sessions. For a given change y of its load (over d), its
part of the system is the least of

    w^2/(2 a) + s^2/(2 b) + stored (w + s/d + y)^2/2 + capped (w + y/rho)^2/2,

a and b being inverse diagonal entries, `stored` and `capped` the stiffness of its constraints. It is h y^2/2, taken at
(w, s) = -T y; beside that the link has a motion L u of its own, where L L^T is the inverse of its 2 x 2 matrix. All of
them have closed forms without cancellation, however stiff the constraints: first the cap, which leaves w with
a/(1 + a capped), then the queue. In (R, u) the system is

    diag(own_R) + A^T diag(h) A + 1 + J^T diag(bent) J,   J = dS/d(w, s) (L u - T A R),   y = A R,

and, for alpha other than 1, R^T diag(crossed) J + J^T diag(crossed) R.

Constraints that bind have gone into T and h, so the condition is that of the problem and not that of the barrier: at
the optimum A^T diag(h) A is at most max (1 - w)/w of R's own curvature, by what prices are there. Ten to thirty steps
do, on networks of any size, and each costs a few products per hop. Where floors bind, `bent` is large: there the steps
may not suffice.
"""

from __future__ import annotations

import numpy as np

from qnum_gym import caching
from qnum_gym.optimum.matrices import Floats, Indices
from qnum_gym.optimum.program import Program

STEPS = 200  # at most


class Reduced:
    """H = D + A^T diag(stiff) A + B^T diag(bent) B with D = 1/inverse, at a point with slopes B = dS/dz.

    Args:
        inverse: [n] of the diagonal; 0 for a variable that does not move.
        stiff: [m] of the linear constraints, at least 0.
        bent: [R] of S.
        crossed: [R] of R times S.
    """

    def __init__(
        self,
        program: Program,
        slopes: tuple[Floats, Floats],
        inverse: Floats,
        stiff: Floats,
        bent: Floats,
        crossed: Floats,
    ) -> None:
        self._program, self._slopes, self._bent, self._crossed = program, slopes, bent, crossed
        p, n_links, n_queues = program, program.n_links, len(program.queues)
        self._inverse, werner, by_queue = p.parts(inverse)
        slack, stored, capped = np.zeros(n_links), np.zeros(n_links), np.zeros(n_links)
        slack[p.queues], stored[p.queues], capped[p.capped] = by_queue, stiff[:n_queues], stiff[n_queues:]
        # the cap: w follows the load by `lead`, and may move less
        load = 1.0 / p.max_utilisation
        held = 1.0 + werner * capped
        self._cap_load = load / held
        werner, lead, stiffness = werner / held, load * werner * capped / held, load**2 * capped / held
        # the queue: w and s follow what the cap leaves of the load, `rest`
        slack_room = 1.0 + stored * slack / p.capacity**2
        held = slack_room + stored * werner
        rest = 1.0 - lead
        self._queue_load = rest / held
        follow = stored * rest / held
        self._follow = lead + werner * follow, slack / p.capacity * follow
        self._cap_load -= werner * follow
        both = np.sqrt(werner * slack_room / held)
        self._own = both, -slack / p.capacity * stored * both / slack_room, np.sqrt(slack / slack_room)
        self._queue_own = both / slack_room, self._own[2] / p.capacity
        by_werner = slopes[0]
        columns = [by_werner * self._follow[0], self._follow[1], stiffness + rest * follow]
        columns += [by_werner * both, self._own[1], self._own[2]]
        self._links = np.stack(columns, axis=1)

    def move(self, gradient: Floats, missing: Floats | None, tolerance: float) -> tuple[Floats, Floats, Floats] | None:
        """The move of least gradient . move + move . H move/2, and what it changes in the constraints and in S.

        Args:
            gradient: [n].
            missing: [R] change of S that there is already; H counts both together.
            tolerance: of the residual, in the norm of the preconditioner, relative to that of no move at all.

        Returns:
            The move [n], the change [m] of the linear constraints' left-hand sides and that of S [R]; None where it was
            not found, or where there is none as H is not positive.
        """
        p, (by_werner, by_slack) = self._program, self._slopes
        rates, werner, by_queue = p.parts(gradient)
        slack = np.zeros(p.n_links)
        slack[p.queues] = by_queue
        if missing is not None:
            force = self._bent * missing
            werner = werner + by_werner * p.to_links(force)
            slack += p.to_links(force, by_slack) if p.stores else 0.0
            rates = rates + self._crossed * missing
        follow, own = self._follow, self._own
        right = p.to_sessions(follow[0] * werner + follow[1] * slack, p.share) - rates
        right_own = -np.stack([own[0] * werner + own[1] * slack, own[2] * slack], axis=1)
        caching.announce(_conjugate_gradients, "the solver")
        x, u, converged = _conjugate_gradients(
            *p.hops,
            p.share,
            by_slack,
            self._inverse,
            self._bent,
            self._crossed,
            self._links,
            right,
            right_own,
            tolerance,
        )
        if not converged:
            return None
        y, (u_0, u_1) = p.load(x), u.T
        werner, slack = own[0] * u_0 - follow[0] * y, own[1] * u_0 + own[2] * u_1 - follow[1] * y
        s = p.to_sessions(by_werner * werner) + (p.to_sessions(slack, by_slack) if p.stores else 0.0)
        stored = self._queue_load * y + self._queue_own[0] * u_0 + self._queue_own[1] * u_1
        capped = self._cap_load * y + own[0] * u_0
        change = np.concatenate([stored[p.queues], capped[p.capped]])
        return np.concatenate([x, werner, slack[p.queues]]), change, s


@caching.entry(file=__file__)
def _preconditioner(
    start: Indices, link: Indices, share: Floats, by_slack: Floats, inverse: Floats, bent: Floats, links: Floats
) -> tuple[Floats, Floats]:
    """Inverse diagonal of the system, [R] and [L, 2], with |bent| for bent; arguments of `_conjugate_gradients`."""
    n, m = len(inverse), len(links)
    light, light_own, bend = np.zeros(n), np.ones((m, 2)), links[:, 2].copy()
    for r in range(n):
        k = abs(bent[r])
        for h in range(start[r], start[r + 1]):
            l, b = link[h], by_slack[h]
            bend[l] += k * (links[l, 0] + b * links[l, 1]) ** 2
            light_own[l, 0] += k * (links[l, 3] + b * links[l, 4]) ** 2
            light_own[l, 1] += k * (b * links[l, 5]) ** 2
    light_own = 1.0 / light_own
    for r in range(n):
        if inverse[r] > 0.0:
            heavy = 1.0 / inverse[r]
            for h in range(start[r], start[r + 1]):
                heavy += share[h] ** 2 * bend[link[h]]
            light[r] = 1.0 / heavy
    return light, light_own


@caching.entry(file=__file__)
def _times(
    start: Indices,
    link: Indices,
    share: Floats,
    by_slack: Floats,
    inverse: Floats,
    bent: Floats,
    crossed: Floats,
    links: Floats,
    there: Floats,
    p: Floats,
    p_own: Floats,
    q: Floats,
    q_own: Floats,
    y: Floats,
    f: Floats,
) -> float:
    """The system times p [R], p_own [L, 2], into q and q_own; gives the two multiplied with each other.

    y [L, 3] and f [L, 2] are to work in, `there` [R] is positive where a session has a row; the others are arguments of
    `_conjugate_gradients`.
    """
    n, m, along = len(inverse), len(links), 0.0
    y[:] = 0.0
    f[:] = 0.0
    for r in range(n):
        for h in range(start[r], start[r + 1]):
            y[link[h], 0] += share[h] * p[r]
    for l in range(m):
        y[l, 1] = links[l, 3] * p_own[l, 0] - links[l, 0] * y[l, 0]
        y[l, 2] = links[l, 4] * p_own[l, 0] + links[l, 5] * p_own[l, 1] - links[l, 1] * y[l, 0]
    for r in range(n):
        force = 0.0
        for h in range(start[r], start[r + 1]):
            force += y[link[h], 1] + by_slack[h] * y[link[h], 2]
        if there[r] > 0.0:
            q[r] = p[r] / inverse[r] + crossed[r] * force
        force = bent[r] * force + crossed[r] * p[r]
        for h in range(start[r], start[r + 1]):
            f[link[h], 0] += force
            f[link[h], 1] += by_slack[h] * force
    for l in range(m):
        y[l, 0] = links[l, 2] * y[l, 0] - links[l, 0] * f[l, 0] - links[l, 1] * f[l, 1]
        q_own[l, 0] = p_own[l, 0] + links[l, 3] * f[l, 0] + links[l, 4] * f[l, 1]
        q_own[l, 1] = p_own[l, 1] + links[l, 5] * f[l, 1]
        along += p_own[l, 0] * q_own[l, 0] + p_own[l, 1] * q_own[l, 1]
    for r in range(n):
        if there[r] > 0.0:
            for h in range(start[r], start[r + 1]):
                q[r] += share[h] * y[link[h], 0]
            along += p[r] * q[r]
    return along


@caching.entry(file=__file__)
def _conjugate_gradients(
    start: Indices,
    link: Indices,
    share: Floats,
    by_slack: Floats,
    inverse: Floats,
    bent: Floats,
    crossed: Floats,
    links: Floats,
    right: Floats,
    right_own: Floats,
    tolerance: float,
) -> tuple[Floats, Floats, bool]:
    """R and u [L, 2] for the right-hand sides, and whether they were found; diagonally preconditioned.

    Args:
        start: hops, as in `Program`.
        link: likewise.
        share: likewise.
        by_slack: [H] dS/ds.
        inverse: [R] of own_R.
        bent: [R].
        crossed: [R].
        links: [L, 6] dS/dw T_w, T_s, h, dS/dw L_ww, L_sw, L_ss.
        right: [R].
        right_own: [L, 2].
        tolerance: of the rest that is left, over that of the beginning.
    """
    n, m = len(inverse), len(links)
    light, light_own = _preconditioner(start, link, share, by_slack, inverse, bent, links)
    x, u = np.zeros(n), np.zeros((m, 2))
    rest, rest_own = right.copy(), right_own.copy()
    p, p_own, q, q_own = light * rest, light_own * rest_own, np.zeros(n), np.zeros((m, 2))
    size = np.sum(p * rest) + np.sum(p_own * rest_own)
    goal = size * tolerance**2
    y, f = np.zeros((m, 3)), np.zeros((m, 2))
    for _ in range(STEPS):
        if size <= goal:
            return x, u, True
        along = _times(start, link, share, by_slack, inverse, bent, crossed, links, light, p, p_own, q, q_own, y, f)
        if not along > 0.0:
            return x, u, False
        length, before = size / along, size
        size = 0.0
        for r in range(n):
            x[r] += length * p[r]
            rest[r] -= length * q[r]
            size += light[r] * rest[r] ** 2
        for l in range(m):
            for i in range(2):
                u[l, i] += length * p_own[l, i]
                rest_own[l, i] -= length * q_own[l, i]
                size += light_own[l, i] * rest_own[l, i] ** 2
        for r in range(n):
            p[r] = light[r] * rest[r] + size / before * p[r]
        for l in range(m):
            for i in range(2):
                p_own[l, i] = light_own[l, i] * rest_own[l, i] + size / before * p_own[l, i]
    return x, u, False
