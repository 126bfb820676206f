"""What the golden files hold: environments, a random scenario for each option, and policies."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from qnum_gym import Scenario, agents

Fields = dict[str, Any]

# Fields of a scenario. "node", "link" and "session" hold fields for every second one of these, from the first on;
# with "shortest" the sessions have no path.
OPTIONS: dict[str, Fields] = {
    "defaults": {},
    "shortest routes": {"name": "ring", "measure": "secret_key", "shortest": True},
    # physics
    "cycle time, coupling, attenuation": {"cycle_time": 2e-3, "coupling": 0.7, "attenuation": 0.25},
    "cycle time, coupling, attenuation of links": {"link": {"cycle_time": 2e-3, "coupling": 0.7, "attenuation": 0.3}},
    "capacity of links": {"link": {"capacity": 300.0}},
    "no decoherence": {"coherence_time": np.inf},
    "short coherence": {"coherence_time": 1.0},
    "coherence of nodes": {"coherence_time": np.inf, "node": {"coherence_time": 3.0}},
    "swaps fail": {"swap_success": 0.6},
    "swaps fail at some nodes": {"node": {"swap_success": 0.6}},
    "gates": {"gate_factor": 0.98},
    "gates of nodes": {"node": {"gate_factor": 0.97}},
    "parallel": {"swapping": "parallel"},
    "parallel, swaps fail": {"swapping": "parallel", "swap_success": 0.7, "gate_factor": 0.99},
    "parallel, messages lost": {"swapping": "parallel", "message_loss": 0.1, "memory": 8, "window": 12},
    "parallel, lifo, cut-off": {"swapping": "parallel", "discipline": "lifo", "cutoff": 0.2},
    "parallel, fair, push out": {"swapping": "parallel", "discipline": "fair", "drop_policy": "push_out", "memory": 4},
    "processing delay": {"processing_delay": 0.02},
    "processing delay of links": {"link": {"processing_delay": 0.05}},
    "feedback delay": {"feedback_delay": 1.7, "window": 400},
    "messages lost": {"message_loss": 0.1},
    # queues
    "lifo": {"discipline": "lifo"},
    "fair": {"discipline": "fair"},
    "lifo of links": {"discipline": "fifo", "link": {"discipline": "lifo"}},
    "fair of links": {"discipline": "lifo", "link": {"discipline": "fair"}},
    "small memory": {"memory": 3, "drop_policy": "drop_tail"},
    "small memory of links": {"link": {"memory": 2}},
    "push out": {"memory": 3, "drop_policy": "push_out"},
    "push out of links": {"memory": 3, "link": {"drop_policy": "push_out"}},
    "lifo, push out": {"discipline": "lifo", "memory": 3, "drop_policy": "push_out"},
    "fair, push out": {"discipline": "fair", "memory": 3, "drop_policy": "push_out"},
    "fair, drop tail": {"discipline": "fair", "memory": 3, "drop_policy": "drop_tail"},
    # sources
    "small window": {"window": 4},
    "window of sessions": {"session": {"window": 2}},
    "even": {"pacing": "even"},
    "even and poisson": {"pacing": "poisson", "session": {"pacing": "even"}},
    "cut-off": {"cutoff": 0.05},
    "cut-off of sessions": {"session": {"cutoff": 0.3}},
    "never cut off": {"cutoff": 0.2, "session": {"cutoff": np.inf}},
    "start and stop": {"session": {"start": 4.5, "stop": 14.25}},
    # utility
    "negativity": {"measure": "negativity"},
    "distillable": {"measure": "distillable"},
    "measure of sessions": {"measure": "secret_key", "session": {"measure": "negativity"}},
    "per pair, secret key": {"worth": "per_pair", "measure": "secret_key"},
    "per pair, negativity": {"worth": "per_pair", "measure": "negativity"},
    "per pair, distillable": {"worth": "per_pair", "measure": "distillable"},
    "pooled": {"worth": "pooled", "measure": "distillable", "session": {"measure": "secret_key"}},
    "weights": {"session": {"weight": 3.0}},
    "fidelity floor": {"session": {"min_fidelity": 0.93}},
    "demand": {"session": {"min_rate": 9.0}},
    # controls
    "ranges": {"werner_range": (0.8, 0.99), "rate_range": (0.5, 80.0), "initial_werner": 0.9, "initial_rate": 7.0},
    "ranges of parts": {
        "link": {"werner_range": (0.85, 0.98), "initial_werner": 0.9},
        "session": {"rate_range": (2.0, 30.0), "initial_rate": 5.0},
    },
    "intervals": {"control_interval": 0.37, "episode_length": 12},
    # events
    "link loss": {"events": [{"time": 5.5, "loss": 6.0}, {"time": 12.0, "loss": 0.0}]},
    "link down": {"events": [{"time": 5.5, "up": False}, {"time": 9.1, "up": True}]},
    "node event": {"events": [{"time": 7.3, "coherence_time": 0.5}]},
}
LATER: dict[str, Fields] = {  # not among the mixed ones, which stay as they were recorded
    "ack": {"hold": "ack", "feedback_delay": 0.2, "coherence_time": 5.0},
    "measure": {"hold": "measure", "coherence_time": 2.0},
    "holds of sessions": {"hold": "measure", "session": {"hold": "ack"}, "message_loss": 0.1},
    "parallel, ack": {"swapping": "parallel", "hold": "ack", "events": [{"time": 7.3, "coherence_time": 0.5}]},
    "exact links": {"link_model": "single_click_exact", "coupling": 0.5, "dark_count": 1e-5, "modes": 2},
    "exact links, threshold": {"link_model": "single_click_exact", "detectors": "threshold", "link": {"modes": 3}},
    "dark counts of links": {
        "link": {"link_model": "single_click_exact", "detectors": "threshold", "coupling": 0.6, "dark_count": 1e-5}
    },
    "links without a knob": {
        "link_model": "double_click",
        "initial_werner": 0.96,
        "link": {"link_model": "fixed", "attempt_success": 0.05, "initial_werner": 0.97},
    },
    "fixed links": {"link_model": "fixed", "attempt_success": 0.1},
    "parallel, measure": {"swapping": "parallel", "hold": "measure", "coherence_time": 2.0},
}
MIXED = 6  # scenarios in which each option is on or off by chance

POLICY_NETWORKS = ("Dumbbell", "NSFNet")
ROOT = Path(__file__).parents[2]


def environments() -> dict[str, Fields]:
    """Keywords of `gym.make` by id: all of ours with a network, `Scenario-v0` with a scenario of the package."""
    ids = sorted(id for id in gym.registry if id.startswith("qnum_gym/") and id != "qnum_gym/Families-v0")
    shipped = {"qnum_gym/Scenario-v0": {"scenario": str(ROOT / "configs/scenarios/heterogeneous.yaml")}}
    return {id: {"episode_length": 15, **shipped.get(id, {})} for id in ids}


def scenarios() -> tuple[str, ...]:
    """Their names."""
    return (*OPTIONS, *LATER, *(f"mixed {i}" for i in range(MIXED)))


def policies() -> tuple[str, ...]:
    """NETWORK POLICY, for every policy that comes with the package, with its tuned constants too."""
    tuned = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs/policies").glob("*.yaml"))
    known = (*agents.names(), *agents.zoo(), *tuned)
    return tuple(f"{network} {policy}" for network in POLICY_NETWORKS for policy in known)


def seed_of(name: str) -> int:
    """Another one for each name, so that a new case changes no other."""
    return zlib.crc32(name.encode())


def scenario(name: str) -> Scenario:
    """A ring of four or five nodes with a chord and three sessions, and the options of its name."""
    rng = np.random.default_rng(seed_of(name))
    options = _mixed(rng) if name.startswith("mixed ") else (OPTIONS | LATER)[name]
    n = _integer(rng, 4, 5)
    ends = [*((v, (v + 1) % n) for v in range(n)), (0, n // 2)]
    links = [{"a": a, "b": b, "length_km": round(2.0 + 13.0 * rng.random(), 3)} for a, b in ends]
    sessions: list[Fields] = []
    for source in (n - 1, *(_integer(rng, n - 1, n) % n for _ in range(2))):  # they share links
        way = [(source + step) % n for step in range(_integer(rng, 2, n - 2) + 1)]
        path = {} if options.get("shortest") else {"path": way}
        sessions.append({"source": source, "destination": way[-1], **path})
    parts: dict[str, list[Fields]] = {"node": [{"name": v} for v in range(n)], "link": links, "session": sessions}
    for kind, fields in parts.items():
        for part in fields[::2]:
            part |= options.get(kind, {})
    return Scenario(
        **{
            **{key: value for key, value in options.items() if key not in ("events", "shortest", *parts)},
            **{f"{kind}s": fields for kind, fields in parts.items()},
            "events": [_event(event, sessions[0]["source"], n) for event in options.get("events", [])],
        }
    )


def _event(event: Fields, source: int, n: int) -> Fields:
    """At the first session's source, or on the link from there on along the ring."""
    if "coherence_time" in event:
        return {**event, "node": source}
    fields = {("extra_loss_db" if key == "loss" else key): value for key, value in event.items()}
    return {**fields, "link": (source, (source + 1) % n)}


def _mixed(rng: np.random.Generator) -> Fields:
    """About a fifth of all options together; of two that set the same field the later."""
    mixed: Fields = {}
    for options in OPTIONS.values():
        if rng.random() < 0.2:
            for key, value in options.items():
                mixed[key] = {**mixed.get(key, {}), **value} if isinstance(value, dict) else value
    return mixed


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))


def uncovered() -> list[str]:
    """Fields of a scenario and its parts, and values that a field lists, which no scenario here has."""
    schema = Scenario.model_json_schema()
    parts = {"Scenario": schema, **{k: v for k, v in schema["$defs"].items() if "properties" in v}}
    lists = {"Node": "nodes", "Link": "links", "Session": "sessions", "LinkEvent": "events", "NodeEvent": "events"}
    given = [scenario(name).model_dump(mode="json", exclude_defaults=True) for name in scenarios()]
    missing: list[str] = []
    for part, described in parts.items():
        rows = given if part == "Scenario" else [row for fields in given for row in fields.get(lists[part], [])]
        for field, about in described["properties"].items():
            choices = _choices(about, schema["$defs"])
            values = {str(row[field]) for row in rows if field in row} | {str(about.get("default"))}
            if not any(field in row for row in rows) and about.get("const") is None:
                missing.append(f"{part}.{field}")
            missing += [
                f"{part}.{field} = {choice}" for choice in choices if part == "Scenario" and choice not in values
            ]
    return missing


def _choices(about: Fields, definitions: Fields) -> list[str]:
    for entry in (about, *about.get("anyOf", [])):
        if "$ref" in entry:
            entry = definitions[entry["$ref"].rsplit("/", 1)[-1]]
        if "enum" in entry:
            return entry["enum"]
    return []
