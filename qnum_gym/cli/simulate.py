"""`qnum-gym simulate`: one episode of one policy, in detail."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qnum_gym import files
from qnum_gym.agents.policy import Policy
from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.envs.rendering.table import mean_name, simulated_by, unit
from qnum_gym.evaluation.episode_files import EpisodeFiles
from qnum_gym.evaluation.report import OTHERS
from qnum_gym.evaluation.tables import aligned
from qnum_gym.evaluation.trace import Trace, trace
from qnum_gym.files import locked
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Scenario


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "scenario", metavar="SCENARIO", help="a scenario's name, an environment id, or a YAML or network file"
    )
    common.add_set_option(parser)
    parser.add_argument("--policy", required=True, help=common.POLICY)
    parser.add_argument("--seconds", type=float, metavar="S", help="to simulate (default: the scenario's episode)")
    parser.add_argument("--seed", type=common.at_least(0), default=0, help="of all random draws (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write every pair and every interval as Parquet and CSV, the scenario, this output as JSON and a picture",
    )
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw what happens over time; PNG, PDF or SVG")


def command(arguments: argparse.Namespace) -> int:
    """Simulate, print, draw."""
    scenario = common.scenario_of_name(arguments.scenario, arguments.set, option="scenario")
    if arguments.seconds is not None:
        scenario = scenario.replace(episode_length=_intervals(arguments.seconds, scenario))
    policy = common.policy(common.spec(arguments.policy), scenario)
    picture: Path | None = arguments.png
    if picture is not None:
        common.named_for("--png", picture, common.PICTURES)
    title = f"{scenario.name}{simulated_by(scenario)}, {arguments.policy}, seed {arguments.seed}"
    if arguments.out is None:
        episode = trace(scenario, policy, arguments.seed)
    else:
        episode = _on_record(arguments.out, scenario, policy, arguments, title)
    if picture is not None:
        from qnum_gym.evaluation.plots import draw_trace  # matplotlib is slow to import

        draw_trace(episode, picture, title)
    if arguments.json:
        common.print_json(_as_json(episode, arguments))
    else:
        print(_text(episode, title))
    return 0


def _intervals(seconds: float, scenario: Scenario) -> int:
    number = seconds / scenario.control_interval
    if not (1.0 <= number < 1e9 and abs(number - round(number)) < 1e-6):
        raise UsageError(
            f"--seconds {seconds:g}: valid: 1 or more whole control intervals of {scenario.control_interval:g} s"
        )
    return round(number)


def _on_record(folder: Path, scenario: Scenario, policy: Policy, arguments: argparse.Namespace, title: str) -> Trace:
    if scenario.simulator == "fluid":
        raise UsageError("--out: simulator 'fluid' has no q-datagrams to record; valid: simulator 'packet'")
    common.needs("tables", "pandas", "pyarrow")
    from qnum_gym.evaluation.distributions import draw_distributions

    with locked(common.folder_for("--out", folder)):
        with EpisodeFiles(folder, scenario) as episode_files:
            episode = trace(scenario, policy, arguments.seed, episode_files)
        files.write(folder / "run.json", json.dumps(_as_json(episode, arguments), indent=2) + "\n")
        draw_distributions(episode_files.last, scenario, folder / "distributions.png", title)
    return episode


def _as_json(episode: Trace, arguments: argparse.Namespace) -> dict[str, Any]:
    """None stands for what is not defined: latency where nothing was delivered."""
    outcome = episode.outcome
    return {
        "policy": arguments.policy,
        "seed": arguments.seed,
        "scenario": episode.scenario.name,
        "seconds": float(episode.time[-1]),
        "events": episode.events,
        "score": outcome.score,
        "geometric_mean": outcome.geometric_mean,
        **{name: getattr(outcome, name) for name in OTHERS},
        "age": outcome.age.tolist(),
        "rate": outcome.rate.tolist(),
        "werner": outcome.werner.tolist(),
        "injected": episode.injected.tolist(),
        "delivered": episode.delivered.tolist(),
        "dropped": episode.dropped.tolist(),
        "in_flight": episode.in_flight.tolist(),
        "latency": [None if np.isnan(t) else t for t in episode.latency.tolist()],
        "missing": episode.missing.tolist(),
        "duration": [None if np.isnan(t) else t for t in episode.duration.tolist()],
        "link_werner": episode.link_werner[-1].tolist(),
        "utilisation": episode.utilisation.mean(axis=0).tolist(),
        "queue": episode.queue.mean(axis=0).tolist(),
    }


def _request(missing: int, duration: float) -> str:
    """What became of a session with a number of pairs."""
    if missing < 0:
        return ""
    if np.isnan(duration):
        return f"not over, lacks {missing}"
    return f"lacks {missing} of its pairs" if missing else f"done in {duration:.3f} s"


def _text(episode: Trace, title: str) -> str:
    outcome, scenario = episode.outcome, episode.scenario
    sessions: list[Sequence[str]] = [
        ("session", "injected", "delivered", "dropped", "in flight", "latency (s)", "rate (1/s)*", "fidelity*")
    ]
    requests = any(session.pairs is not None for session in scenario.sessions)
    if requests:
        sessions[0] = (*sessions[0], "request")
    for r, session in enumerate(scenario.sessions):
        counts = (episode.injected[r], episode.delivered[r], episode.dropped[r], episode.in_flight[r])
        worth = fidelity(outcome.werner[r]) if outcome.rate[r] > 0.0 else np.nan
        sessions.append(
            (
                f"{r}: {session.source} → {session.destination}",
                *map(str, counts),
                f"{episode.latency[r]:.4f}",
                f"{outcome.rate[r]:.4f}",
                f"{worth:.4f}",
                *[_request(int(episode.missing[r]), float(episode.duration[r]))] * requests,
            )
        )
    links: list[Sequence[str]] = [("link", "w at the end", "utilisation", "mean queue", "longest")]
    for l, link in enumerate(scenario.links):
        links.append(
            (
                f"{l}: {link.a} – {link.b}",
                f"{episode.link_werner[-1, l]:.4f}",
                f"{episode.utilisation[:, l].mean():.4f}",
                f"{episode.queue[:, l].mean():.3f}",
                f"{episode.queue[:, l].max():.3f}",
            )
        )
    summary = (
        f"{episode.time[-1]:g} s, {episode.events} events; "
        f"score {outcome.score:.4f}*, {mean_name(scenario)} {outcome.geometric_mean:.4f} {unit(scenario)}*   "
        "(* of the second half)"
    )
    return "\n\n".join((title, aligned(sessions), aligned(links), summary))
