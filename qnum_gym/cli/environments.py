"""`qnum-gym environments`: what each registered id is, as a page in Markdown made from the code itself."""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym

from qnum_gym import files, registration
from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.registry import Registry, suggest
from qnum_gym.scenarios import Scenario, topologies
from qnum_gym.scenarios.fields import ScenarioFields
from qnum_gym.scenarios.topologies.topology import parameters

if TYPE_CHECKING:
    from qnum_gym.envs.allocation import AllocationEnv

Measured = Mapping[str, Any]  # what `_measured` gives
REWARD = "share"  # whose sum is the return
OWN = ("name", "nodes", "links", "sessions", "events")  # fields that make a network, and are no physics
COMMAND = "qnum-gym environments --returns docs/environments.json"
HEAD = f"""# Environments

Made by `{COMMAND} > docs/environments.md` from the code that it describes; do not edit it.
Ids that you register have a section in yours. R sessions, L links, V nodes, H hops of all routes together.
Actions, observations, rewards and information mean the same in all: [below](#what-all-share).
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="environments (default: all), and nothing else")
    parser.add_argument("--returns", type=Path, metavar="FILE", help="JSON of what the references come to")
    parser.add_argument(
        "--seeds", type=common.at_least(1), metavar="N", help="measure them first, on seeds 0 to N − 1, into --returns"
    )
    common.add_jobs_option(parser)


def command(arguments: argparse.Namespace) -> int:
    """Print the page; before it, with --seeds, run every policy on every network."""
    known = registration.ids()
    ids = [id if id.startswith(common.NAMESPACE) else common.NAMESPACE + id for id in arguments.ids]
    for id in ids:
        if id not in known:
            raise UsageError(f"ID {id!r}: {suggest(id, known)}valid: {', '.join(known)}")
    path: Path | None = arguments.returns
    if arguments.seeds:
        if path is None:
            raise UsageError("--seeds: valid: with --returns FILE, which they are written to")
        path = common.file_for("--returns", path)
        networks = [id for id in ids or known if "scenario" in known[id]]
        found = _measured(networks, references(), arguments.seeds, arguments.jobs)
        files.write(path, json.dumps(found, indent=1) + "\n")
    try:
        measured: Measured = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"--returns {str(path)!r}: {error}; valid: what --seeds leaves") from None
    print(page(ids, measured), end="")
    return 0


def references() -> tuple[str, ...]:
    """Policies that act in an environment's own intervals, so that their return can be compared."""
    from qnum_gym import agents

    return tuple(name for name in (*agents.names(), *agents.zoo()) if math.isinf(agents.make(name).interval))


def page(ids: Sequence[str] = (), measured: Measured | None = None) -> str:
    """What all environments share, and a section for each id; of some `ids` their sections alone."""
    known = registration.ids()
    sections = [_section(id, known[id], measured or {}) for id in ids or known]
    return "\n".join(sections if ids else [HEAD, *sections, *_shared()])


# --- what all share ---------------------------------------------------------------------------------------------------


def _shared() -> Iterator[str]:
    """The environments' own documentation, and what the registries have."""
    from qnum_gym.envs.allocation import AllocationEnv
    from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES
    from qnum_gym.envs.observations import OBSERVATIONS
    from qnum_gym.envs.rewards import REWARDS
    from qnum_gym.envs.topology import NODE_FEATURES
    from qnum_gym.envs.vector import AllocationVectorEnv

    about = _documentation(AllocationEnv)
    yield f"## What all share\n\n{about['Description']}\n"
    yield f"### Action\n\n{about['Action Space']}\n"
    yield f"### Observation\n\n{about['Observation Space']}\n"
    yield _kinds("observation", OBSERVATIONS)
    yield "Columns have no unit: each is a number in [−1, 1], and its meaning says what it is relative to.\n"
    for name, features in (("session", SESSION_FEATURES), ("link", LINK_FEATURES), ("node", NODE_FEATURES)):
        rows = [(str(column), f"`{key}`", meaning) for column, (key, meaning) in enumerate(features.items())]
        yield table((f"{name}: column", "name", "meaning"), rows)
    yield f"### Reward\n\n{about['Rewards']}\n"
    yield _kinds("reward", REWARDS)
    for title in ("Starting State", "Episode End", "Information"):
        yield f"### {title}\n\n{about[title]}\n"
    vector = inspect.cleandoc(AllocationVectorEnv.__doc__ or "")
    yield f"### Many at once, and autoreset\n\n`AllocationVectorEnv`: {vector}\n"
    yield "Every controller an agent: [multiagent.md](multiagent.md). Networks of any size: [streams.md](streams.md).\n"


def _documentation(kind: type) -> dict[str, str]:
    """Paragraphs of a class's documentation by their titles."""
    _, *parts = inspect.cleandoc(kind.__doc__ or "").split("\n## ")
    found = (part.partition("\n") for part in parts)
    return {title: text.strip() for title, _, text in found}


def _kinds(field: str, registry: Registry[Any]) -> str:
    rows = [(f'`{field}="{name}"`', _first_line(registry[name])) for name in registry]
    return table((field, "what it is"), rows)


def _first_line(kind: Any) -> str:
    return inspect.cleandoc(kind.__doc__ or "").splitlines()[0].removesuffix(".")


# --- an id ------------------------------------------------------------------------------------------------------------


def _section(id: str, keywords: Mapping[str, Any], measured: Measured) -> str:
    short = id.removeprefix(common.NAMESPACE)
    head = f'## {short}\n\n`gym.make("{id}")`'
    if "scenario" in keywords:
        return f"{head}: {_network(id, keywords['scenario'])}{_returns(measured, id)}"
    if "families" in keywords:
        return f"{head}: {_families(id, keywords)}"
    return f"{head} with `scenario=`: a name, a YAML file, a `Scenario`, a mapping of its fields, or a stream.\n"


def _network(id: str, name: str) -> str:
    """Of one network: its numbers, its sessions, its spaces, and where its physics are not the defaults."""
    topology = topologies.TOPOLOGIES[name]()
    env = _unwrapped(id)
    s, options = env.scenario, {**parameters(topology.graph), **parameters(topology.sessions)}
    lengths = [link.length_km for link in s.links]
    own = ", ".join(f"`{key}={value!r}`" for key, value in options.items())
    sessions = ", ".join(
        f"{session.source} → {session.destination} ({len(route)})"
        for session, route in zip(s.sessions, s.routes, strict=True)
    )
    hops = sum(map(len, s.routes))
    rows = [
        ("network", f"R = {len(s.sessions)}, L = {len(s.links)}, V = {len(s.nodes)}, H = {hops}"),
        (
            "links",
            f"{min(lengths):.3g} to {max(lengths):.3g} km" if min(lengths) < max(lengths) else f"{lengths[0]:.3g} km",
        ),
        ("sessions (links)", sessions),
        ("keywords of its own", own or "none"),
        ("physics", ", ".join(f"`{key}={value!r}`" for key, value in _unusual(s).items()) or "all defaults"),
        *_spaces(id, env),
        ("episode", f"{s.episode_length} control intervals of {s.control_interval:g} s"),
    ]
    return f"{_first_line(topology)}.\n\n{table(('', ''), rows)}"


def _families(id: str, keywords: Mapping[str, Any]) -> str:
    """Of a stream: what it draws from, and the room that the largest network needs."""
    from qnum_gym import families

    env = _unwrapped(id)
    assert env.stream is not None
    sizes = env.stream.sizes
    room = f"R = {sizes.sessions}, L = {sizes.links}, V = {sizes.nodes}, H = {sizes.hops}"
    own = ", ".join(f"`{key}={value!r}`" for key, value in keywords.items())
    rows = [
        ("room for", room),
        ("keywords", own),
        *_spaces(id, env),
        ("episode", f"{families.LENGTH} control intervals of 1 s"),
    ]
    drawn = [(f"`{name}`", families.family(name).about) for name in env.stream.names]
    what = (
        "a network for each episode ([streams.md](streams.md)), drawn from families ([evaluation.md](evaluation.md))."
    )
    return f"{what}\n\n{table(('', ''), rows)}\n{table(('family', 'what varies'), drawn)}"


def _spaces(id: str, env: AllocationEnv) -> list[tuple[str, str]]:
    signals = _unwrapped(id, signals=True).action_space
    found = [("action", f"`{env.action_space}`; with `signals=True` `{signals}`")]
    space: Any = env.observation_space
    if isinstance(space, gym.spaces.Dict):
        entries = ", ".join(
            f"`{key}` {entry.shape}" for key, entry in cast("dict[str, Any]", cast(Any, space).spaces).items()
        )
        return [*found, ("observation", f'"graph": {entries}')]
    return [*found, ("observation", f"`{space}`")]


def _unwrapped(id: str, **keywords: Any) -> AllocationEnv:
    return cast("AllocationEnv", gym.make(id, **keywords).unwrapped)


def _unusual(scenario: Scenario) -> dict[str, Any]:
    """Fields of physics that are not at their defaults."""
    fields = {name: field for name, field in ScenarioFields.model_fields.items() if name not in OWN}
    return {name: getattr(scenario, name) for name, field in fields.items() if getattr(scenario, name) != field.default}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


# --- what the references come to --------------------------------------------------------------------------------------


def _returns(measured: Measured, id: str) -> str:
    """Returns beside scores, the best first; empty where nobody measured them."""
    found: Measured = measured.get("ids", {}).get(id, {})
    if not found:
        return ""
    best_first = sorted(found.items(), key=lambda item: -item[1]["score"]["mean"])
    rows = [(f"`{name}`", _interval(values["return"], 1), _interval(values["score"], 3)) for name, values in best_first]
    about = (
        f"Return: the sum of an episode's `{measured['reward']}` rewards; {measured['intervals']} would be the optimum "
        "from the first interval on. Score: the share of the optimum in the second half, as `evaluate.py` says it. "
        f"Means over the seeds 0 to {measured['seeds'] - 1} and 95 % bootstrap intervals; `{measured['command']}`, "
        f"commit {measured.get('commits', {}).get(id, measured['commit'])}, {measured['machine']}."
    )
    return f"\n{table(('policy', 'return', 'score'), rows)}\n{about}\n"


def _interval(value: Mapping[str, Any], digits: int) -> str:
    low, high = value["ci95"]
    return f"{value['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _measured(ids: Sequence[str], policies: Sequence[str], seeds: int, jobs: int | None) -> dict[str, Any]:
    """Return and score of each policy on each network."""
    from qnum_gym.cli.progress import ProgressLine
    from qnum_gym.evaluation import PolicySpec, Processes, runner, statistics
    from qnum_gym.evaluation.statistics import Interval
    from qnum_gym.experiments.recording import Recording, Run
    from qnum_gym.simulator.batch import cores
    from qnum_gym.training.folder import versions

    def as_json(interval: Interval) -> dict[str, Any]:
        return {"mean": interval.mean, "ci95": [interval.low, interval.high]}

    runs = [
        Run({"id": id, "policy": name}, _unwrapped(id).scenario, PolicySpec.of(name), seeds, rewards=(REWARD,))
        for id in ids
        for name in policies
    ]
    with Processes(jobs or cores()) as processes, ProgressLine("environments") as line:
        records = runner.run([run.job for run in runs], processes=processes, progress=line)
    found: dict[str, dict[str, Any]] = {id: {} for id in ids}
    for run, seen in zip(runs, map(Recording.of, records), strict=True):
        found[str(run.labels["id"])][str(run.labels["policy"])] = {
            "return": as_json(statistics.mean(seen.returns[0])),
            "score": as_json(statistics.mean(seen.score)),
        }
    commit = versions().get("commit", "unknown")
    return {
        "command": f"{COMMAND} --seeds {seeds}",
        "commit": commit[:7] + " with changes" * commit.endswith("dirty"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "reward": REWARD,
        "seeds": seeds,
        "intervals": runs[0].scenario.episode_length,
        "ids": found,
    }
