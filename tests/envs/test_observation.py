"""Observations: finite and normalised whatever happens, what they say they are, and local."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator.networks import scenarios

import qnum_gym
from qnum_gym.envs import ActionMap, ObservationEncoder
from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Reference, Simulator


@settings(max_examples=40)
@given(scenarios(), st.integers(0, 2**32))
def test_always_finite_and_within_the_space(scenario: Scenario, seed: int) -> None:
    rng = np.random.default_rng(seed)
    simulator, encoder = Simulator(scenario, seed=seed), ObservationEncoder(scenario)
    actions = ActionMap(scenario, "level", signals=True)
    assert encoder.encode(simulator.telemetry()) in encoder.space()
    for _ in range(5):
        controls = actions.decode(rng.uniform(-1.0, 1.0, actions.size), simulator.controls)
        simulator.set_controls(controls.rates, controls.werner, controls.session_signals, controls.link_signals)
        observation = encoder.encode(simulator.advance(float(rng.choice([0.01, 1.0, 20.0]))))
        assert np.isfinite(observation).all()
        assert observation in encoder.space()


def one_interval() -> tuple[Scenario, Simulator, np.ndarray, np.ndarray]:
    """NSFNET under load for one long interval: nothing remembered yet, so what is smoothed is what was measured."""
    scenario = qnum_gym.scenario("nsfnet", coherence_time=5.0, measure="distillable")
    simulator, encoder = Simulator(scenario, seed=4), ObservationEncoder(scenario)
    rng = np.random.default_rng(0)
    rates, werner = rng.uniform(2.0, 30.0, 8), rng.uniform(0.9, 0.99, 21)
    simulator.set_controls(rates, werner, rng.uniform(-1, 1, 8), rng.uniform(-0.1, 0.1, 21))
    sessions, links = encoder.rows(encoder.encode(simulator.advance(10.0)))
    return scenario, simulator, sessions, links


def test_session_features_are_what_they_say() -> None:
    scenario, simulator, rows, _ = one_interval()
    s, a = simulator.telemetry().sessions, scenario.arrays()
    feature = dict(zip(SESSION_FEATURES, rows.T, strict=True))
    span = math.log10(1000.0) - math.log10(0.01)
    f = (3.0 * s.mean_werner + 1.0) / 4.0
    worth = 1.0 + f * np.log2(f) + (1.0 - f) * np.log2((1.0 - f) / 3.0)
    slope = s.mean_werner * 0.75 * np.log2(f / ((1.0 - f) / 3.0))
    rate = s.delivered / 10.0
    utility = np.log(np.maximum(rate * worth, 1e-4))
    expected = {
        "rate": (np.log10(s.rate) + 2.0) / span * 2.0 - 1.0,
        "signal": s.signal,
        "active": np.ones(8),
        "paused": np.where(s.paused, 1.0, -1.0),
        "window": 2.0 * s.unacked / 100 - 1.0,
        "weight": np.zeros(8),
        "hops": 1.0 / np.diff(a.hop_start),
        "goodput": s.delivered / s.injected - 1.0,
        "delivered": (np.log10(rate) + 2.0) / span * 2.0 - 1.0,
        "werner": (s.mean_werner - 0.747614) / (1.0 - 0.747614),
        "elasticity": np.where(
            worth > 0, np.log10(np.maximum(slope, 1e-9) / np.where(worth > 0, worth, 1.0)) - 1.0, 1.0
        ),
        "utility": 2.0 * (utility - math.log(1e-4)) / (math.log(1000.0) - math.log(1e-4)) - 1.0,
        "storage": 1.0 - np.exp(-s.mean_decay),
        "latency": np.log10(s.mean_latency) / 2.0,
        "lost": s.dropped / (s.dropped + s.delivered),
        "price": s.mean_price * feature["hops"],
    }
    assert list(expected) == list(SESSION_FEATURES)
    for name, values in expected.items():
        np.testing.assert_allclose(feature[name], np.clip(values, -1.0, 1.0), atol=2e-6, err_msg=name)


def test_link_features_are_what_they_say() -> None:
    scenario, simulator, _, rows = one_interval()
    telemetry = simulator.telemetry()
    l, headers, a = telemetry.links, telemetry.headers, scenario.arrays()
    feature = dict(zip(LINK_FEATURES, rows.T, strict=True))
    made = l.capacity * (1.0 - l.werner)
    heard = [[h for h in range(len(headers.link)) if headers.link[h] == i and headers.age[h] < 30] for i in range(21)]
    rates = np.array([sum(headers.rate[h] for h in hops) for hops in heard])
    transit = np.array([sum(headers.rate[h] for h in hops if headers.hop[h] > 0) for hops in heard])
    signals = np.array([np.mean([headers.signal[h] for h in hops]) if hops else 0.0 for hops in heard])
    expected = {
        "werner": 2.0 * np.log((1.0 - l.werner) / 0.5) / np.log(0.001 / 0.5) - 1.0,
        "signal": l.signal,
        "capacity": np.ones(21),
        "utilisation": 2.0 * l.utilisation - 1.0,
        "mean_queue": 2.0 * np.log1p(l.mean_queue) / np.log(101.0) - 1.0,
        "queue": 2.0 * np.log1p(l.queue) / np.log(101.0) - 1.0,
        "load": l.arrivals / (10.0 * made) - 1.0,
        "lost": l.dropped / np.maximum(l.arrivals, 1),
        "sojourn": np.where(
            l.departures > 0, np.log10(np.maximum(np.nan_to_num(l.mean_sojourn) * made, 1e-9)) / 2.0, -1.0
        ),
        "announced": rates / made - 1.0,
        "transit": transit / np.where(rates > 0, rates, 1.0),
        "sharing": [1.0 / len(hops) if hops else 0.0 for hops in heard],
        "header_signal": signals,
    }
    assert a.hop_link.size > 21
    assert list(expected) == list(LINK_FEATURES)
    for name, values in expected.items():
        np.testing.assert_allclose(feature[name], np.clip(values, -1.0, 1.0), atol=2e-6, err_msg=name)


def test_smoothing_halves_in_about_seven_intervals() -> None:
    scenario = qnum_gym.scenario("chain", pacing="even", rate_range=(1e-9, 100.0))
    simulator, encoder = Simulator(scenario), ObservationEncoder(scenario)
    column = list(SESSION_FEATURES).index("goodput")
    simulator.set_controls(rates=[10.0])
    for _ in range(50):
        encoder.encode(simulator.advance(1.0))
    simulator.set_controls(rates=[1e-9])
    encoder.encode(simulator.advance(1.0))
    state = encoder.get_state()[0]["injected"][0]
    for _ in range(7):
        rows, _ = encoder.rows(encoder.encode(simulator.advance(1.0)))
    assert encoder.get_state()[0]["injected"][0] / state == pytest.approx(0.9**7)
    assert rows[0, column] == pytest.approx(0.0, abs=0.05)  # all that was injected arrived, and it is remembered


def test_rows_are_local() -> None:
    """Another controller's records, whatever they hold, leave a row alone."""
    scenario = qnum_gym.scenario("nsfnet")
    simulator, encoder = Simulator(scenario, seed=1), ObservationEncoder(scenario)
    telemetry = [simulator.advance(1.0) for _ in range(4)]
    sessions, links = [encoder.rows(encoder.encode(t)) for t in telemetry][-1]
    rng = np.random.default_rng(0)
    encoder.reset()
    for t in telemetry:
        for block, mine in ((t.sessions, [2]), (t.links, [5])):
            rows = block.records
            other = np.setdiff1d(np.arange(len(rows)), mine)
            for name in (
                "rate",
                "delivered",
                "injected",
                "werner",
                "unacked",
                "arrivals",
                "busy",
                "number",
                "capacity",
            ):
                if name in (rows.dtype.names or ()):
                    rows[name][other] = rng.permutation(rows[name][other]) + (
                        7 if rows[name].dtype.kind == "i" else 0.01
                    )
        headers = t.headers.records
        elsewhere = headers["link"] != 5
        headers["rate"][elsewhere] *= 3.0
        disturbed = encoder.rows(encoder.encode(t))
    np.testing.assert_array_equal(disturbed[0][2], sessions[2])
    np.testing.assert_array_equal(disturbed[1][5], links[5])
    assert (disturbed[0][3] != sessions[3]).any()
    assert (disturbed[1][2] != links[2]).any()


def test_the_reference_simulator_is_seen_alike() -> None:
    scenario = qnum_gym.scenario("dumbbell")
    fast, slow = Simulator(scenario, seed=9), Reference(scenario, seed=9)
    a, b = ObservationEncoder(scenario), ObservationEncoder(scenario)
    for _ in range(3):
        np.testing.assert_allclose(a.encode(fast.advance(1.0)), b.encode(slow.advance(1.0)), atol=1e-6)


def test_memory_is_saved_reset_and_never_shared() -> None:
    scenario = qnum_gym.scenario("dumbbell")
    simulator, encoder, other = Simulator(scenario), ObservationEncoder(scenario), ObservationEncoder(scenario)
    first = encoder.encode(simulator.advance(1.0))
    kept = first.copy()
    other.set_state(encoder.get_state())
    telemetry = simulator.advance(1.0)
    np.testing.assert_array_equal(encoder.encode(telemetry), other.encode(telemetry))
    np.testing.assert_array_equal(first, kept)
    encoder.reset()
    np.testing.assert_array_equal(encoder.encode(telemetry), ObservationEncoder(scenario).encode(telemetry))
