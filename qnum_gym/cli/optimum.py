"""`qnum-gym optimum`: the central solution of a scenario, with prices."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from qnum_gym import optimum
from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.envs.rendering.table import mean_name, unit
from qnum_gym.evaluation.tables import aligned
from qnum_gym.optimum import Allocation
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Scenario


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
        "--max-utilisation", type=_share, default=1.0, metavar="RHO", help="cap on every link's utilisation (default 1)"
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
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Solve and print."""
    scenario = common.scenario_of_name(arguments.scenario, arguments.set, option="scenario")
    try:
        best = optimum.solve(
            scenario,
            decoherence=not arguments.no_decoherence,
            max_utilisation=arguments.max_utilisation,
            rates=arguments.rate,
            werner=arguments.werner,
            starts=arguments.starts,
            leave_out_hopeless=True,
        )
    except ValueError as error:
        raise UsageError(f"scenario {arguments.scenario!r}: {error}") from None
    if arguments.json:
        common.print_json(_as_json(scenario, best))
    else:
        print(_text(scenario, best, arguments))
    return 0


def _geometric_mean(scenario: Scenario, best: Allocation) -> float:
    served = ~np.isnan(best.expected_werner)
    return optimum.geometric_mean(best.utility, scenario.arrays(0.0).weight[served], scenario.fairness)


def _left_out(scenario: Scenario, best: Allocation) -> list[int]:
    """Sessions that are on, but that nobody can serve."""
    return np.flatnonzero(scenario.arrays(0.0).active & np.isnan(best.expected_werner)).tolist()


def _as_json(scenario: Scenario, best: Allocation) -> dict[str, Any]:
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
        "geometric_mean": _geometric_mean(scenario, best),
        "kkt_residual": best.kkt_residual,
        "iterations": best.iterations,
        "proven_global": best.proven_global,
        "starts": best.starts,
        "agreed": best.agreed,
        "left_out": _left_out(scenario, best),
    }


def _text(scenario: Scenario, best: Allocation, arguments: argparse.Namespace) -> str:
    a = scenario.arrays(0.0)
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
        f"utility {best.utility:.6f}, {mean_name(scenario)} {_geometric_mean(scenario, best):.6f} {unit(scenario)}, "
        f"KKT residual {best.kkt_residual:.1e} after {best.iterations} Newton steps\n"
    )
    summary += "proven to be the global optimum" if best.proven_global else "a local optimum, for all one knows: "
    if not best.proven_global:
        summary += f"{best.agreed} of {best.starts} starts found this utility"
    if left_out := _left_out(scenario, best):
        names = ", ".join(f"session {r}" for r in left_out)
        summary += f"\nleft out, as nobody could serve it even alone: {names}"
    title = f"{scenario.name}: optimum {storage}, utilisation at most {arguments.max_utilisation:g}"
    return "\n\n".join((title, aligned(sessions), aligned(links), summary))


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r}: valid: more than 0, at most 1")
    return value
