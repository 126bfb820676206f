"""`qnum-gym stability`: whether QPrimalDual comes to rest on a scenario, without packets."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qnum_gym import optimum
from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.optimum import left_out, said_of
from qnum_gym.cli.progress import ProgressLine
from qnum_gym.evaluation.style import COLOURS, DASHED, INK, new_figure, save
from qnum_gym.evaluation.tables import aligned
from qnum_gym.optimum import Allocation, Problem, stability
from qnum_gym.optimum.fluid import Fluid, Steps
from qnum_gym.optimum.matrices import Floats
from qnum_gym.scenarios import Scenario

if TYPE_CHECKING:
    from qnum_gym.agents.update_rules import Gains

LONGEST = 300  # updates, of a delay: the matrix that has what is under way grows with it
POINTS = 400  # of V
FINE, LONG = 0.1, 8.0  # steps of time, over the fastest eigenvalue's; all of it, over the slowest one's
MOST = 200_000  # steps of time
ROUNDING = 1e-13  # of V at the start


class Gain(NamedTuple):
    """The largest stable gain of a form at a delay: as the linearised update has it, and as measured."""

    form: str
    delay: int
    predicted: float
    measured: float


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What there is to tell: time: [T] updates and v: [T] of the way in continuous time from the usual start."""

    scenario: Scenario
    sessions: Sequence[str]
    left_out: Sequence[int]
    time: Floats
    v: Floats
    eigenvalues: Any
    condition: stability.Condition
    gains: Sequence[Gain]


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "scenario", metavar="SCENARIO", help="a scenario's name, an environment id, or a YAML or network file"
    )
    common.add_set_option(parser)
    parser.add_argument(
        "--delays", type=_delays, default=(0, 1, 3, 10, 30), metavar="D,D,…",
        help="updates after which a session hears of its route, for which the largest stable gain is wanted: of the "
        "paper's form in units of its quoted steps, of qprimaldual-da's the gain of links (default 0,1,3,10,30)",
    )  # fmt: skip
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw all of it; PNG, PDF or SVG")
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Analyse, print, draw."""
    scenario = common.scenario_of_name(arguments.scenario, arguments.set, option="scenario")
    picture: Path | None = arguments.png
    if picture is not None:
        common.named_for("--png", picture, common.PICTURES)
    try:
        found = _found(scenario, arguments.delays)
    except ValueError as error:
        raise UsageError(f"scenario {arguments.scenario!r}: {error}") from None
    if picture is not None:
        _draw(found, picture)
    if arguments.json:
        common.print_json(_as_json(found))
    else:
        print(_text(found))
    return 0


def _found(scenario: Scenario, delays: Sequence[int]) -> Found:
    from qnum_gym.agents.update_rules import Gains

    ours, problem = Gains(), Problem.from_scenario(scenario)
    rules: dict[str, Any] = {"decoherence": problem.decays, "max_utilisation": ours.utilisation}
    aware = optimum.solve(scenario, **rules, leave_out_hopeless=True)
    problem = problem.without(np.isnan(aware.expected_werner))  # in both forms, though the paper's could serve some
    fluid, plain = Fluid(problem), optimum.solve_problem(problem)
    eigenvalues = stability.jacobian(fluid, plain).eigenvalues
    if not eigenvalues.size:
        raise ValueError("no link binds and none has a w to choose: nothing moves at the optimum")
    dt = FINE / np.abs(eigenvalues).max()
    slowest = np.abs(eigenvalues.real).min()
    every = max(1, int(min(LONG / max(slowest * dt, 1e-12), MOST) / POINTS))
    v = stability.lyapunov(fluid, fluid.flow(fluid.start(), dt, POINTS * every, every), plain)
    return Found(
        scenario,
        [problem.names[r] for r in fluid.chosen],
        left_out(scenario.arrays(), aware),
        np.arange(len(v)) * dt * every,
        v,
        eigenvalues,
        stability.condition(fluid, plain),
        _gains(problem, (plain, aware), ours, delays),
    )


def _gains(problem: Problem, best: tuple[Allocation, Allocation], ours: Gains, delays: Sequence[int]) -> list[Gain]:
    """Of both forms, whose optima are `best`."""

    def paper(delay: int) -> Callable[[float], Fluid]:
        return lambda factor: Fluid(problem, Steps().times(factor), delay=delay)

    def scaled(delay: int) -> Callable[[float], Fluid]:
        return lambda gain: Fluid(
            problem, dataclasses.replace(ours, gain=gain), decoherence=problem.decays, delay=delay
        )

    cases = [(name, delay) for name in ("paper", "qprimaldual-da") for delay in delays]
    found: list[Gain] = []
    with ProgressLine("stability", "gains") as line:
        for name, delay in cases:
            make, there = (paper(delay), best[0]) if name == "paper" else (scaled(delay), best[1])
            predicted, measured = stability.predicted_gain(make, there), stability.measured_gain(make, there)
            found.append(Gain(name, delay, predicted, measured))
            line(len(found), len(cases), f"{name}, delay {delay}")
    return found


def _as_json(found: Found) -> dict[str, Any]:
    """None stands for a gain that is not bounded."""
    return {
        "scenario": found.scenario.name,
        "sessions": list(found.sessions),
        "left_out": list(found.left_out),
        "lyapunov": {"time": found.time.tolist(), "v": found.v.tolist(), "largest_increase": _increase(found)},
        "eigenvalues": [[value.real, value.imag] for value in found.eigenvalues.tolist()],
        "condition": {
            "sessions": found.condition.sessions.tolist(),
            "hessian": found.condition.hessian.tolist(),
            "by_sessions": found.condition.by_sessions,
            "holds": found.condition.holds,
        },
        "gains": [
            gain._asdict() | {name: _finite(getattr(gain, name)) for name in ("predicted", "measured")}
            for gain in found.gains
        ],
    }


def _increase(found: Found) -> float:
    """The largest step of V upwards, over V at the start; rounding apart not above 0 where V never increases."""
    return float((np.diff(found.v) / found.v[0]).max())


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _text(found: Found) -> str:
    slowest, condition = found.eigenvalues[0], found.condition
    rest = "stable" if slowest.real < 0.0 else "not stable"
    rises = "never increases" if _increase(found) <= ROUNDING else f"increases, by {_increase(found):.1e} of it at once"
    sessions: list[Sequence[str]] = [("session", "1 − h b σ°/σ (34)")]
    sessions += [(name, f"{value:.4f}") for name, value in zip(found.sessions, condition.sessions, strict=True)]
    gains: list[Sequence[str]] = [("largest stable gain", "delay (updates)", "predicted", "measured, fluid")]
    gains += [(gain.form, f"{gain.delay}", f"{gain.predicted:.4g}", f"{gain.measured:.4g}") for gain in found.gains]
    fastest = np.abs(found.eigenvalues.imag).max()
    name = found.scenario.name + (" at time 0" if found.scenario.changes() else "")
    first = (
        f"{name}: the paper's form (14)–(17) in continuous time, no packets, no decoherence: {rest}; "
        f"largest real part {slowest.real:.3e} per update, fastest oscillation {fastest:.3e}"
    )
    local = "(33) and (34) ask nothing, as no link has a w to choose"
    if condition.hessian.size:
        local = (
            f"sufficient condition (34) {_holds(condition.by_sessions)}, (33) {_holds(condition.holds)}: "
            f"least eigenvalue {condition.hessian.min():.4f}"
        )
    second = f"V from the usual start {rises}; {local}{said_of(found.left_out)}"
    units = "paper: all three steps, times the quoted ones; qprimaldual-da: gain k of links, 0.3 by default"
    tables = [aligned(sessions)] if condition.hessian.size else []
    return "\n\n".join((f"{first}\n{second}", *tables, aligned(gains), units))


def _holds(value: bool) -> str:
    return "holds" if value else "does not hold"


def _draw(found: Found, path: Path) -> None:
    figure, (axes,) = new_figure(1, 3, width=12.5, height=4.0)
    v, plane, gains = axes
    v.plot(found.time, found.v / found.v[0], color=COLOURS[0], lw=1.4)
    v.set_yscale("log")
    v.set(xlabel="time (updates)", ylabel="V / V at the start")
    plane.plot(found.eigenvalues.real, found.eigenvalues.imag, "o", color=COLOURS[0], ms=4)
    plane.axvline(0.0, color=INK, lw=0.9, ls=DASHED)
    plane.set(xlabel="real part (1/update)", ylabel="imaginary part")
    plane.locator_params(axis="x", nbins=5)
    for colour, name in zip(COLOURS, dict.fromkeys(gain.form for gain in found.gains), strict=False):
        mine = [gain for gain in found.gains if gain.form == name]
        delays = [gain.delay for gain in mine]
        gains.plot(delays, [gain.predicted for gain in mine], "-+", color=colour, lw=1.3, label=f"{name}, predicted")
        measured = [gain.measured for gain in mine]
        gains.plot(delays, measured, "o", color=colour, ms=6.0, mfc="none", label=f"{name}, measured")
    gains.set_yscale("log")
    gains.set(xlabel="feedback delay (updates)", ylabel="largest stable gain")
    gains.legend(frameon=False, fontsize=7.5)
    save(figure, path, f"{found.scenario.name}: V along the way; eigenvalues at the optimum; gains, without packets")


def _delays(text: str) -> tuple[int, ...]:
    found = [int(part) if part.isascii() and part.isdecimal() and len(part) < 5 else -1 for part in text.split(",")]
    if not all(0 <= delay <= LONGEST for delay in found):
        valid = f"whole numbers from 0 to {LONGEST}, with commas between, e.g. 0,3,10"
        raise argparse.ArgumentTypeError(f"{text!r}: valid: {valid}")
    return tuple(sorted(set(found)))
