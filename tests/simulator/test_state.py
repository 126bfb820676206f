"""Seeds, continuation, bookkeeping, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qnum_gym
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator

from .networks import line, random_network, scenarios


def run(simulator: Simulator, steps: int = 5) -> list[np.ndarray]:
    return [simulator.advance(1.0).sessions.sum_werner for _ in range(steps)]


def test_same_seed_same_bits_and_other_seed_other_bits() -> None:
    s = qnum_gym.scenario("nsfnet")
    first, again, other = (run(Simulator(s, seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_reset_starts_over() -> None:
    simulator = Simulator(qnum_gym.scenario("dumbbell"), 3)
    first = run(simulator)
    simulator.reset(3)
    np.testing.assert_array_equal(first, run(simulator))


def test_streams_belong_to_entities() -> None:
    """Another action of one source shifts nobody else's injections: the common random numbers of paired runs."""
    s = qnum_gym.scenario("dumbbell", window=10**6)
    injections = []
    for rate in (5.0, 50.0):
        simulator = Simulator(s, 1, trace=True)
        simulator.set_controls(rates=[rate, 5.0, 5.0])
        simulator.advance(20.0)
        log = simulator.events_log()
        injections.append(log[(log[:, 1] == 5) & (log[:, 2] == 1)])
    np.testing.assert_array_equal(*injections)


@settings(deadline=None, max_examples=25)
@given(scenario=scenarios(), seed=st.integers(0, 1000))
def test_ten_advances_equal_one(scenario: Scenario, seed: int) -> None:
    whole, parts = (Simulator(scenario, seed, trace=True) for _ in range(2))
    whole.advance(1.0)
    for _ in range(10):
        parts.advance(0.1)
    np.testing.assert_array_equal(whole.events_log(), parts.events_log())
    assert whole.time == parts.time == 1.0


@settings(deadline=None, max_examples=25)
@given(scenario=scenarios(), seed=st.integers(0, 1000))
def test_copies_continue_bit_for_bit(scenario: Scenario, seed: int) -> None:
    original = Simulator(scenario, seed, trace=True)
    original.advance(2.0)
    state = original.get_state()
    deep, pickled, restored = (
        copy.deepcopy(original),
        pickle.loads(pickle.dumps(original)),
        Simulator(scenario, 0, trace=True),
    )
    restored.set_state(state)
    original.advance(2.0)
    for other in (deep, pickled, restored):
        other.advance(2.0)
        np.testing.assert_array_equal(original.events_log(), other.events_log())
        for name, array in original.get_state()["arrays"].items():
            np.testing.assert_array_equal(array, other.get_state()["arrays"][name], err_msg=name)


def test_state_is_a_copy() -> None:
    simulator = Simulator(qnum_gym.scenario("dumbbell"), 0)
    telemetry, state = simulator.advance(1.0), simulator.get_state()
    before = telemetry.sessions.injected.copy(), state["arrays"]["links"].copy()
    simulator.advance(5.0)
    np.testing.assert_array_equal(telemetry.sessions.injected, before[0])
    np.testing.assert_array_equal(state["arrays"]["links"], before[1])


@settings(deadline=None, max_examples=60)
@given(scenario=scenarios(), seed=st.integers(0, 1000))
def test_nothing_is_lost_or_made_from_nothing(scenario: Scenario, seed: int) -> None:
    """At every step injected = delivered + in flight + dropped by reason, and the source's own ledger holds too."""
    simulator = Simulator(scenario, seed)
    rng = np.random.default_rng(seed)
    injected = delivered = dropped = learnt = waiting = 0
    for _ in range(12):
        simulator.set_controls(rates=rng.uniform(1, 80, len(scenario.sessions)))
        t = simulator.advance(0.5)
        injected = injected + t.sessions.injected
        delivered = delivered + t.sessions.delivered
        dropped = dropped + t.truth.dropped
        learnt = learnt + t.sessions.dropped
        np.testing.assert_array_equal(injected, delivered + dropped + t.truth.in_flight)
        np.testing.assert_array_equal(injected, delivered + learnt + t.sessions.unacked)
        windows = scenario.arrays().window
        assert (t.sessions.unacked <= windows).all()
        wanted = np.where(t.sessions.missing >= 0, t.sessions.missing, np.inf)  # what is under way is for these
        assert (t.sessions.unacked <= wanted).all()
        assert (t.sessions.paused == (t.sessions.unacked >= np.minimum(windows, wanted))).all()
        waiting = waiting + t.links.arrivals - t.links.departures  # all that came, less those refused or gone
        assert (t.links.queue <= waiting).all()
        assert (t.links.queue >= 0).all()


def test_records_of_finished_datagrams_are_used_again() -> None:
    simulator = Simulator(qnum_gym.scenario("dumbbell", message_loss=0.2, window=50), 0)
    simulator.set_controls(rates=[40.0] * 3)
    simulator.advance(300.0)
    # windows of 50, and q-datagrams that outlive their time-out
    assert len(simulator.get_state()["arrays"]["datagrams"]) <= 512


def test_memory_bounds_what_waits_on_the_way() -> None:
    s = line(1000.0, 100.0, memory=4, window=1000)
    simulator = Simulator(s, 0)
    simulator.set_controls(rates=[30.0], werner=[0.9, 0.9])
    for _ in range(50):
        t = simulator.advance(0.5)
        assert t.links.queue[1] <= 4
    assert t.links.dropped[1] > 0


def test_refusals_name_what_is_wrong() -> None:
    simulator = Simulator(random_network(1, 6, 2), 0)
    n_links = len(simulator.scenario.links)
    for controls, message in [
        ({"rates": [1.0, -1.0]}, r"rates\[1\] = -1.0; valid: 0.01 to 1000"),
        ({"rates": [1.0, np.nan]}, r"rates\[1\] = nan"),
        ({"rates": [1.0]}, r"rates has shape \(1,\); valid: \(2,\)"),
        ({"werner": [1.0] * n_links}, r"werner\[0\] = 1.0; valid: 0.5 to 0.999"),
        ({"link_signals": [np.inf] * n_links}, r"link_signals\[0\] = inf"),
        ({"session_signals": [[0.0, 0.0]]}, r"session_signals has shape \(1, 2\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            simulator.set_controls(**controls)
    for seconds in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="seconds"):
            simulator.advance(seconds)
    with pytest.raises(ValueError, match=r"state is of .* valid: of"):
        simulator.set_state(Simulator(qnum_gym.scenario("dumbbell"), 0).get_state())
