"""QPrimalDual: every source and every link for itself, on header information only.

QNUM's Lagrangian splits into one problem per source and one per link. [paper] arXiv:2510.09371 has each controller
follow its own gradient: its equations (14)-(17), quoted in model.md §6. [ours] With queues and memories a link needs
slack s between what it makes, C = d(1 - w), and its arrivals y, a third primal variable: (14') and (18) of model.md §7.
In logarithms, a link is at the optimum where two residuals are zero,

    congestion  e = log( (y + s) / C )                                          from (14')
    value       v = log( S / (d w λ') ),   S = Σ_{r∋l} σ_r,  σ_r = ω_r a_r + μ_r     from (17)

    s    = max( (1 - ρ) C, the solution of g(s) = λ )                           (18), with the utilisation cap ρ
    g(s) = Σ_{r∋l, l not first for r} σ_r Γ_{r,l} / (s (s + Γ_{r,l}))           what a unit of slack saves from storage
    λ'   = λ - (1 - ρ) [λ - g(s)]⁺                                              λ itself, unless the cap sets s

and a source where R_r = ω_r / Σ θ_{r,l} λ_l (15), or at its demand, and W_r is at its floor or μ_r = 0 (16), with θ as
below: 1 where nothing is lost. `qprimaldual-da` takes a_r at the
Werner parameter that arrives. `qprimaldual` has g = 0 and a_r at Π w_l, as if memories were perfect; with ρ = 1 its
fixed point is the paper's. With another link model (`physics/links.py`) C is its rate, and -dC/dw takes the place of d.

Once per control interval, everything dimensionless [ours]:

    log λ_l       += k (v + κ e)
    log(1 - w_l)  += k (e - κ v)                  with log λ_l as it was
    log R_r       += bounded( log(ω_r / Σ θ_{r,l} λ_l) - log R_r )
    log σ_r       += bounded( max( (log ω_r a_r - log σ_r) / (1 + b_r),  k_μ (log W_r / K_r - 1) ) ) / max(1, h D_r)

Links: the κ terms alone are the paper's gradients (14) and (17), two integrators one behind the other, which at such
gains oscillate without end. With the crossed terms and κ = 1 the step points where Newton's does for a link with unit
elasticities, and the optimality conditions see to it that they are about one on every network: R_r Σ λ_l = ω_r, and
the mean of ω_r a_r |log Π w_l| is that of ω_r plus what slack costs. Hence one set of gains for all.

Sources: a signal comes back to its source. Where σ_r rises, links sell less and better, and a_r falls with elasticity
b_r = |a_r'/a_r| |log Π w_l| at most, which is far above one near the zero of f. Of the two steps of log σ_r the first
leads to μ_r = 0, the second to log W_r = K_r; where the larger one is zero, (16) holds, and no μ_r can wind up. As long
as f(W_r) = 0, on average and at the last, there is no a_r to follow, and f > 0 counts as a floor K_r, as it is one.

Delay: D_r is the round trip that the source measures, in control intervals. With a step in every interval, D_r of them
would be under way when the first is felt; so one is spread over h = 1 round trips. Links need know nothing of delays: v
falls at once with log λ_l and e with log(1 - w_l), and what comes late, R_r after log λ_l and σ_r after log w_l, weighs
little more than that where elasticities are about one.

Rare news: a source averages, and steps log σ_r, only in an interval that brought an ACK. Where swaps or messages fail,
many intervals bring none, and steps in them would all answer the same old W: on a chain of 8 hops where half of the
swaps fail that costs 9 % of gm (docs/policies.md, Losses).

Losses [ours]: a share θ_{r,l} of session r's q-datagrams gets as far as link l, and a share P_r is delivered and its
ACK as well. U_r is log(P_r R_r) + log f(W_r), W_r that of what is delivered, and link l has to carry Σ θ_{r,l} R_r.
With P and θ constants of the way, the Lagrangian Σ ω_r U_r - Σ λ_l (Σ_r θ_{r,l} R_r + s_l - d_l (1 - w_l)) has

    ∂/∂R_r = 0:   R_r Σ_l θ_{r,l} λ_l = ω_r      (15): what a q-datagram pays on average, those that die on the way too
    ∂/∂w_l = 0:   d_l λ'_l w_l = Σ_r σ_r          as above: a pair that arrives owes its W to every link alike, and
    ∂/∂s_l = 0:   g(s_l) = λ_l                    how few others of its session did is no matter to it

and `min_rate`, a demand for delivered pairs, is R_r ≥ min_rate / P_r. A link has θ from the sequence numbers in headers
(`HeaderTelemetry.thinning`), and headers add up θ λ, so that one ACK brings a source its price, whatever is lost. (The
mean of Σ λ over ACKs and NACKs is the same as long as no message is lost. Where a fifth is lost on every hop, rates so
found are off by 12 % on Dumbbell and 34 % on SURFnet: nobody hears of a lost header.) Until its first ACK a source goes
by the NACKs, which bring a part of Σ θ λ. P_r it has from ACKs, NACKs and time-outs.

Other utilities [ours]: with α-fair ones (29) every ω_r becomes ω_r t_r, t_r = x_r^(1 - α) with x_r = P_r R_r f(W_r). A
source runs the rules above with its ω_r t_r, μ_r in units of t_r, and lets log t_r follow slowly: by 0.1 of the way in
an interval with an ACK, and not at all while f(W_r) = 0. So the loop that is tuned for U = log runs inside a slower
one, which comes to rest where t_r is what it should be; with α < 1 a bad start would else leave a session with nothing.

A price begins where v = 0, for which the first headers suffice, and a signal at the a(W) with a |log W| = 1 [ours].
"""

from __future__ import annotations

from qnum_gym.agents.options import constants
from qnum_gym.agents.policy import POLICIES, Bools, Policy, Seen
from qnum_gym.agents.update_rules import Floats, Gains, Links, Sources
from qnum_gym.scenarios import Arrays
from qnum_gym.simulator import Controls


@POLICIES.registers("qprimaldual")
class QPrimalDual(Policy):
    """The controllers of arXiv:2510.09371, one for every source and every link.

    Args:
        decoherence_aware: keep slack for what storage costs (18), and take W as it arrives.
        **gains: fields of `Gains` that shall have other values.

    Raises:
        ValueError: an unknown gain, or one that cannot be.
    """

    local = True
    stamps = True  # whether sources put their signals into headers

    def __init__(self, decoherence_aware: bool = False, **gains: float) -> None:
        self.gains = constants(Gains, gains)
        self._aware = decoherence_aware

    def prepare(self) -> None:
        """Set up the controllers."""
        self._sources, self._links = self.controllers(self.networks.arrays, self.networks.interval)

    def forget(self, which: Bools) -> None:
        """Nothing is drawn: `seeds` are unused."""
        sessions, links = self.networks.rows(which)
        self._sources.forget(sessions)
        self._links.forget(links)

    def act(self, seen: Seen) -> Controls:
        """One update of every source and every link, each from its own rows."""
        rates, session_signals = self._sources.update(seen.sessions)
        werner, link_signals = self._links.update(seen.links, seen.headers, self.networks.decay_rate(seen.times))
        return Controls(rates, werner, session_signals if self.stamps else None, link_signals)

    def controllers(self, a: Arrays, interval: Floats) -> tuple[Sources, Links]:
        """Those of the networks, side by side; `interval` [R] of each session's network, s."""
        return Sources(a, interval, self.gains, self._aware), Links(a, interval, self.gains, self._aware)


@POLICIES.registers("qprimaldual-da")
class QPrimalDualDA(QPrimalDual):
    """The same, aware of decoherence [ours].

    Args: of QPrimalDual, but for `decoherence_aware`.
    """

    def __init__(self, **gains: float) -> None:
        super().__init__(decoherence_aware=True, **gains)
