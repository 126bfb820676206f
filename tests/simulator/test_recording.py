"""Records of q-datagrams: they are complete, they cost the simulation nothing, and they survive copies."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import numpy as np
import pandas
import pytest

import qnum_gym
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Batch, Simulator, recording
from qnum_gym.simulator import simulator as module
from qnum_gym.simulator.state import FATES, REASONS

pd: Any = pandas  # its types are narrower than what it takes


def lossy(swapping: str = "sequential") -> Scenario:
    """Every reason for a loss happens."""
    s = qnum_gym.scenario(
        "dumbbell", swapping=swapping, swap_success=0.8, message_loss=0.1, memory=3, cutoff=0.2, initial_rate=30.0
    )
    return s.replace(drop_policy="push_out", feedback_delay=0.3, window=20)


@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
def test_the_ledger_of_the_records_is_that_of_the_telemetry(swapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER", 1)  # it is full every now and then, also within an interval
    s = lossy(swapping)
    simulator, plain = Simulator(s, 2, trace=True, recording=True), Simulator(s, 2, trace=True)
    seen = [simulator.advance(5.0) for _ in range(8)]
    for _ in range(8):
        plain.advance(5.0)
    np.testing.assert_array_equal(simulator.events_log(), plain.events_log())

    table: Any = simulator.pairs()
    counts = pd.crosstab(table["session"], table["fate"], dropna=False).reindex(columns=FATES, fill_value=0)
    assert (counts.sum(axis=1) == np.sum([t.sessions.injected for t in seen], axis=0)).all()
    assert (counts["delivered"] == np.sum([t.sessions.delivered for t in seen], axis=0)).all()
    assert (counts["in_flight"] == seen[-1].truth.in_flight).all()
    drops = np.sum([t.truth.drops for t in seen], axis=0)
    assert (drops.sum(axis=0) > 0).all()
    np.testing.assert_array_equal(counts[list(REASONS)], drops)

    delivered = table[table["fate"] == "delivered"]
    sums = delivered.groupby("session")["werner"].sum()
    np.testing.assert_allclose(sums, np.sum([t.sessions.sum_werner for t in seen], axis=0), rtol=1e-12)
    latency = (delivered["delivered"] - delivered["injected"]).groupby(delivered["session"]).sum()
    waited = np.nansum([t.sessions.mean_latency * t.sessions.delivered for t in seen], axis=0)
    np.testing.assert_allclose(latency, waited, rtol=1e-9)


def test_columns_of_one_lone_pair() -> None:
    """Certain attempts of 1 s, headers of 0.5 s, memories that never forget: every time is known."""
    links = [{"a": i, "b": i + 1, "length_km": 100_000.0, "capacity": 2.0} for i in range(2)]
    session = {"source": 0, "destination": 2, "pacing": "even", "window": 1}
    s = Scenario(links=links, sessions=[session], cycle_time=1.0, coherence_time=1e12)
    simulator = Simulator(s, recording=True)
    simulator.set_controls(rates=[1.0], werner=[0.5, 0.5])
    simulator.advance(5.5)  # the next one is injected at 6 s
    (row,) = simulator.pairs().to_dict("records")
    assert row.pop("lost_at") is None
    assert row.pop("werner") == pytest.approx(0.25, rel=1e-9)
    assert row == {
        **{"session": 0, "sequence": 0, "injected": 1.0, "first_pair": 2.0, "delivered": 4.0, "acked": 5.0},
        **{"hops": 2, "fate": "delivered"},
    }


def test_where_a_q_datagram_was_lost() -> None:
    s = qnum_gym.scenario("chain", swap_success=1e-9)
    simulator = Simulator(s, recording=True)
    simulator.advance(20.0)
    table: Any = simulator.pairs()
    failed = table[table["fate"] == "swap_failed"]
    assert len(failed) > 5
    assert (failed["lost_at"] == 1).all()  # the first swap, at the second link
    assert failed[["delivered", "acked", "werner"]].isna().all(axis=None)


@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
def test_copies_have_the_records_and_go_on_alike(swapping: str) -> None:
    s = lossy(swapping)
    original = Simulator(s, 3, recording=True)
    original.advance(5.0)
    restored, late = Simulator(s, 0, recording=True), Simulator(s, 0, recording=True)
    restored.set_state(original.get_state())
    unrecorded = Simulator(s, 3)
    unrecorded.advance(5.0)
    late.set_state(unrecorded.get_state())
    unrecorded.set_state(original.get_state())
    copies = [copy.deepcopy(original), pickle.loads(pickle.dumps(original)), restored]
    for simulator in (original, *copies, late, unrecorded):
        simulator.advance(5.0)
    expected: Any = original.pairs()
    for other in copies:
        pd.testing.assert_frame_equal(other.pairs(), expected)
    of_late: Any = late.pairs()  # only those that were not over when its recording began
    rows = expected.merge(of_late[["session", "sequence"]])
    pd.testing.assert_frame_equal(of_late, rows)
    assert 0 < len(of_late) < len(expected)
    np.testing.assert_array_equal(unrecorded.telemetry().truth.drops, original.telemetry().truth.drops)
    original.reset(4)
    assert original.pairs().empty


def test_records_that_were_taken_are_gone() -> None:
    s = lossy()
    whole, taken = Simulator(s, recording=True), Simulator(s, recording=True)
    parts = []
    for _ in range(5):
        whole.advance(2.0)
        taken.advance(2.0)
        parts.append(taken.take_records())
    rest: Any = taken.pairs()
    table: Any = pd.concat([recording.pairs(np.concatenate(parts), s), rest])
    table = table.sort_values(["session", "sequence"], ignore_index=True)
    pd.testing.assert_frame_equal(table, whole.pairs())
    assert len(rest) < len(table)


def test_a_batch_records_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER", 1)
    s = lossy()
    together = [Simulator(s, seed, recording=seed % 2 == 0) for seed in range(4)]
    Batch(together, threads=2).advance(20.0)
    for seed in (0, 2):
        alone = Simulator(s, seed, recording=True)
        alone.advance(20.0)
        pd.testing.assert_frame_equal(together[seed].pairs(), alone.pairs())


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator(lossy())
    simulator.advance(1.0)
    with pytest.raises(RuntimeError, match=r"valid: Simulator\(.*recording=True\)"):
        simulator.pairs()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pandas.*'qnum-gym\[tables\]'"):
        Simulator(lossy(), recording=True).pairs()


def test_series_are_the_telemetry() -> None:
    simulator = Simulator(lossy())
    seen = [simulator.advance(2.0) for _ in range(3)]
    sessions, links = (pd.DataFrame(frame) for frame in recording.series(seen))
    assert list(sessions["time"]) == [2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 6.0, 6.0, 6.0]
    assert list(sessions["session"]) == [0, 1, 2] * 3
    np.testing.assert_array_equal(links.groupby("time")["mean_queue"].sum(), [t.links.mean_queue.sum() for t in seen])
    np.testing.assert_array_equal(sessions.loc[sessions["time"] == 4.0, "werner"], seen[1].sessions.mean_werner)
    assert all(frame.empty for frame in recording.series([]))
