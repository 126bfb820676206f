"""`qnum-gym network`: a scenario's network as a table, a map and YAML; also of a network's file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qnum_gym.cli import common
from qnum_gym.evaluation.tables import aligned
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.geography import is_repeater


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "scenario",
        metavar="SCENARIO",
        help="a network's file (GraphML, GML, node-link JSON, CSV of edges; in the package are surfnet.gml, "
        "geant.graphml and randstad.json), a YAML file, a scenario's name, or an environment id",
    )
    common.add_set_option(
        parser, "of a network's file sessions=8, max_km=60, detour=1.5, parallel=shortest, …; any field of the scenario"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the scenario as YAML")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the map; PNG, PDF or SVG")
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Print, write, draw."""
    scenario = common.scenario_of_name(arguments.scenario, arguments.set, option="scenario")
    out: Path | None = arguments.out
    picture: Path | None = arguments.png
    for option, path, endings in (("--out", out, (".yaml", ".yml")), ("--png", picture, common.PICTURES)):
        if path is not None:
            common.named_for(option, path, endings)
    if out is not None:
        scenario.to_yaml(out)
    if picture is not None:
        from qnum_gym.evaluation.map import draw_map  # matplotlib is slow to import

        draw_map(scenario, picture)
    if arguments.json:
        common.print_json(_as_json(scenario))
    else:
        print(_text(scenario))
    return 0


def _as_json(scenario: Scenario) -> dict[str, Any]:
    return {
        "scenario": scenario.name,
        "nodes": len(scenario.nodes),
        "repeaters": sum(is_repeater(node.name) for node in scenario.nodes),
        "links": len(scenario.links),
        "km": sum(link.length_km for link in scenario.links),
        "sessions": [
            {
                "source": session.source,
                "destination": session.destination,
                "links": len(route),
                "km": _km(scenario, route),
            }
            for session, route in zip(scenario.sessions, scenario.routes, strict=True)
        ],
    }


def _km(scenario: Scenario, route: Sequence[int]) -> float:
    return sum(scenario.links[l].length_km for l in route)


def _text(scenario: Scenario) -> str:
    of_all = _as_json(scenario)
    lengths = [link.length_km for link in scenario.links]
    rows: list[Sequence[str]] = [("session", "links", "km", "longest link (km)")]
    for r, (session, route) in enumerate(zip(scenario.sessions, scenario.routes, strict=True)):
        longest = max(lengths[l] for l in route)
        ends = f"{r}: {session.source} → {session.destination}"
        rows.append((ends, f"{len(route)}", f"{_km(scenario, route):.1f}", f"{longest:.1f}"))
    head = (
        f"{scenario.name}: {of_all['nodes'] - of_all['repeaters']} nodes, {of_all['repeaters']} repeaters, "
        f"{of_all['links']} links of {min(lengths):.1f} to {max(lengths):.1f} km, {of_all['km']:.0f} km together"
    )
    return f"{head}\n\n{aligned(rows)}"
