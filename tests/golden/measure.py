"""Runs a case through the public surface and gives plain numbers; compares them with those of a golden file."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import qnum_gym
from qnum_gym import Scenario, agents

from . import cases

FOLDER = Path(__file__).parent
REWARD = "relative"  # it hangs on both references, U₀ and U₁
STEPS = 20
DIGITS = 12  # significant ones that are kept, but for these quantities
DIGITS_OF = {"observation": 7, "optimum": 10, "utility": DIGITS}
CONSTANT = (
    "headers.hop",
    "headers.hops",
    "headers.node",
    "headers.session",
)  # left out; `headers.link` tells the order

# Greatest differences: of whole numbers none, of others 1e-9 of themselves, since processors differ in the last bits.
# Wider ones are shares of a quantity's greatest value: observations are of 32 bits, the best point of a grid is as flat
# as an optimum is, and prices are multipliers of constraints that may nearly depend on each other. The first pattern
# that fits counts.
RELATIVE = 1e-9
ABSOLUTE = 1e-12
NO_PRICE = 1e-9  # what does not bind has a price of about the barrier's last weight, 1e-11, over its room
WIDER = {
    "*.observation*": 2e-7,
    "*.optimum.*.utility": 1e-9,
    "*.optimum.*_prices": 1e-6,
    "*.optimum.*": 1e-8,
    "*best_static*": 1e-6,
    "* oracle*": 1e-8,
    "*/oracle*": 1e-8,
}


def measured(kind: str, name: str) -> Any:
    """The results of a case: numbers, lists of numbers, and mappings of these by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of hopeless sessions
        return _plain(KINDS[kind][1](name))


def _environment(name: str) -> Any:
    env = gym.make(name, reward=REWARD, **cases.environments()[name])
    try:
        return {"environment": _episode(env, np.random.default_rng(cases.seed_of(name)), mean=0.25)}
    finally:
        env.close()


def _scenario(name: str) -> Any:
    scenario = cases.scenario(name)
    rng = np.random.default_rng(cases.seed_of(name))
    simulator = _simulator(scenario, rng)
    env = gym.make("qnum_gym/Scenario-v0", scenario=scenario, reward=REWARD, action="level", signals=rng.random() < 0.5)
    environment = _episode(env, rng, mean=0.05)
    optimum = {
        f"at {time:g} s, {'with' if aware else 'without'} decoherence": _optimum(scenario, time, aware)
        for time in ((0.0, 10.0) if len(scenario.change_times()) > 1 else (0.0,))
        for aware in (False, True)
    }
    return {"simulator": simulator, "environment": environment, "optimum": optimum}


def _policy(name: str) -> Any:
    network, policy_name = name.split(" ", 1)
    env: Any = gym.make(f"qnum_gym/{network}-v0").unwrapped
    policy = agents.make(str(cases.ROOT / policy_name) if policy_name.endswith(".yaml") else policy_name)
    env.reset(seed=7)
    policy.reset(env.scenario, seed=11)
    for _ in range(STEPS):
        env.step_controls(policy.act(env.telemetry))
    controls = policy.act(env.telemetry)
    signals = {"session_signals": controls.session_signals, "link_signals": controls.link_signals}
    return {
        "rates": controls.rates,
        "werner": controls.werner,
        **{key: value for key, value in signals.items() if value is not None},
    }


def _episode(env: Any, rng: np.random.Generator, mean: float) -> Any:
    """Actions around `mean` for the rates and 0.15 for the rest, until the end or `STEPS`."""
    observation, info = env.reset(seed=int(rng.random() * 1000))
    sessions = len(info["rewards/session"])
    rewards: list[float] = []
    steps: list[dict[str, Any]] = []
    ended = False
    while not ended and len(steps) < STEPS:
        action = np.full(env.action_space.shape, 0.15)
        action[:sessions] = mean
        action += 0.35 * (2.0 * rng.random(len(action)) - 1.0)
        observation, reward, terminated, truncated, info = env.step(action.astype(np.float32))
        rewards.append(float(reward))
        ends = {"terminated": int(terminated), "truncated": int(truncated)}
        means = {"observation means": float(observation.mean(dtype=float))}
        names = {key: key.removeprefix("metrics/").replace("/", ".") for key in info}
        names |= {"rewards/session": "rewards"}
        told = {names[key]: value for key, value in info.items() if key != "cost"}
        steps.append({**ends, **means, **told})
        ended = terminated or truncated
    last = {"steps": len(steps), "reward": rewards, "observation": observation}
    return {**last, "sums": _over_time(steps)}


def _simulator(scenario: Scenario, rng: np.random.Generator) -> Any:
    """Telemetry of `STEPS` advances of different lengths, with other controls before each but the first."""
    low, high = zip(*(session.rate_range or scenario.rate_range for session in scenario.sessions), strict=True)
    bad, good = scenario.arrays().werner_min, scenario.arrays().werner_max
    simulator = qnum_gym.Simulator(scenario, seed=int(rng.random() * 2**31))
    steps: list[dict[str, Any]] = []
    for step in range(STEPS):
        rates = np.clip(6.0 * 20.0 ** rng.random(len(low)), low, high)
        werner = np.clip(1.0 - 0.2 * 0.05 ** rng.random(len(bad)), bad, good)
        if step:
            simulator.set_controls(rates=rates, werner=werner)
        if step % 3 == 1:
            simulator.set_controls(session_signals=rng.random(len(low)), link_signals=rng.random(len(bad)))
        steps.append(_telemetry(simulator.advance(0.2 + 1.2 * rng.random())))
    last = {"time": simulator.time, "in_flight": simulator.in_flight()}
    return {**last, "sums": _over_time(steps)}


def _telemetry(telemetry: Any) -> dict[str, Any]:
    """All that it tells, by name."""
    truth = telemetry.truth
    parts = {"sessions": telemetry.sessions, "links": telemetry.links, "headers": telemetry.headers, "truth": truth}
    arrays: dict[str, Any] = {"events": telemetry.events, "seconds": telemetry.seconds}
    for part, block in {**parts, "traffic": truth.traffic}.items():
        for name in dir(type(block)):
            value = None if name.startswith("_") else getattr(block, name)
            if isinstance(value, np.ndarray) and value.dtype.names is None and f"{part}.{name}" not in CONSTANT:
                arrays[f"{part}.{name}"] = value
    return arrays


def _over_time(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the steps: of counts by row, of other numbers over all rows too; NaN and infinity count as 0."""
    result: dict[str, Any] = {}
    for name in steps[0]:
        values = np.array([step[name] for step in steps])
        if values.dtype.kind == "f":
            result[name] = float(values[np.isfinite(values)].sum())
        else:
            result[name] = values.astype(np.int64).sum(axis=0)
    return result


def _optimum(scenario: Scenario, time: float, decoherence: bool) -> Any:
    try:
        best = qnum_gym.optimum.solve(scenario, decoherence=decoherence, max_utilisation=0.95, time=time)
    except qnum_gym.optimum.InfeasibleError:
        return {"infeasible": 1}
    names = ("rates", "werner", "link_prices", "fidelity_prices", "rate_prices", "utility")
    return {name: getattr(best, name) for name in names}


def _plain(value: Any, digits: int = DIGITS) -> Any:
    """Whole numbers, and others rounded to significant digits, in lists and mappings, as JSON knows them."""
    if isinstance(value, Mapping):
        return {key: _plain(entry, DIGITS_OF.get(key, digits)) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        array: NDArray[Any] = np.asarray(value).ravel()
        return [_plain(entry, digits) for entry in array.tolist()]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{digits}g}")
    return int(value)


KINDS: dict[str, tuple[Callable[[], Iterable[str]], Callable[[str], Any]]] = {  # names of the cases, and what runs one
    "environments": (cases.environments, _environment),
    "scenarios": (cases.scenarios, _scenario),
    "policies": (cases.policies, _policy),
}


# --- files ------------------------------------------------------------------------------------------------------------


def names(kind: str) -> tuple[str, ...]:
    """The cases that there are to record."""
    return tuple(KINDS[kind][0]())


def path(kind: str) -> Path:
    """The golden file."""
    return FOLDER / f"{kind}.json"


def stored(kind: str) -> dict[str, Any]:
    """All cases of a golden file, by name; none if there is no file."""
    return json.loads(path(kind).read_text(encoding="utf-8")) if path(kind).exists() else {}


def store(kind: str, found: Mapping[str, Any]) -> None:
    """Write a golden file, a line per case."""
    lines = [f"{json.dumps(name)}: {json.dumps(found[name], separators=(',', ':'))}" for name in found]
    path(kind).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


# --- comparison -------------------------------------------------------------------------------------------------------


def differences(expected: Any, got: Any, quantity: str) -> Iterator[str]:
    """A line for each number of `expected` that is another one in `got`; `quantity` is KIND/CASE and the way to it."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            if isinstance(got, dict) and key in got:
                yield from differences(value, got[key], f"{quantity}.{key}")
            else:
                yield f"{quantity}.{key}: missing"
        return
    pairs = {quantity: (expected, got)}
    if isinstance(expected, list):
        if not isinstance(got, list) or len(got) != len(expected):
            yield f"{quantity}: expected {expected}, got {got}"
            return
        pairs = {f"{quantity}[{i}]": pair for i, pair in enumerate(zip(expected, got, strict=True))}
    wider = next((limit for pattern, limit in WIDER.items() if fnmatchcase(quantity, pattern)), 0.0)
    least = NO_PRICE if fnmatchcase(quantity, "*.optimum.*_prices") else ABSOLUTE
    greatest = max((abs(x) for x, _ in pairs.values() if math.isfinite(x)), default=0.0)
    for name, (x, y) in pairs.items():
        if not _same(x, y, max(least, wider * greatest if wider else RELATIVE * abs(x))):
            yield f"{name}: expected {x!r}, got {y!r}"


def _same(x: Any, y: Any, limit: float) -> bool:
    if isinstance(x, int) and isinstance(y, int):
        return x == y
    if not isinstance(y, (int, float)):
        return False
    return abs(x - y) <= limit if math.isfinite(x) and math.isfinite(y) else repr(x) == repr(y)
