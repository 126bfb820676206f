"""Families of scenarios, drawn at random by name and number: to train on, to choose with, and to be judged by [ours].

```python
families.names("train")           # ("dumbbell", "tree", "waxman", "dumbbell-dynamic", ...)
families.sample("waxman", 17)     # always the same scenario, named "waxman/17"
```

`train`: small networks, of at most 30 links. `validation`: the same families, other draws, to choose between policies
and settle their constants. `test`: families that training never sees: other classes of topology, larger ones, other
coherence times, and there changes and late news. `headroom`: what `test` leaves out, as the formula's optimum is not
the best there is, or the references do not reach it; `headroom-train`: other draws of these, to learn from. All of 200
control intervals of 1 s.

Every draw is worth measuring: at every moment the optimum at 0.95 utilisation gives each session that it can serve
`LEAST` of R f(W) and `LEAST_WORTH` of f(W); what does not is drawn again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

import numpy as np

from qnum_gym import optimum
from qnum_gym.families import draws
from qnum_gym.families.draws import Change, Draw, varied
from qnum_gym.physics import measures
from qnum_gym.registry import suggest
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.sizes import Sizes

Split: TypeAlias = Literal["train", "validation", "test", "headroom", "headroom-train"]

SPLITS: tuple[Split, ...] = get_args(Split)
LEAST = 0.3  # 1/s of R f(W): 30 bits, say, in the half of an episode that counts
LEAST_WORTH = 0.05  # of f(W)
UTILISATION = 0.95  # at most; what is drawn hangs on it, so it stays when the oracle changes
TRIES = 400  # most families need one or two
LENGTH = 200  # control intervals of 1 s
LATE = (0.5 * LENGTH, 0.9 * LENGTH)  # s: what changes here is judged, and can still be answered
DELAY = 10.0  # s, of the test's late news


@dataclass(frozen=True, slots=True)
class Family:
    """Scenarios that are alike.

    Attributes:
        name: as `sample` takes it.
        split: what it is for.
        dynamic: whether the network changes during an episode, or news of it comes late.
        about: what varies.
        sizes: the room that each of them fits into.
    """

    name: str
    split: Split
    dynamic: bool
    about: str
    sizes: Sizes
    _draw: Draw

    def draw(self, index: int) -> Scenario:
        """Scenario number `index`; see `sample`."""
        key = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "little")
        rng = np.random.default_rng(np.random.SeedSequence([key, index]))
        for _ in range(TRIES):
            scenario = self._draw(rng, index)
            if self._judged(scenario) and worth_measuring(scenario):
                return scenario.replace(name=f"{self.name}/{index}", episode_length=LENGTH, control_interval=1.0)
        raise RuntimeError(f"{self.name}/{index}: none of {TRIES} draws is worth measuring")

    def _judged(self, scenario: Scenario) -> bool:
        """A test in which something changes has a change that counts."""
        times = scenario.change_times()[1:]
        return self.split in ("train", "validation") or not times or any(LATE[0] < time < LATE[1] for time in times)


def names(split: Split | None = None) -> tuple[str, ...]:
    """The families of a split, or of all.

    Raises:
        ValueError: an unknown split.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split = {split!r}: {suggest(split, SPLITS)}valid: {', '.join(SPLITS)}")
    return tuple(name for name, family in _FAMILIES.items() if split in (None, family.split))


def family(name: str) -> Family:
    """A family by its name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in _FAMILIES:
        raise ValueError(f"family = {name!r}: {suggest(name, _FAMILIES)}valid: {', '.join(_FAMILIES)}")
    return _FAMILIES[name]


def sample(name: str, index: int) -> Scenario:
    """Scenario number `index` (0, 1, …) of a family: the same in every process, named NAME/INDEX.

    Raises:
        ValueError: an unknown family, or a negative index.
    """
    found = family(name)
    if index < 0:
        raise ValueError(f"index = {index}: valid: 0 and above")
    return found.draw(index)


def worth_measuring(scenario: Scenario) -> bool:
    """Whether the optimum gives, at every moment, each session that is on and not cut off enough to measure.

    Between any two changes: at least one such session; for each R f(W) >= `LEAST` and f(W) >= `LEAST_WORTH` at the
    optimum with utilisation up to 0.95 (model.md §7).
    """
    for time in scenario.change_times():
        problem = optimum.Problem.from_scenario(scenario, time)
        problem = problem.without(problem.blocked)
        if not problem.active.any():
            return False
        try:
            best = optimum.solve_problem(problem, decoherence=problem.decays, max_utilisation=UTILISATION)
        except (optimum.InfeasibleError, ArithmeticError):
            return False
        worth = measures.values(problem.arrays.measure, best.expected_werner)[problem.active]
        delivered = problem.expected_delivery(best.rates)[problem.active]
        if worth.min() < LEAST_WORTH or (delivered * worth).min() < LEAST:
            return False
    return True


# --- families ---------------------------------------------------------------------------------------------------------


def _sizes(sessions: int, links: int, nodes: int) -> Sizes:
    """Routes pass no node twice."""
    return Sizes(sessions, links, nodes, sessions * (nodes - 1))


_SMALL: Mapping[str, tuple[Draw, str, Sizes]] = {
    "dumbbell": (draws.dumbbell, "2 to 6 sessions over one bottleneck; links of 3 to 25 km", Sizes(6, 13, 14, 18)),
    "tree": (
        draws.tree,
        "chains, stars and random trees in turn, of 3 to 15 links of 3 to 25 km; 2 to 7 sessions",
        _sizes(7, 15, 16),
    ),
    "waxman": (
        draws.waxman,
        "Waxman graphs of 6 to 14 nodes and at most 27 links; 3 to 10 sessions",
        _sizes(10, 27, 14),
    ),
}
_ANY_SMALL, _ANY_REAL = _sizes(10, 27, 16), _sizes(10, 40, 25)
_PHYSICS = "T_c from 5 to 50 s, measure, weights, memory, window; on some slow headers, or ACKs up to 12 s late"
_EVENTS = "in turn: sessions come and go, links lose 3 to 9 dB for a while, a link fails and returns, all three"
_CASES: tuple[tuple[Change, ...], ...] = (("sessions",), ("loss",), ("failure",), ("sessions", "loss", "failure"))
_HEADROOM: Mapping[str, tuple[Draw, str]] = {
    "parallel-swapping": (
        varied(draws.any_real, lambda rng, s: {"swapping": "parallel"}),
        "all links of a route work at once; the score's optimum is that of one after the other",
    ),
    "failing-swaps": (
        varied(draws.any_real, lambda rng, s: {"swap_success": float(rng.uniform(0.6, 0.95))}),
        "a swap succeeds with a probability from 0.6 to 0.95",
    ),
    "message-loss": (
        varied(draws.any_real, lambda rng, s: {"message_loss": float(rng.uniform(0.02, 0.15))}),
        "each hop loses 2 to 15 % of the headers, ACKs and NACKs",
    ),
    "lifo-cutoff": (
        varied(
            draws.any_real, lambda rng, s: {"discipline": "lifo", "cutoff": rng.uniform(0.02, 0.1) * s.coherence_time}
        ),
        "last in, first out; what is older than 0.02 to 0.1 T_c is dropped",
    ),
    "stored-pairs": (
        varied(
            draws.any_real,
            lambda rng, s: {"hold": "ack", "feedback_delay": rng.uniform(0.01, 0.06) * s.coherence_time, "window": 400},
        ),
        "both ends store a pair until its ACK is back, which comes 0.01 to 0.06 T_c late",
    ),
    "late-feedback-dynamic": (
        varied(draws.any_real, lambda rng, s: {"feedback_delay": float(rng.uniform(20.0, 40.0)), "window": 1600}),
        "every ACK comes 20 to 40 control intervals later",
    ),
    "flash-crowd-dynamic": (
        draws.changing(draws.any_real, [("crowd",)], LATE),
        "8 to 16 sessions more come at one moment, and go together 30 to 60 s later",
    ),
}
_ANYWHERE = 5.0, 195.0  # s
_LATE = 50.0, 180.0  # s: most of it in the half that counts

_IN_TURN = "NSFNET, SURFnet, grids in turn: "
_TEST = tuple(
    Family(name, "test", name.endswith("-dynamic"), about, sizes, draw)
    for name, draw, sizes, about in (
        ("grid", draws.grid, _ANY_REAL,
         "3×3 to 5×5 grids, links of 5 to 20 km; 4 to 10 random sessions; T_c from 5 to 50 s"),
        ("nsfnet", draws.nsfnet, _sizes(10, 21, 14),
         "NSFNET, lengths within 10 %; its usual or 4 to 10 random sessions; T_c from 7 to 50 s"),
        ("surfnet", draws.surfnet, _sizes(10, 20, 17), "SURFnet, likewise; T_c from 50 to 200 s"),
        ("waxman-large", draws.large, _sizes(40, 120, 92),
         "Waxman graphs of 60 to 120 links; 20 to 40 sessions; T_c from 10 to 50 s"),
        ("short-memory", partial(draws.any_small, coherence_time=(1.5, 4.0)), _ANY_SMALL,
         "small networks, T_c from 1.5 to 4 s"),
        ("long-memory", partial(draws.any_small, coherence_time=(100.0, 1e4)), _ANY_SMALL,
         "small networks, T_c from 100 to 10⁴ s"),
        ("sessions-dynamic", draws.changing(draws.any_real, [("sessions",)], _LATE), _ANY_REAL,
         f"{_IN_TURN}a third to two thirds of the sessions come, go, or both"),
        ("loss-dynamic", draws.changing(draws.any_real, [("loss",)], _LATE), _ANY_REAL,
         f"{_IN_TURN}one or two links lose 3 to 9 dB for 30 to 80 s"),
        ("delay-dynamic", varied(draws.any_real, lambda rng, s: {"feedback_delay": DELAY, "window": 400}), _ANY_REAL,
         f"{_IN_TURN}every ACK comes 10 control intervals later"),
    )
)  # fmt: skip


def _small(split: Split, prefix: str) -> Iterator[Family]:
    """The small networks, as they are and changing."""
    for name, (draw, about, sizes) in _SMALL.items():
        yield Family(f"{prefix}{name}", split, False, f"{about}; {_PHYSICS}", sizes, draw)
    for name, (draw, about, sizes) in _SMALL.items():
        changing = draws.changing(draw, _CASES, _ANYWHERE)
        yield Family(f"{prefix}{name}-dynamic", split, True, f"{about}; {_PHYSICS}; {_EVENTS}", sizes, changing)


def _headroom(split: Split, prefix: str) -> Iterator[Family]:
    """Real networks and grids on which there is something left to gain."""
    for name, (draw, about) in _HEADROOM.items():
        yield Family(
            f"{prefix}{name}", split, name.endswith("-dynamic"), f"{_IN_TURN}{about}", _sizes(26, 40, 25), draw
        )


_FAMILIES = {
    family.name: family
    for family in (
        *_small("train", ""),
        *_small("validation", "validation/"),
        *_TEST,
        *_headroom("headroom", ""),
        *_headroom("headroom-train", "train/"),
    )
}
