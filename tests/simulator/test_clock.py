"""The clock counts whole nanoseconds, without drift, up to its end; sums of time do not overflow."""

import copy
import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qnum_gym
from qnum_gym.scenarios import Scenario, ScenarioError
from qnum_gym.simulator import Batch, Reference, Simulator
from qnum_gym.simulator.reference.things import Datagram

from .networks import line

QUIET = line(1000.0, rate_range=(1e-9, 1.0), initial_rate=1e-9)
YEARS = 1e8


def nanoseconds(seconds: float, times: int = 1) -> int:
    """What is right, in rational numbers: the decimal that was written if it is a whole number of ns."""
    whole = round(Fraction(str(seconds)) * 10**9)
    if Fraction(str(seconds)) * 10**9 == whole:
        return times * whole
    return round(Fraction(seconds) * times * 10**9)


LENGTHS = [0.1, 0.3, 1e-3, 0.7, 1 / 3, 2 / 3, 1 / 1024, 3 / 1024, 1e-9, 1.5e-9, 0.123456789]


@pytest.mark.parametrize("seconds", LENGTHS)
def test_interval_n_ends_at_n_times_its_length(seconds: float) -> None:
    simulator, reference = Simulator(QUIET), Reference(QUIET)
    for n in range(1, 1001):
        ours = simulator.advance(seconds)
        if n in (1, 2, 3, 7, 10, 999, 1000):
            assert ours.now == nanoseconds(seconds, n)
    for n in range(1, 30):
        assert reference.advance(seconds).now == nanoseconds(seconds, n)


def test_so_it_does_after_many_intervals_and_in_a_batch() -> None:
    batch = Batch([Simulator(QUIET) for _ in LENGTHS], threads=1)
    for n in range(1, 20_001):
        batch.advance(LENGTHS)
        if n in (1, 2, 3, 7, 10, 1000, 19_999, 20_000):
            ends = [simulator.telemetry().now for simulator in batch.simulators]
            assert ends == [nanoseconds(seconds, n) for seconds in LENGTHS]


def test_a_million_seconds_in_intervals_of_a_tenth() -> None:
    """1e7 advances would take a while: the clock is set on to where they would have led."""
    simulator = Simulator(QUIET)
    simulator.advance(999_999.9)
    assert simulator.advance(0.1).now == 10**15


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.1, 0.3, 1 / 3, 1.0, 0.25, 1e-9, 1 / 7, 12.7]) | st.floats(1e-9, 1e3), min_size=1))
def test_mixed_advances_end_where_their_exact_sum_does(spans: list[float]) -> None:
    simulator, reference = Simulator(QUIET), Reference(QUIET)
    for seconds in spans:
        assert simulator.advance(seconds).now == reference.advance(seconds).now
    backwards = Simulator(QUIET)
    for seconds in reversed(spans):
        backwards.advance(seconds)
    assert backwards.time == simulator.time


@pytest.mark.parametrize(("parts", "seconds"), [(30, 0.1), (10, 0.3), (9, 1 / 3), (3, 1.0), (1, 3.0)])
def test_any_division_of_three_seconds_gives_the_same_events(parts: int, seconds: float) -> None:
    s = qnum_gym.scenario("dumbbell", initial_rate=30.0)
    whole, divided = Simulator(s, 1, trace=True), Simulator(s, 1, trace=True)
    whole.advance(3.0)
    for _ in range(parts):
        divided.advance(seconds)
    np.testing.assert_array_equal(whole.events_log(), divided.events_log())
    assert whole.telemetry().now == divided.telemetry().now == 3 * 10**9


def test_copies_keep_fractions_of_a_nanosecond() -> None:
    simulator = Simulator(QUIET)
    simulator.advance(1 / 3)
    others = [copy.deepcopy(simulator), pickle.loads(pickle.dumps(simulator)), Simulator(QUIET)]
    others[2].set_state(simulator.get_state())
    for one in (simulator, *others):
        one.advance(1 / 3)
        assert one.advance(1 / 3).now == 10**9


def test_changes_come_in_whole_nanoseconds_and_in_the_interval_that_they_begin() -> None:
    times = [0.1 * 3, 1 / 3, 7.3, 2.5e8, 1e9]
    events = [{"time": t, "link": [0, 1], "extra_loss_db": float(i)} for i, t in enumerate(times)]
    s = line(1000.0, 1000.0, events=events)
    assert Simulator(s).state.schedule["time"].tolist() == [
        300_000_000,
        333_333_333,
        7_300_000_000,
        25 * 10**16,
        10**18,
    ]
    simulator = Simulator(s)
    for _ in range(3):
        assert simulator.advance(0.1).links.capacity[0] == 1000.0
    simulator.advance(1e-9)
    assert simulator.telemetry().links.capacity[0] == 1000.0  # loss 0 dB
    assert simulator.advance(0.1).links.capacity[0] < 1000.0


# ---- the end of the clock -------------------------------------------------------------------------------------------


def test_nothing_runs_past_the_end_of_the_clock() -> None:
    simulator, reference = Simulator(QUIET), Reference(QUIET)
    for _ in range(10):
        simulator.advance(YEARS / 10)
    before = simulator.get_state()
    with pytest.raises(ValueError, match=r"seconds = 1e-09 after 1e\+08 s; valid: at most 1e\+08 s of simulated time"):
        simulator.advance(1e-9)
    assert simulator.get_state()["digest"] == before["digest"]
    reference.advance(YEARS)
    with pytest.raises(ValueError, match="past the end of the clock"):
        reference.advance(1.0)
    for wrong in (2e8, 1.2e9, 1e300):
        with pytest.raises(ValueError, match="valid: more than 0, and at most"):
            Simulator(QUIET).advance(wrong)


def test_a_batch_refuses_as_a_whole() -> None:
    fresh, old = Simulator(QUIET), Simulator(QUIET)
    old.advance(YEARS)
    batch = Batch([fresh, old], threads=1)
    with pytest.raises(ValueError, match="of simulated time"):
        batch.advance(1.0)
    assert fresh.time == 0.0


def test_an_episode_longer_than_the_clock_is_refused_when_it_is_made() -> None:
    with pytest.raises(ScenarioError, match=r"control_interval = 200000000.0: must be less than or equal to 100000000"):
        qnum_gym.scenario("dumbbell", control_interval=2e8)
    with pytest.raises(ScenarioError, match=r"control_interval = 90000000.0: times episode_length, 200"):
        qnum_gym.scenario("dumbbell", control_interval=9e7)
    with pytest.raises(
        ScenarioError, match=r"control_interval = 1.0: .* 2000000000, this is 2e\+09 s; valid: at most 1e\+08"
    ):
        qnum_gym.scenario("dumbbell", episode_length=2 * 10**9)
    qnum_gym.scenario("dumbbell", control_interval=1e6, episode_length=100)


def test_the_longest_times_of_all_at_once() -> None:
    """Delays, intervals and waits at their limits: nothing overflows, everything ends."""
    s = line(2.0, 2.0, control_interval=5e7, episode_length=2, processing_delay=1e7, feedback_delay=5e7)
    simulator, reference = Simulator(s, trace=True), Reference(s)
    simulator.set_controls(rates=[0.01])
    reference.set_controls(rates=[0.01])
    for _ in range(2):
        ours, theirs = simulator.advance(5e7), reference.advance(5e7)
        assert ours.sessions.unacked.tolist() == theirs.sessions.unacked.tolist() == [100]
    np.testing.assert_array_equal(simulator.events_log(), reference.events_log())


# ---- sums of time ---------------------------------------------------------------------------------------------------


def test_integrals_beyond_64_bits_are_those_of_exact_integers() -> None:
    """A queue of 100 000 for years, and sojourns and latencies of years: the reference counts in Python's integers."""
    s = line(2e-3, window=100_000, rate_range=(1e-9, 1e6), initial_rate=1e5, control_interval=1e7, episode_length=10)
    simulator, reference = Simulator(s), Reference(s)
    simulator.advance(10.0)
    reference.advance(10.0)
    ours = simulator.advance(9e7)
    theirs = reference.advance(9e7)
    exact = reference.links[0]
    assert exact.area > 2**63
    assert exact.sojourn > 2**63
    assert reference.sessions[0].latency > 2**63
    for mine, whole in (
        (ours.links.records["area"][0], exact.area),
        (ours.links.records["sojourn"][0], exact.sojourn),
        (ours.sessions.records["latency"][0], reference.sessions[0].latency),
        (ours.sessions.records["round_trip"][0], reference.sessions[0].round_trip),
    ):
        assert math.isclose(mine, whole, rel_tol=1e-12)
    assert ours.links.queue == theirs.links.queue
    assert ours.links.mean_queue[0] == pytest.approx(exact.area / 9e16, rel=1e-12)


def test_a_long_interval_with_a_long_queue() -> None:
    """The case that gave a negative mean queue: 20 per second come, 1 or so leaves, for 1e5 s."""
    s = Scenario(
        links=[{"a": "a", "b": "b", "length_km": 0.0, "capacity": 2.0}],
        sessions=[("a", "b")],
        control_interval=1e5,
        window=200_000,
        rate_range=(1.0, 1000.0),
        initial_rate=20.0,
        measure="negativity",
    )
    t = Simulator(s).advance(1e4)
    growth = 20.0 - 2.0 * (1 - 0.967)
    assert t.links.mean_queue[0] == pytest.approx(growth * 1e4 / 2, rel=0.02)


# ---- codes ----------------------------------------------------------------------------------------------------------


def test_fair_gives_a_turn_for_a_service_not_for_a_drop() -> None:
    """Kernel and reference, with drops by cut-off of the session in the middle."""
    ends = [{"source": 0, "destination": 2, "cutoff": c, "pacing": "even"} for c in (None, 0.5, None)]
    s = line(1000.0, 1000.0, discipline="fair", sessions=1).replace(sessions=ends, memory=1000, window=1000)
    for seed in range(3):
        simulator, reference = Simulator(s, seed, trace=True), Reference(s, seed)
        for one in (simulator, reference):
            one.set_controls(rates=[40.0, 40.0, 40.0], werner=[0.7, 0.95])
            one.advance(6.0)
        np.testing.assert_array_equal(simulator.events_log(), reference.events_log())
        assert simulator.telemetry().truth.drops[1, 1] > 0


def test_a_drop_does_not_use_up_a_turn() -> None:
    """One link, three sessions, by hand on the reference's own queue: turns go 0, (1 drops) 1, 2."""
    ends = [{"source": 0, "destination": 2} for _ in range(3)]
    reference = Reference(line(1000.0, 1.0, discipline="fair").replace(sessions=ends))
    link = reference.links[1]

    def waiting(r: int, first: int) -> Datagram:
        return Datagram(reference.sessions[r], 0, 0, hop=1, first=first, carried=True)

    reference.now = 10**9
    reference.sessions[1].cutoff = 5 * 10**8
    expired, second, third = waiting(1, 0), waiting(2, 9 * 10**8), waiting(1, 9 * 10**8)
    link.queue, link.last_session = [expired, second, third], 0
    reference.datagrams = list(link.queue)
    reference.serve(link)
    assert link.serving is third  # session 1's turn stays its own
    assert link.queue == [second]


def test_unknown_codes_are_refused_with_the_names_of_the_valid_ones() -> None:
    arrays = qnum_gym.scenario("dumbbell").arrays()
    for field, message in [
        ("discipline", r"arrays: discipline\[1\] = 3: unknown code; valid: 0 \(fifo\), 1 \(lifo\), 2 \(fair\)"),
        ("drop_policy", r"drop_policy\[1\] = 3: .*valid: 0 \(drop_tail\), 1 \(push_out\)"),
        ("measure", r"measure\[1\] = 3: .*negativity.*secret_key.*distillable"),
        ("hop_direction", r"hop_direction\[1\] = 3"),
    ]:
        codes = getattr(arrays, field).copy()
        codes[1] = 3
        with pytest.raises(ScenarioError, match=message):
            dataclasses.replace(arrays, **{field: codes})
    valid = qnum_gym.scenario("dumbbell")
    for field, word in [("discipline", "edf"), ("pacing", "bursty"), ("drop_policy", "head"), ("swapping", "nested")]:
        unchecked = Scenario.model_construct(**{**dict(valid), field: word})
        for simulator in (Simulator, Reference):
            with pytest.raises(ValueError, match=rf"{field} = '{word}'.*valid"):
                simulator(unchecked)
