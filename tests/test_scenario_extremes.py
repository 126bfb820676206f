"""Any value in any field is refused by name, or gives a network whose observations and rewards are finite."""

import math
import warnings
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym.envs import AllocationEnv
from qnum_gym.optimum import ScoreWarning
from qnum_gym.scenarios import Link, LinkEvent, Node, NodeEvent, Scenario, ScenarioError, Session
from qnum_gym.simulator import Simulator

EXTREMES: list[Any] = [
    *(math.nan, math.inf, -math.inf, 5e-324, 1e-320, 2.2e-308, 1e-300, 1e-100, 1e-12, 1e-9, 1e-6, 0.0, -0.0, -1.0),
    *(0.25, 0.9999999999999999, 1.0, 1.0000000000000002, 2, 1e3, 32_000.0, 1e6, 1e9, 1e12, 1e100, 1e300),
    *(1.7976931348623157e308, 2**31 - 1, 2**31, 2**63, 10**400, -(10**400), True, "1", None, [], {1}, np.float32(0.5)),
]
PAIRS = [(0.5, 0.5000000001), (1e-9, 1 - 1e-9), (5e-324, 1e-320), (1e-12, 1e9), (1e-300, 1e300), (0.9, 0.1), (0.5, 0.5)]
TEXTS = ["", "fifo", "lifo", "fair", "push_out", "even", "parallel", "negativity", "distillable", "nonsense"]


def fields(part: type[Any]) -> list[str]:
    return [name for name in part.model_fields if name not in ("nodes", "links", "sessions", "events")]


def changed(where: str, field: str, value: Any) -> dict[str, Any]:
    """A chain of two links and two sessions with one value in one place."""
    link: dict[str, Any] = {"a": "a", "b": "b", "length_km": 10.0}
    session: dict[str, Any] = {"source": "a", "destination": "c", "weight": 2.0}
    node: dict[str, Any] = {"name": "b"}
    events: dict[str, dict[str, Any]] = {
        "linkevent": {"time": 1.0, "link": ["b", "c"], "extra_loss_db": 3.0},
        "nodeevent": {"time": 2.0, "node": "b", "coherence_time": 5.0},
    }
    whole: dict[str, Any] = {}
    {"scenario": whole, "link": link, "session": session, "node": node, **events}[where][field] = value
    return {
        "nodes": ["a", node, "c"],
        "links": [link, {"a": "b", "b": "c", "length_km": 20.0}],
        "sessions": [session, ["b", "c"]],
        "events": list(events.values()),
        **whole,
    }


def lives(scenario: Scenario, rng: np.random.Generator) -> None:
    """Five steps of any actions: what is seen is finite."""
    env = AllocationEnv(scenario, signals=True)
    observation, info = env.reset(seed=0)
    assert np.isfinite(observation).all()
    for _ in range(5):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)  # pyright: ignore[reportArgumentType]
        observation, reward, _, _, info = env.step(action)
        assert np.isfinite(observation).all()
        assert abs(reward) <= 1e3
        for name in ("rate", "werner", "latency", "queue", "utilisation"):
            assert np.isfinite(info[f"metrics/{name}"]).all(), name


PARTS = {
    "scenario": Scenario,
    "link": Link,
    "session": Session,
    "node": Node,
    "linkevent": LinkEvent,
    "nodeevent": NodeEvent,
}


@pytest.mark.parametrize("where", PARTS)
def test_any_value_in_any_field(where: str) -> None:
    """Made with numbers from one end of the floats to the other, then lived in, for a few of those that can be."""
    rng = np.random.default_rng(6)
    refused = made = 0
    for field in fields(PARTS[where]):
        for value in [*EXTREMES, *TEXTS, *PAIRS]:
            try:
                scenario = Scenario(**changed(where, field, value))
            except ScenarioError:
                refused += 1
                continue
            made += 1
            a = scenario.arrays(3.0)
            for name in ("capacity", "latency", "decay_rate", "weight", "rate_min", "rate_max"):
                assert np.isfinite(getattr(a, name)).all(), (field, value, name)
            if made % 4 == 0:  # an environment takes a moment
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", ScoreWarning)
                        lives(scenario, rng)
                except Exception as error:
                    raise AssertionError(f"{where}.{field} = {value!r}") from error
    assert refused > made / 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"coherence_time": 5e-324}, "coherence_time = 5e-324"),
        ({"coherence_time": 1e-320}, "coherence_time = 1e-320"),
        ({"rate_range": (1e-300, 1.0)}, r"rate_range\[0\] = 1e-300"),
        ({"rate_range": (0.01, 1e300)}, r"rate_range\[1\] = 1e\+300"),
        ({"initial_rate": 1e-300}, "initial_rate = 1e-300"),
        ({"processing_delay": 9e7}, "processing_delay = 90000000.0: all delays together are"),
        ({"feedback_delay": 1e9}, "feedback_delay = 1000000000.0"),
        ({"coupling": 1e-300}, "coupling = 1e-300"),
        ({"werner_range": (0.5, 0.5 + 1e-12)}, r"werner_range .*upper - lower at least"),
        ({"control_interval": 1e-10}, "control_interval = 1e-10"),
        ({"attenuation": 1e300}, r"links\[0\].length_km = 10.0: capacity is 0 pairs/s"),
    ],
)
def test_numbers_of_another_world_are_refused_by_name(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        qnum_gym.scenario("dumbbell", **overrides)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"length_km": 1e300}, r"links\[0\].length_km = 1e\+300: must be less than"),
        ({"length_km": 10**400}, r"links\[0\].length_km = 1000.*: must be a number of at most 1.79769e\+308"),
        ({"length_km": 32_000.0, "cycle_time": 1.0}, r"links\[0\].length_km = 32000.0: capacity is .* at least 1e-100"),
        ({"length_km": 1.0, "capacity": 1e-300}, r"links\[0\].capacity = 1e-300: capacity is 1e-300 pairs/s"),
    ],
)
def test_links_of_another_world_are_refused_by_name(link: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        Scenario(links=[{"a": "a", "b": "b", **link}, {"a": "b", "b": "c", "length_km": 10}], sessions=[["a", "c"]])


def test_nodes_in_no_order_are_refused() -> None:
    for several in ({"a", "b"}, frozenset({"a", "b"}), {"a": 1, "b": 2}.keys()):
        with pytest.raises(ScenarioError, match=r"nodes = .*: must be a list"):
            Scenario(nodes=several, links=[{"a": "a", "b": "b", "length_km": 1}], sessions=[["a", "b"]])


def test_a_hopeless_link_is_not_refused() -> None:
    """NSFNET at full length: on its longest link 10^-28 of the light arrives."""
    assert qnum_gym.scenario("nsfnet", scale=1, cycle_time=0.02).arrays().capacity.min() < 1e-20


def test_signals_of_any_size_stay_finite_or_are_refused() -> None:
    simulator = Simulator(qnum_gym.scenario("dumbbell", initial_rate=40.0))
    for name, count in (("session_signals", 3), ("link_signals", 7)):
        for value in (1e308, -1e308, 1.1e100, math.nan):
            with pytest.raises(ValueError, match=rf"{name}\[0\] = .*; valid: -1e\+100 to 1e\+100"):
                simulator.set_controls(**{name: [value] * count})
    simulator.set_controls(session_signals=[1e100, -1e100, 0.0], link_signals=[1e100, -1e100] * 3 + [1e100])
    for _ in range(5):
        t = simulator.advance(1.0)
        assert np.isfinite(t.sessions.records["price"]).all()
        assert np.isfinite(t.headers.signal).all()


def test_a_named_network_may_have_another_name() -> None:
    assert qnum_gym.scenario("dumbbell", name="mine").name == "mine"
    with pytest.raises(ScenarioError, match="name = 3"):
        qnum_gym.scenario("dumbbell", name=3)
