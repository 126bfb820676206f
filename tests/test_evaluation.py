"""Paired runs, statistics and reports."""

import csv
import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from qnum_gym import evaluation, optimum
from qnum_gym import scenario as named
from qnum_gym.agents import Policy
from qnum_gym.envs import AllocationEnv
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.plots import draw_trace
from qnum_gym.evaluation.trace import trace
from qnum_gym.simulator import Controls, Simulator

SCENARIO = named("dumbbell", episode_length=30)


class Constant(Policy):
    """Holds an allocation; `scale` of its rates."""

    told: ClassVar[list[int]] = []  # the seeds, of all of them

    def __init__(self, allocation=optimum.equal_share, scale=1.0):
        self.name, self.allocation, self.scale = "constant", allocation, scale

    def forget(self, which):
        Constant.told += [seed for seed, begins in zip(self.seeds, which, strict=True) if begins]
        held = [self.allocation(scenario) for scenario in self.networks.scenarios]
        rates = np.concatenate([best.rates * self.scale for best in held])
        self.controls = Controls(rates, np.concatenate([best.werner for best in held]))

    def act(self, seen):
        return self.controls


@pytest.fixture(scope="module")
def results():
    policies = {"half": Constant(scale=0.5), "oracle": Constant(), "worthless": Constant(scale=30.0)}
    return evaluation.evaluate(SCENARIO, policies, range(6), env="here")


# --- statistics -------------------------------------------------------------------------------------------------------


def test_interval_is_the_percentile_bootstrap():
    values = np.random.default_rng(1).gamma(2.0, size=25)
    ours = evaluation.mean(values)
    scipys = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2))
    assert ours.mean == values.mean()
    assert ours.low == pytest.approx(scipys.confidence_interval.low, abs=0.02)
    assert ours.high == pytest.approx(scipys.confidence_interval.high, abs=0.02)


def test_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(400, 30))
    hits = [evaluation.mean(sample).low <= 0.0 <= evaluation.mean(sample).high for sample in samples]
    assert 0.90 <= np.mean(hits) <= 0.98  # percentile intervals from 30 seeds: a little below 95 %


def test_pairing_takes_out_what_the_seeds_share():
    rng = np.random.default_rng(4)
    shared = rng.normal(scale=10.0, size=40)
    ours, reference = 20.0 + shared + rng.normal(scale=0.1, size=40), 19.0 + shared
    gain = evaluation.difference(ours, reference)
    assert gain.low > 0.9
    assert gain.high < 1.1
    assert evaluation.mean(ours).high - evaluation.mean(ours).low > 3.0


def test_ratio_is_of_the_means_and_undefined_over_nothing():
    reference = np.array([1.0, 3.0, 2.0])
    assert evaluation.ratio(0.5 * reference, reference) == pytest.approx((0.5, 0.5, 0.5))
    assert np.isnan(evaluation.ratio(reference, np.zeros(3))).all()


def test_one_seed_and_equal_values_give_an_interval_of_one_point():
    assert evaluation.mean(np.array([0.3])) == pytest.approx((0.3, 0.3, 0.3))
    low = evaluation.mean(np.full(7, 0.1))
    assert low.low <= low.mean <= low.high
    with pytest.raises(ValueError, match="at least 1"):
        statistics.mean(np.zeros(0))


# --- runs -------------------------------------------------------------------------------------------------------------


def test_an_episode_is_the_second_half_of_the_simulator_run_with_the_environments_seed():
    env = AllocationEnv(SCENARIO)
    policy = Constant()
    outcome = evaluation.run_episode(env, policy, 5)
    env.reset(seed=5)
    simulator = Simulator(SCENARIO)
    simulator.set_state(env.simulator.get_state())
    simulator.set_controls(policy.controls.rates, policy.controls.werner)
    simulator.advance(15.0)
    second = simulator.advance(15.0).sessions
    assert outcome.rate == pytest.approx(second.delivered / 15.0)
    assert outcome.werner == pytest.approx(second.mean_werner)
    problem = optimum.Problem.from_scenario(SCENARIO)
    utility = problem.utility(second.delivered / 15.0, second.mean_werner)
    assert outcome.score == pytest.approx(np.exp((utility - optimum.solve(SCENARIO, decoherence=True).utility) / 3.0))
    assert outcome.geometric_mean == pytest.approx(np.exp(utility / 3.0))


def test_policies_live_through_the_same_draws(results):
    alone = evaluation.evaluate(SCENARIO, {"oracle": Constant()}, range(6))
    np.testing.assert_array_equal(alone.score[0], results.score[1])
    np.testing.assert_array_equal(alone.rate[0], results.rate[1])
    assert len(set(results.score[1])) == 6  # other seeds, other draws
    Constant.told.clear()
    evaluation.evaluate(SCENARIO, {"a": Constant()}, [7, 3])
    assert Constant.told == [7, 3]


def test_shapes_and_means(results):
    assert results.policies == ("half", "oracle", "worthless")
    assert results.score.shape == results.geometric_mean.shape == (3, 6)
    assert results.rate.shape == results.werner.shape == (3, 6, 3)
    np.testing.assert_allclose(results.mean_rate(), results.rate.mean(axis=1))


def test_mean_werner_leaves_out_seeds_that_delivered_nothing(results):
    rate, werner = np.array([[[2.0, 0.0, 0.0], [4.0, 3.0, 0.0]]]), np.array([[[0.8, 0.0, 0.0], [0.9, 0.7, 0.0]]])
    quiet = dataclasses.replace(results, rate=rate, werner=werner)
    np.testing.assert_allclose(quiet.mean_werner(), [[0.85, 0.7, 0.0]])


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="at least one of each"):
        evaluation.evaluate(SCENARIO, {}, [0])
    with pytest.raises(ValueError, match="at least one of each"):
        evaluation.evaluate(SCENARIO, {"a": Constant()}, [])


# --- reports ----------------------------------------------------------------------------------------------------------


def test_json_has_the_agreed_shape(results):
    document = json.loads(json.dumps(evaluation.as_json(results), allow_nan=False))
    assert set(document) == {"env", "policies"}
    assert document["env"] == "here"
    assert list(document["policies"]) == ["half", "oracle", "worthless"]
    for p, policy in enumerate(document["policies"].values()):
        assert policy["score"]["mean"] == pytest.approx(results.score[p].mean())
        low, high = policy["score"]["ci95"]
        assert low <= policy["score"]["mean"] <= high
        assert policy["geometric_mean"] == pytest.approx(results.geometric_mean[p].mean())
        assert len(policy["rate"]) == len(policy["werner"]) == len(policy["age"]) == 3
        for name in ("jain", "worst", "mean_age", "waste"):
            assert policy[name] == pytest.approx(getattr(results, name)[p].mean())
        assert policy["worst_session"] in {"s0->d0", "s1->d1", "s2->d2"}


def test_standings_compare_with_the_oracle_or_else_the_first(results):
    summaries = evaluation.summaries(results)
    assert summaries["oracle"].geometric_mean_ratio == pytest.approx((1.0, 1.0, 1.0))
    assert summaries["half"].score_difference.mean == pytest.approx((results.score[0] - results.score[1]).mean())
    assert summaries["half"].score_difference.high < 0.0
    pair = evaluation.evaluate(SCENARIO, {"a": Constant(), "b": Constant(scale=0.5)}, [0, 1])
    assert evaluation.summaries(pair)["a"].score_difference == pytest.approx((0.0, 0.0, 0.0))


def test_table_names_unit_reference_and_every_policy(results):
    text = evaluation.table(results)
    assert "gm (bit/s)" in text
    assert "gm / oracle" in text
    for name in results.policies:
        assert f"\n{name} " in text
    caption, rows, warning = text.split("\n\n")
    assert "paired seeds" in caption
    assert len({len(line) for line in rows.splitlines()}) == 1
    narrow = 1.0 - np.sqrt(1.0 - 1.0 / len(results.seeds))
    assert (
        warning
        == f"Warning: {len(results.seeds)} paired seeds make intervals about {narrow:.0%} too narrow, 10 would do."
    )


@pytest.mark.parametrize(("measure", "unit"), [("negativity", "gm (1/s)"), ("distillable", "gm (ebit/s)")])
def test_unit_follows_the_measure(measure, unit):
    scenario = SCENARIO.replace(measure=measure, episode_length=4)
    assert unit in evaluation.table(evaluation.evaluate(scenario, {"a": Constant()}, [0]))


def test_everything_saved_reads_back(results, tmp_path):
    paths = evaluation.save(results, tmp_path / "new" / "folder")
    assert {path.name for path in paths} == {
        "table.txt", "seeds.csv", "results.json", "scenario.yaml", "comparison.png"
    }  # fmt: skip
    assert all(path.exists() for path in paths)
    by_name = {path.name: path for path in paths}
    with by_name["seeds.csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 6
    assert float(rows[7]["score"]) == results.score[1, 1]
    assert float(rows[7]["werner_2"]) == results.werner[1, 1, 2]
    assert json.loads(by_name["results.json"].read_text()) == evaluation.as_json(results)
    assert type(SCENARIO).from_yaml(by_name["scenario.yaml"]) == SCENARIO


def test_figure_shows_something_in_each_panel(results, tmp_path):
    from matplotlib.image import imread

    *_, path = evaluation.save(results, tmp_path)
    image = imread(path)[:, :, :3]
    columns = np.array_split(image, 3, axis=1)
    assert all(len(np.unique(part.reshape(-1, 3), axis=0)) > 50 for part in columns)


def test_trace_counts_every_pair_and_draws(tmp_path):
    episode = trace(SCENARIO, Constant(), seed=5)
    np.testing.assert_array_equal(episode.injected, episode.delivered + episode.dropped + episode.in_flight)
    assert episode.time[-1] == 30.0
    assert episode.queue.shape == (30, 7)
    assert episode.outcome.score == evaluation.run_episode(AllocationEnv(SCENARIO), Constant(), 5).score
    draw_trace(episode, tmp_path / "trace.png", "an episode")
    assert (tmp_path / "trace.png").stat().st_size > 20_000
