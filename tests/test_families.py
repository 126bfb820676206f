"""Families of scenarios: reproducible, apart where they should be, and worth measuring."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from qnum_gym import families, optimum
from qnum_gym import scenario as named
from qnum_gym.physics.measures import MEASURES
from qnum_gym.scenarios.fields import LinkEvent

FEW = range(4)


def changes(name, count=8):
    return [time for i in range(count) for time in families.sample(name, i).change_times()[1:]]


def test_splits_have_the_families_they_should():
    train, validation, test, headroom, to_learn = map(families.names, families.SPLITS)
    assert validation == tuple(f"validation/{name}" for name in train)
    assert to_learn == tuple(f"train/{name}" for name in headroom)
    assert families.names() == (*train, *validation, *test, *headroom, *to_learn)
    assert len(set(families.names())) == len(families.names())
    for name in families.names():
        family = families.family(name)
        assert family.name == name
        assert family.dynamic == name.endswith("-dynamic")
        assert len(family.about) > 30


def test_a_scenario_is_the_same_in_every_process():
    program = "from qnum_gym import families; print(families.sample('waxman-dynamic', 3).fingerprint)"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = families.sample("waxman-dynamic", 3)
    assert other.stdout.strip() == here.fingerprint
    assert here.name == "waxman-dynamic/3"


def test_numbers_and_splits_are_other_draws():
    drawn = [families.sample(f"{prefix}dumbbell", i) for prefix in ("", "validation/") for i in range(6)]
    assert len({scenario.replace(name="x").fingerprint for scenario in drawn}) == 12


@pytest.mark.parametrize("name", families.names())
def test_every_session_is_worth_measuring_whenever_it_is_on(name):
    """Recomputed from the optimum's own rates and W, measure by measure; sessions cut off by a failure left out."""
    for scenario in map(families.sample, [name] * 2, range(2)):
        assert scenario.episode_length == 200
        assert scenario.control_interval == 1.0
        for time in scenario.change_times():
            arrays = scenario.arrays(time)
            problem = optimum.Problem.from_scenario(scenario, time)
            problem = problem.without(problem.blocked)
            best = optimum.solve_problem(problem, decoherence=True, max_utilisation=families.UTILISATION)
            on = [
                r
                for r, route in enumerate(scenario.routes)
                if arrays.active[r] and all(arrays.capacity[l] > 0 for l in route)
            ]
            assert on
            for r in on:
                f = MEASURES.at(arrays.measure[r])(best.expected_werner[r])[0]
                assert f >= families.LEAST_WORTH
                assert best.rates[r] * f >= families.LEAST


def test_the_families_that_figures_were_published_of_stay_as_they_are() -> None:
    """The digest of the first two tasks of each of the nine, as the code of commit 396a855 drew them.

    Of fields that have their defaults it says nothing, so that there may be new ones.
    """
    names = families.names("test")
    assert len(names) == 9
    tasks = [
        families.sample(name, i).model_dump(mode="json", exclude_defaults=True) for name in names for i in range(2)
    ]
    assert (
        hashlib.sha256(json.dumps(tasks, sort_keys=True).encode()).hexdigest()
        == "c97bf95c752305645048e2107af5288287263c0c4a1c0153a63f63594f2d6e72"
    )


def test_headroom_is_where_it_is_said_to_be() -> None:
    drawn = {name: [families.sample(name, i) for i in range(3)] for name in families.names("headroom")}
    assert {s.swapping for s in drawn["parallel-swapping"]} == {"parallel"}
    assert all(0.6 <= s.swap_success <= 0.95 for s in drawn["failing-swaps"])
    assert all(0.02 <= s.message_loss <= 0.15 for s in drawn["message-loss"])
    assert all(s.discipline == "lifo" and 0.02 <= s.cutoff / s.coherence_time <= 0.1 for s in drawn["lifo-cutoff"])
    assert all(20.0 <= s.feedback_delay <= 40.0 and s.window == 1600 for s in drawn["late-feedback-dynamic"])
    assert all(s.hold == "ack" and 0.01 <= s.feedback_delay / s.coherence_time <= 0.06 for s in drawn["stored-pairs"])
    for s in drawn["flash-crowd-dynamic"]:
        crowd = [session for session in s.sessions if session.start > 0.0]
        assert 8 <= len(crowd) <= 16
        ((begin, end),) = {(session.start, session.stop) for session in crowd}
        assert 100.0 <= begin <= end - 30.0 <= begin + 30.0
        assert end <= 180.0
        assert all(session.stop is None for session in s.sessions if session.start == 0.0)


@pytest.mark.parametrize("name", families.names("train"))
def test_training_stays_small_and_within_its_ranges(name):
    for i in FEW:
        scenario = families.sample(name, i)
        assert len(scenario.links) <= 30
        assert 5.0 <= scenario.coherence_time <= 50.0
        assert scenario.feedback_delay <= 12.0
        assert all(3.0 <= link.length_km <= 25.0 for link in scenario.links) or "waxman" in name


def test_test_families_lie_outside_training():
    assert all(60 <= len(families.sample("waxman-large", i).links) <= 120 for i in FEW)
    assert all(20 <= len(families.sample("waxman-large", i).sessions) <= 40 for i in FEW)
    assert all(families.sample("short-memory", i).coherence_time < 5.0 for i in FEW)
    assert all(families.sample("long-memory", i).coherence_time > 50.0 for i in FEW)
    assert all(families.sample("long-memory", i).processing_delay <= 0.2 for i in range(12))
    assert all(families.sample("delay-dynamic", i).feedback_delay == 10.0 for i in FEW)
    usual = families.sample("nsfnet", 0)
    reference = named("nsfnet")
    ends = [(session.source, session.destination) for session in reference.sessions]
    assert [(session.source, session.destination) for session in usual.sessions] == ends
    ratio = np.array([x.length_km / y.length_km for x, y in zip(usual.links, reference.links, strict=True)])
    assert ((ratio >= 0.9) & (ratio <= 1.1)).all()
    assert [(session.source, session.destination) for session in families.sample("nsfnet", 1).sessions] != ends


@pytest.mark.parametrize("name", families.names("test"))
def test_what_changes_in_a_test_is_in_the_half_that_counts(name):
    for i in FEW:
        times = families.sample(name, i).change_times()[1:]
        assert bool(times) == (name in ("sessions-dynamic", "loss-dynamic"))
        assert not times or any(100.0 < time < 180.0 for time in times)


def test_changes_in_training_are_of_every_kind_and_spread_over_the_episode():
    drawn = [families.sample("waxman-dynamic", 3 * i) for i in range(4)]
    sessions, loss, failure, everything = drawn
    assert not sessions.events
    assert any(session.start > 0 or session.stop for session in sessions.sessions)
    assert all(isinstance(event, LinkEvent) and event.up is None for event in loss.events)
    assert {event.extra_loss_db == 0.0 for event in loss.events} == {True, False}
    assert all(3.0 <= event.extra_loss_db <= 9.0 for event in loss.events if event.extra_loss_db)
    assert sorted(event.up for event in failure.events) == [False, True]
    assert {event.up for event in everything.events} == {None, False, True}
    times = changes("dumbbell-dynamic", 16)
    assert min(times) < 50.0
    assert max(times) > 150.0
    assert 0.3 < np.mean(np.array(times) > 100.0) < 0.8


def test_a_family_that_is_not_there_is_refused_with_what_is():
    with pytest.raises(ValueError, match=r"family = 'waxmann': did you mean 'waxman'\? valid: dumbbell, "):
        families.sample("waxmann", 0)
    with pytest.raises(ValueError, match=r"split = 'tests': did you mean 'test'\? valid: train, validation, test"):
        families.names("tests")
    with pytest.raises(ValueError, match="index = -1: valid: 0 and above"):
        families.sample("grid", -1)


def test_what_cannot_be_measured_is_refused():
    assert families.worth_measuring(named("dumbbell"))
    assert not families.worth_measuring(named("dumbbell", coherence_time=0.3))  # no optimum
    assert not families.worth_measuring(named("dumbbell", coherence_time=0.55))  # one that is worth too little
    assert not families.worth_measuring(named("dumbbell", bottleneck_km=150.0))  # too few pairs
    bottleneck = {"link": ("left", "right"), "time": 50.0, "up": False}
    assert not families.worth_measuring(named("dumbbell", events=[bottleneck]))  # nobody can be served
    access = bottleneck | {"link": ("s0", "left")}
    assert families.worth_measuring(named("dumbbell", events=[access]))
