"""`qnum-gym optimum`: the central solution of a scenario, with prices."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym import optimum
from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.envs.rendering.table import mean_name, unit
from qnum_gym.evaluation.tables import aligned
from qnum_gym.optimum import Allocation, Sensitivity
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Arrays, Scenario

Floats = NDArray[np.float64]


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "scenario", metavar="SCENARIO", help="a scenario's name, an environment id, or a YAML or network file"
    )
    common.add_set_option(parser)
    parser.add_argument(
        "--no-decoherence", action="store_true", help="maximise as if memories were perfect (the plain QNUM problem)"
    )
    parser.add_argument(
        "--max-utilisation",
        type=_number("more than 0, at most 1", lambda x: 0.0 < x <= 1.0),
        default=1.0,
        metavar="RHO",
        help="cap on every link's utilisation (default 1)",
    )
    parser.add_argument(
        "--time",
        type=_number("seconds, from 0", lambda x: 0.0 <= x < np.inf),
        default=0.0,
        metavar="T",
        help="the moment, s, of a scenario that changes (default 0)",
    )
    parser.add_argument("--rate", type=float, metavar="R", help="every session's injection rate, 1/s, if given")
    parser.add_argument("--werner", type=float, metavar="W", help="every link's Werner parameter, if given")
    parser.add_argument(
        "--starts",
        type=common.at_least(1),
        default=1,
        metavar="N",
        help="searches where one does not prove its optimum (default 1)",
    )
    parser.add_argument(
        "--prices", action="store_true", help="also say what more capacity, shorter links and better memories are worth"
    )
    parser.add_argument(
        "--png",
        type=Path,
        metavar="FILE",
        help="draw the map, links coloured by what their capacity is worth; PNG, PDF, SVG",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Solve and print."""
    scenario = common.scenario_of_name(arguments.scenario, arguments.set, option="scenario")
    picture: Path | None = arguments.png
    if picture is not None:
        common.named_for("--png", picture, common.PICTURES)
    rules: dict[str, Any] = {
        "decoherence": not arguments.no_decoherence,
        "max_utilisation": arguments.max_utilisation,
        "time": arguments.time,
        "rates": arguments.rate,
        "werner": arguments.werner,
        "leave_out_hopeless": True,
    }
    try:
        best = optimum.solve(scenario, starts=arguments.starts, **rules)
        prices = optimum.sensitivities(scenario, **rules) if arguments.prices or picture is not None else None
    except ValueError as error:
        raise UsageError(f"scenario {arguments.scenario!r}: {error}") from None
    a = scenario.arrays(arguments.time)
    if prices is not None and picture is not None:
        from qnum_gym.evaluation.map import draw_map  # matplotlib is slow to import

        worth = _percent(a, best, prices["capacity"].utility * a.capacity)
        draw_map(scenario, picture, 0.01 * np.maximum(worth, 0.0), f"% of {mean_name(scenario)} per % of capacity")
    shown = prices if arguments.prices else None
    if arguments.json:
        common.print_json(_as_json(scenario, a, best) | ({} if shown is None else {"sensitivities": _lists(shown)}))
    else:
        print(_text(scenario, a, best, arguments))
        if shown is not None:
            print(f"\n{_price_tables(scenario, a, best, shown)}")
    return 0


def _geometric_mean(a: Arrays, best: Allocation) -> float:
    served = ~np.isnan(best.expected_werner)
    return optimum.geometric_mean(best.utility, a.weight[served], float(a.fairness[0]))


def left_out(a: Arrays, best: Allocation) -> list[int]:
    """Sessions that are on, but that nobody can serve."""
    return np.flatnonzero(a.active & np.isnan(best.expected_werner)).tolist()


def said_of(sessions: Sequence[int]) -> str:
    """A line that says who was left out; nothing if nobody was."""
    names = ", ".join(f"session {r}" for r in sessions)
    return f"\nleft out, as nobody could serve it even alone: {names}" if names else ""


def _as_json(scenario: Scenario, a: Arrays, best: Allocation) -> dict[str, Any]:
    """None stands for what is not defined: the Werner parameter of a session that is off or left out."""
    return {
        "scenario": scenario.name,
        "sessions": [f"{session.source}->{session.destination}" for session in scenario.sessions],
        "links": [f"{link.a}-{link.b}" for link in scenario.links],
        "rates": best.rates.tolist(),
        "werner": best.werner.tolist(),
        "link_prices": best.link_prices.tolist(),
        "fidelity_prices": best.fidelity_prices.tolist(),
        "rate_prices": best.rate_prices.tolist(),
        "slack": best.slack.tolist(),
        "expected_werner": [None if np.isnan(w) else w for w in best.expected_werner.tolist()],
        "utility": best.utility,
        "geometric_mean": _geometric_mean(a, best),
        "kkt_residual": best.kkt_residual,
        "iterations": best.iterations,
        "proven_global": best.proven_global,
        "starts": best.starts,
        "agreed": best.agreed,
        "left_out": left_out(a, best),
    }


def _text(scenario: Scenario, a: Arrays, best: Allocation, arguments: argparse.Namespace) -> str:
    capacity = a.link_rates.rate(best.werner, a.capacity)
    with np.errstate(invalid="ignore", divide="ignore"):
        utilisation = 1.0 - best.slack / capacity
    sessions: list[Sequence[str]] = [("session", "route", "R (1/s)", "W", "fidelity", "μ", "ν")]
    for r, session in enumerate(scenario.sessions):
        w = best.expected_werner[r]
        sessions.append(
            (
                f"{r}",
                " → ".join(map(str, session.path or ())),
                f"{best.rates[r]:.6f}",
                f"{w:.6f}",
                f"{fidelity(w):.6f}",
                f"{best.fidelity_prices[r]:.4g}",
                f"{best.rate_prices[r]:.4g}",
            )
        )
    links: list[Sequence[str]] = [("link", "between", "w", "makes (1/s)", "utilisation", "λ (s)")]
    for l, link in enumerate(scenario.links):
        links.append(
            (
                f"{l}",
                f"{link.a} – {link.b}",
                f"{best.werner[l]:.6f}",
                f"{capacity[l]:.4f}",
                f"{utilisation[l]:.4f}",
                f"{best.link_prices[l]:.4g}",
            )
        )
    storage = "perfect memories" if arguments.no_decoherence else "with decoherence in memories"
    summary = (
        f"utility {best.utility:.6f}, {mean_name(scenario)} {_geometric_mean(a, best):.6f} {unit(scenario)}, "
        f"KKT residual {best.kkt_residual:.1e} after {best.iterations} Newton steps\n"
    )
    summary += "proven to be the global optimum" if best.proven_global else "a local optimum, for all one knows: "
    if not best.proven_global:
        summary += f"{best.agreed} of {best.starts} starts found this utility"
    summary += said_of(left_out(a, best))
    title = f"{scenario.name}: optimum {storage}, utilisation at most {arguments.max_utilisation:g}"
    if len(scenario.change_times()) > 1:
        title += f"\nthe scenario changes; this is the optimum at {arguments.time:g} s (--time)"
    return "\n\n".join((title, aligned(sessions), aligned(links), summary))


def _percent(a: Arrays, best: Allocation, utility: Floats) -> Floats:
    """Changes of utility as changes of the geometric mean (of the certainty equivalent), %."""
    weights = a.weight[~np.isnan(best.expected_werner)]
    return 100.0 * utility * _geometric_mean(a, best) ** (float(a.fairness[0]) - 1.0) / weights.sum()


def _lists(prices: dict[str, Sensitivity]) -> dict[str, dict[str, Any]]:
    return {
        kind: {"utility": x.utility.tolist(), "rates": x.rates.tolist(), "werner": x.werner.tolist()}
        for kind, x in prices.items()
    }


def _price_tables(scenario: Scenario, a: Arrays, best: Allocation, prices: dict[str, Sensitivity]) -> str:
    """What links and nodes are worth, the dearest first, in % of the mean; without those that are worth nothing."""
    mean = mean_name(scenario)
    pair, capacity, km, memory = (
        _percent(a, best, utility)
        for utility in (
            best.link_prices,
            0.01 * a.capacity * prices["capacity"].utility,
            0.0 - prices["length_km"].utility,
            0.01 * prices["coherence_time"].utility / np.where(a.decay_rate > 0.0, a.decay_rate, 1.0),
        )
    )
    links: list[Sequence[str]] = [("link", "between", "km", "a pair/s more", "1 % more capacity", "1 km less")]
    for l in _dearest(capacity):
        link = scenario.links[l]
        ends = f"{link.a} – {link.b}"
        links.append((f"{l}", ends, f"{link.length_km:g}", f"{pair[l]:.4f}", f"{capacity[l]:.4f}", f"{km[l]:.4f}"))
    nodes: list[Sequence[str]] = [("node", "T_c (s)", "1 % more T_c")]
    for v in _dearest(memory):
        time = 1.0 / a.decay_rate[v] if a.decay_rate[v] > 0.0 else np.inf
        nodes.append((f"{scenario.nodes[v].name}", f"{time:g}", f"{memory[v]:.4f}"))
    return f"what it adds to the {mean}, in % of it\n\n{aligned(links)}\n\n{aligned(nodes)}"


def _dearest(worth: Floats) -> list[int]:
    """Places of what is worth something, in falling order."""
    return [i for i in map(int, np.argsort(-worth, kind="stable")) if worth[i] != 0.0]


def _number(valid: str, holds: Callable[[float], bool]) -> Callable[[str], float]:
    """An argument type: a number for which something holds, which NaN never does."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not holds(value):
            raise argparse.ArgumentTypeError(f"{text!r}: valid: {valid}")
        return value

    return number
