"""A policy that says it is local computes each row of its controls from that controller's own rows, to the last bit.

The telemetry of a real run is played to a fresh policy for each controller, with all but that controller's own rows
replaced by rubbish from the first interval on. So the other controllers' memories inside the policy are rubbish too.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents
from qnum_gym.simulator import Controls, JoinedTelemetry, Simulator, Telemetry
from qnum_gym.simulator.telemetry import Truth

STEPS = 12
OWN = f"{Path(__file__).with_name('own_policy.py')}"
LOCAL = [name for name in (*agents.names(), *agents.zoo()) if agents.make(name).local]
DUMBBELL, NSFNET = qnum_gym.scenario("dumbbell"), qnum_gym.scenario("nsfnet", hold="ack", feedback_delay=0.2)


def measured(simulators):
    """Telemetry of one network, or of several side by side."""
    if len(simulators) == 1:
        return simulators[0].telemetry()
    return JoinedTelemetry([simulator.state for simulator in simulators])


def episode(scenarios, policy):
    """Telemetry and controls of an undisturbed run."""
    simulators, story = [Simulator(scenario, 0) for scenario in scenarios], []
    policy.reset(scenarios, 0)
    ends = [np.cumsum([len(getattr(s, rows)) for s in scenarios])[:-1] for rows in ("sessions", "links")]
    for _ in range(STEPS):
        telemetry = measured(simulators)
        c = policy.act(telemetry)
        story.append((telemetry, c))
        columns = zip((c.rates, c.werner, c.session_signals, c.link_signals), [*ends, *ends], strict=True)
        parts = [[None] * len(simulators) if column is None else np.split(column, end) for column, end in columns]
        for simulator, own in zip(simulators, zip(*parts, strict=True), strict=True):
            simulator.set_controls(*own)
            simulator.advance(simulator.scenario.control_interval)
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
    sessions, links, headers = (getattr(telemetry, name).records for name in ("sessions", "links", "headers"))
    keep = {
        "sessions": np.arange(len(sessions)) == session,
        "links": np.arange(len(links)) == link,
        "headers": headers["link"] == link,
    }
    other = copy.copy(telemetry)
    for name, rows in keep.items():
        block = copy.copy(getattr(telemetry, name))
        block.records = rubbish(block.records, rows, rng, nan)
        setattr(other, name, block)
    if isinstance(telemetry, Telemetry):
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


def assert_local(scenarios, make, nan):
    """Raises AssertionError naming the first controller whose controls depend on another's rows."""
    story = episode(scenarios, make())
    rng = np.random.default_rng(1)
    sessions, links = (sum(len(getattr(s, rows)) for s in scenarios) for rows in ("sessions", "links"))
    for session, link in [(r, None) for r in range(sessions)] + [(None, l) for l in range(links)]:
        policy = make()
        policy.reset(scenarios, 0)
        for step, (telemetry, controls) in enumerate(story):
            with np.errstate(all="ignore"):
                seen = policy.act(disturbed(telemetry, session, link, rng, nan))
            same = outputs(seen, session, link) == outputs(controls, session, link)
            assert same, f"interval {step}: session {session}, link {link}"


@pytest.mark.parametrize("nan", [False, True], ids=["finite", "nan"])
@pytest.mark.parametrize("scenarios", [[NSFNET], [DUMBBELL, DUMBBELL]], ids=["one network", "two networks"])
@pytest.mark.parametrize("name", [*LOCAL, f"{OWN}:Vegas", f"{OWN}:Halved"], ids=lambda name: name.rpartition(":")[2])
def test_own_rows_are_all_that_a_controller_reads(name, scenarios, nan):
    """All other rows are rubbish, those of another network too."""
    assert_local(scenarios, lambda: agents.make(name), nan)


def test_the_controllers_do_answer_to_their_own_rows():
    """Else the test above would prove nothing: what a controller reads must have changed its controls by then."""
    story = episode([NSFNET], agents.make("qprimaldual-da"))
    first, last = story[0][1], story[-1][1]
    used = np.isin(np.arange(len(NSFNET.links)), NSFNET.arrays().hop_link)
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
        assert_local([DUMBBELL], lambda: _Leaky(leak), nan=False)


def test_the_test_catches_a_policy_that_mixes_networks():
    with pytest.raises(AssertionError, match="interval"):
        assert_local([DUMBBELL, DUMBBELL], lambda: _Leaky(lambda seen: seen.links.mean_queue[7:].max()), nan=False)
