"""Sessions that want a number of pairs by a deadline."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import Scenario, Simulator, agents, optimum
from qnum_gym.cli.main import main
from qnum_gym.config import ScenarioError
from qnum_gym.envs import AllocationEnv
from qnum_gym.evaluation import evaluate, table
from qnum_gym.evaluation.trace import trace
from qnum_gym.scenarios import Session, poisson_requests
from qnum_gym.simulator import Controls


def asking(*requests: dict[str, Any], **fields: Any) -> Scenario:
    """Dumbbell, whose sessions have these fields."""
    base = qnum_gym.scenario("dumbbell", **fields)
    rows = [session.model_dump(exclude_none=True) for session in base.sessions]
    return base.replace(sessions=[{**row, **own} for row, own in zip(rows, (*requests, {}, {}), strict=False)])


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_request_ends_with_its_last_pair_and_never_has_more(loss: float) -> None:
    """With lost messages too: its source injects again for what it takes as lost, and what comes late is no pair."""
    s = asking({"pairs": 25, "start": 2.0}, {"pairs": 400, "stop": 4.0}, message_loss=loss, swap_success=0.8)
    simulator = Simulator(s, 1)
    simulator.set_controls(rates=[30.0, 20.0, 10.0])
    delivered, rows = np.zeros(3, np.int64), []
    for _ in range(80):
        seen = simulator.advance(0.25).sessions
        delivered += seen.delivered
        rows.append((seen.active.copy(), seen.missing, seen.duration))
        assert delivered[0] == 25 - seen.missing[0]
        assert delivered[0] + seen.unacked[0] <= 25
    active, missing, duration = rows[-1]
    assert active.tolist() == [False, False, True]
    assert seen.completed.tolist() == [True, False, False]
    assert missing[0] == 0
    assert 300 < missing[1] < 400
    assert missing[2] == -1
    assert duration[1] == 4.0
    assert math.isnan(duration[2])
    first = next(k for k, row in enumerate(rows) if row[1][0] == 0)  # the interval in which the last pair came
    assert first * 0.25 <= 2.0 + duration[0] <= (first + 1) * 0.25
    injected = int(simulator.advance(5.0).sessions.injected[0])
    assert injected == 0


def test_time_that_a_request_takes() -> None:
    """N pairs of a Poisson source of rate R on fast links: N gaps, of mean 1/R each, and a way."""
    s = asking({"pairs": 40}, coherence_time=math.inf)
    durations = []
    for seed in range(40):
        simulator = Simulator(s, seed)
        simulator.set_controls(rates=[8.0, 0.01, 0.01], werner=[0.8] * 7)
        durations.append(float(simulator.advance(60.0).sessions.duration[0]))
    way = 0.04  # three links of some 200 pairs/s and the latency
    assert np.mean(durations) == pytest.approx(40 / 8.0 + way, abs=4 * math.sqrt(40) / 8.0 / math.sqrt(40))


def test_figures_of_an_episode() -> None:
    """Of three requests one ends in the first half, one in the second, and one comes too late."""
    s = asking({"pairs": 5, "stop": 30.0}, {"pairs": 100}, {"pairs": 1000, "stop": 35.0}, episode_length=40)
    env = AllocationEnv(s)
    env.reset(seed=0)
    ended, rows = [], []
    best = optimum.solve(s, decoherence=True)
    for _ in range(40):
        info = env.step_controls(Controls(best.rates * 0.9, best.werner))[-1]
        ended.append((float(info["metrics/requests"]), float(info["metrics/completed"])))
        rows.append(env.row)
    sessions = env.telemetry.sessions
    assert sessions.completed.tolist() == [True, True, False]
    assert ended[int(sessions.duration[0])] == (1.0, 1.0)
    found = env.env_batch.scores[0].result(np.array(rows))
    whole = env.env_batch.scores[0].outcome(np.array(rows))
    late = float(sessions.duration[1]) > 20.0
    assert (found.requests, found.completed) == (1.0 + late, 0.0 + late)
    assert (whole.requests, whole.completed) == (3.0, 2.0)
    assert whole.completion_time == pytest.approx(float(sessions.duration[:2].mean()))
    np.testing.assert_allclose(whole.counted, [sessions.duration[0], sessions.duration[1], 35.0])


def test_a_request_that_is_done_leaves_the_score_to_the_others() -> None:
    """gm* without it: what the other two have at the optimum of all three."""
    s = asking({"pairs": 5}, episode_length=60)
    env = AllocationEnv(s)
    env.reset(seed=0)
    best = optimum.solve(s, decoherence=True)
    for _ in range(60):
        env.step_controls(Controls(best.rates * 0.95, best.werner))
    outcome = env.outcome
    assert outcome.counted.tolist() == [0.0, 20.0, 20.0]
    scale = optimum.yardstick(s)
    p = (1 - scale.best_werner[1:]) / 2
    worth = 1 + 2 * (p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert outcome.optimum == pytest.approx(math.exp(np.log(scale.best_rates[1:] * worth).mean()), rel=1e-6)
    assert 0.7 < outcome.score < 1.4


def test_requests_that_come_as_a_poisson_process() -> None:
    pairs = [("s0", "d0"), ("s1", "d1")]
    found = poisson_requests(pairs, rate=0.5, pairs=7, patience=30.0, seconds=2000.0, seed=3, weight=2.0)
    starts = np.array([session.start for session in found])
    assert abs(len(found) - 1000) < 4 * math.sqrt(1000)
    assert np.diff(starts).mean() == pytest.approx(2.0, rel=0.1)
    assert {(s.pairs, s.weight, round(s.stop - s.start, 9)) for s in found if s.stop} == {(7, 2.0, 30.0)}
    assert abs(sum(s.source == "s0" for s in found) - len(found) / 2) < 4 * math.sqrt(len(found) / 4)
    assert found == poisson_requests(pairs, 0.5, 7, 30.0, 2000.0, 3, weight=2.0)
    with pytest.raises(ValueError, match="poisson_requests: patience = 0; valid: positive and finite"):
        poisson_requests(pairs, 0.5, 7, 0, 2000.0, 3)
    with pytest.raises(ValueError, match="no request came within 1 s"):
        poisson_requests(pairs, 1e-9, 7, 1.0, 1.0, 3)


def test_tables_and_simulate_tell(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    s = asking({"pairs": 30, "start": 10.0}, {"pairs": 3000, "stop": 15.0}, episode_length=20)
    found = evaluate(s, {"oracle": agents.make("oracle")}, seeds=[0, 1])
    assert "requests in time" in table(found)
    assert "50.0% of 4, in " in table(found)
    s.to_yaml(tmp_path / "s.yaml")
    assert main(["simulate", str(tmp_path / "s.yaml"), "--policy", "oracle"]) == 0
    text = capsys.readouterr().out
    assert "done in " in text
    assert " of its pairs" in text


def test_what_cannot_be() -> None:
    with pytest.raises(ScenarioError, match=r"sessions\[0\].pairs = 0: must be"):
        asking({"pairs": 0})
    with pytest.raises(ScenarioError, match=r"sessions\[0\].pairs = 3: must not stand beside periods"):
        asking({"pairs": 3, "periods": ((1.0, 2.0),)})
    assert Session(source="a", destination="b").pairs is None


def test_the_lines_of_a_picture_end_with_the_session() -> None:
    seen = trace(asking({}, {"stop": 5.0}, episode_length=8), agents.make("best_static"), 0)
    for drawn in (seen.rate, seen.fidelity):
        assert np.isnan(drawn).sum(axis=0).tolist() == [0, 3, 0]
