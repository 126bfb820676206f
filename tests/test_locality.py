"""A policy that says it is local computes each row of its controls from that controller's own rows, to the last bit.

The telemetry of a real run is played to a fresh policy for each controller, with all but that controller's own rows
replaced by rubbish from the first interval on. So the other controllers' memories inside the policy are rubbish too.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents
from qnum_gym.simulator import Controls, Simulator
from qnum_gym.simulator.telemetry import HeaderTelemetry, LinkTelemetry, SessionTelemetry, Truth

STEPS = 12
LOCAL = [name for name in (*agents.names(), *agents.zoo()) if agents.make(name).local]


def episode(scenario, policy, seed=0):
    """Telemetry and controls of an undisturbed run."""
    simulator = Simulator(scenario, seed)
    policy.reset(scenario, seed)
    telemetry, story = simulator.telemetry(), []
    for _ in range(STEPS):
        controls = policy.act(telemetry)
        story.append((telemetry, controls))
        simulator.set_controls(controls.rates, controls.werner, controls.session_signals, controls.link_signals)
        telemetry = simulator.advance(scenario.control_interval)
    return story


def rubbish(records, keep, rng, nan):
    """The records with every field of the rows not in `keep` overwritten, but for whose row of headers it is.

    That is an index, not a measurement: the compiled encoder of observations would read out of bounds.
    """
    records = records.copy()
    for name in records.dtype.names:
        if name == "link":
            continue
        column = records[name]
        if column.dtype.kind == "f":
            values = np.full(len(column), np.nan) if nan else rng.normal(size=len(column)) * 10.0 ** rng.integers(-6, 9)
        else:
            values = rng.integers(-(10**6), 10**6, len(column))
        records[name] = np.where(keep, column, values.astype(column.dtype))
    return records


def disturbed(telemetry, session, link, rng, nan):
    """The telemetry with only the rows of one source, or of one link with its headers, left as they are."""
    seconds, now = telemetry.seconds, round(telemetry.time * 1e9)
    sessions, links, headers = (getattr(telemetry, name).records for name in ("sessions", "links", "headers"))
    other = copy.copy(telemetry)
    other.sessions = SessionTelemetry(rubbish(sessions, np.arange(len(sessions)) == session, rng, nan), seconds)
    other.links = LinkTelemetry(rubbish(links, np.arange(len(links)) == link, rng, nan), seconds)
    other.headers = HeaderTelemetry(rubbish(headers, headers["link"] == link, rng, nan), seconds, now)
    other.truth = Truth(
        rng.integers(0, 99, len(sessions)),
        rng.integers(0, 99, telemetry.truth.drops.shape),
        sessions["injected"],
        telemetry.truth.traffic,
    )
    other.events = int(rng.integers(0, 10**6))
    return other


def outputs(controls: Controls, session, link) -> list[bytes]:
    """What belongs to one controller."""
    if link is None:
        columns, row = (controls.rates, controls.session_signals), session
    else:
        columns, row = (controls.werner, controls.link_signals), link
    return [column[row].tobytes() for column in columns if column is not None]


def assert_local(scenario, make, nan):
    """Raises AssertionError naming the first controller whose controls depend on another's rows."""
    story = episode(scenario, make())
    rng = np.random.default_rng(1)
    controllers = [(r, None) for r in range(len(scenario.sessions))] + [(None, l) for l in range(len(scenario.links))]
    for session, link in controllers:
        policy = make()
        policy.reset(scenario, 0)
        for step, (telemetry, controls) in enumerate(story):
            with np.errstate(all="ignore"):
                seen = policy.act(disturbed(telemetry, session, link, rng, nan))
            same = outputs(seen, session, link) == outputs(controls, session, link)
            assert same, f"interval {step}: session {session}, link {link}"


@pytest.mark.parametrize("nan", [False, True], ids=["finite", "nan"])
@pytest.mark.parametrize("network", ["dumbbell", "nsfnet"])
@pytest.mark.parametrize("name", LOCAL)
def test_own_rows_are_all_that_a_controller_reads(name, network, nan):
    assert_local(qnum_gym.scenario(network), lambda: agents.make(name), nan)


def test_the_controllers_do_answer_to_their_own_rows():
    """Else the test above would prove nothing: what a controller reads must have changed its controls by then."""
    scenario = qnum_gym.scenario("nsfnet")
    story = episode(scenario, agents.make("qprimaldual-da"))
    first, last = story[0][1], story[-1][1]
    used = np.isin(np.arange(len(scenario.links)), scenario.arrays().hop_link)
    assert (last.rates != first.rates).all()
    assert (last.session_signals != first.session_signals).all()
    assert ((last.werner != first.werner) == used).all()
    assert ((last.link_signals > 0.0) == used).all()


class _Leaky(agents.QPrimalDual):
    """Reads what it should not: `leak(telemetry)` goes into the last bits of its controls."""

    def __init__(self, leak):
        super().__init__(decoherence_aware=True)
        self._leak = leak

    def act(self, telemetry):
        controls, leak = super().act(telemetry), 1e-15 * self._leak(telemetry)
        return Controls(
            controls.rates * (1.0 + leak),
            controls.werner,
            controls.session_signals,
            controls.link_signals * (1.0 + leak),
        )


@pytest.mark.parametrize(
    "leak",
    [
        lambda t: t.sessions.delivered.sum(),
        lambda t: t.links.mean_queue.max(),
        lambda t: t.headers.rate.mean(),
        lambda t: t.truth.in_flight.sum(),
    ],
    ids=["sessions", "links", "headers", "truth"],
)
def test_the_test_catches_a_policy_that_reads_more(leak):
    with pytest.raises(AssertionError, match="interval"):
        assert_local(qnum_gym.scenario("dumbbell"), lambda: _Leaky(leak), nan=False)
