"""The kernel does, event for event and bit for bit, what the plain reference does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qnum_gym
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import ParallelReference, Reference, Simulator, Telemetry
from qnum_gym.simulator.reference import REFERENCES
from qnum_gym.simulator.state import RECORD, zeros

from .networks import scenarios


def measured(telemetry: Telemetry) -> dict[str, object]:
    """Everything that a Telemetry says, by name."""
    blocks = (telemetry.sessions, telemetry.links, telemetry.headers)
    values = {
        f"{type(block).__name__}.{name}": getattr(block, name)
        for block in blocks
        for name in dir(block)
        if not name.startswith("_") and name != "records"
    }
    truth = telemetry.truth
    return values | {
        "events": telemetry.events,
        "time": telemetry.time,
        "in_flight": truth.in_flight,
        "drops": truth.drops,
        "header_hops": truth.traffic.header_hops,
        "answer_hops": truth.traffic.answer_hops,
        "scalars": truth.traffic.scalars,
    }


def assert_same_records(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Of every q-datagram the same, in whatever order."""
    ours, theirs = (records[np.lexsort((records["sequence"], records["session"]))] for records in (ours, theirs))
    for name in RECORD.names or ():
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def assert_equal_runs(scenario: Scenario, seed: int, steps: int) -> np.ndarray:
    """Run both under the same ever-changing controls; returns how often each kind of event happened."""
    kernel = Simulator(scenario, seed, trace=True, recording=True)
    reference = REFERENCES[scenario.swapping](scenario, seed)
    over = zeros(0, RECORD)
    rng = np.random.default_rng(seed)
    a = scenario.arrays()
    for step in range(steps):
        if step % 4 != 3:  # now and then a control stays
            controls = {
                "rates": rng.uniform(np.maximum(a.rate_min, 1.0), np.minimum(a.rate_max, 60.0)),
                "werner": rng.uniform(np.maximum(a.werner_min, 0.8), a.werner_max),
                "session_signals": rng.normal(size=len(a.source)),
                "link_signals": rng.normal(size=len(a.capacity)),
            }
            kernel.set_controls(**controls)
            reference.set_controls(**controls)
        seconds = float(rng.choice([0.25, 0.5, 1.0]))
        ours, theirs = kernel.advance(seconds), reference.advance(seconds)
        np.testing.assert_array_equal(kernel.events_log(), reference.events_log())
        over = np.concatenate([over, kernel.take_records()])
        unfinished = kernel.take_records(unfinished=True)
        assert_same_records(np.concatenate([over, unfinished]), reference.records())
        for (name, x), y in zip(measured(ours).items(), measured(theirs).values(), strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)
    return np.bincount(kernel.events_log()[:, 1], minlength=6)


@settings(deadline=None, max_examples=120)
@given(scenario=scenarios(), seed=st.integers(0, 2**32 - 1))
def test_random_scenarios(scenario: Scenario, seed: int) -> None:
    assert_equal_runs(scenario, seed, steps=8)


@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
@pytest.mark.parametrize("name", ["dumbbell", "nsfnet", "surfnet", "chain", "star", "grid", "waxman"])
def test_named_topologies(name: str, swapping: str) -> None:
    kinds = assert_equal_runs(qnum_gym.scenario(name, swapping=swapping), seed=1, steps=12)
    assert (kinds[[1, 3, 4, 5]] > 50).all()


@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
def test_every_option_at_once_exercises_every_kind_of_event_and_drop(swapping: str) -> None:
    s = qnum_gym.scenario(
        "dumbbell", swapping=swapping, swap_success=0.8, gate_factor=0.99, message_loss=0.1, memory=3, cutoff=0.2
    )
    s = s.replace(drop_policy="push_out", discipline="fair", feedback_delay=0.3, window=20)
    s = s.replace(events=[{"time": 2.5, "link": ["left", "right"], "extra_loss_db": 3.0}])
    kinds = assert_equal_runs(s, seed=5, steps=16)
    assert (kinds > 0).all()
    simulator = Simulator(s, 5)
    simulator.set_controls(rates=[30.0, 30.0, 30.0])
    drops = simulator.advance(60.0).truth.drops.sum(axis=0)
    assert (drops > 0).all(), dict(zip(simulator.telemetry().truth.reasons, drops, strict=True))


def test_each_reference_knows_its_own_kind_of_swapping() -> None:
    with pytest.raises(ValueError, match="swapping = 'parallel'; valid for Reference: 'sequential'"):
        Reference(qnum_gym.scenario("chain", swapping="parallel"))
    with pytest.raises(ValueError, match="swapping = 'sequential'; valid for ParallelReference: 'parallel'"):
        ParallelReference(qnum_gym.scenario("chain"))
