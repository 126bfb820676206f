"""AllocationEnv: Gymnasium's and SB3's rules, seeds, state, keywords, and what happens in unusual scenarios."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from stable_baselines3.common import env_checker as sb3

import qnum_gym
from qnum_gym.envs import ActionMap, AllocationEnv
from qnum_gym.registration import ids
from qnum_gym.scenarios import LinkEvent, NodeEvent, Scenario, ScenarioError
from qnum_gym.simulator import Controls

IDS = list(ids())


def make(id: str = "qnum_gym/Dumbbell-v0", **keywords: Any) -> AllocationEnv:
    if id == "qnum_gym/Scenario-v0":
        keywords = {"scenario": qnum_gym.scenario("chain", sessions=2)} | keywords
    if id == "qnum_gym/Families-v0":
        keywords = {"families": "dumbbell", "size": 2} | keywords
    env = gym.make(id, **keywords).unwrapped
    assert isinstance(env, AllocationEnv)
    return env


def run(env: AllocationEnv, steps: int, seed: int | None = None) -> list[Any]:
    """Everything that `steps` random but fixed actions bring about."""
    rng = np.random.default_rng(0)
    history: list[Any] = [] if seed is None else [env.reset(seed=seed)]
    for _ in range(steps):
        history.append(env.step(rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)))
    return history


def same(a: Any, b: Any) -> bool:
    return data_equivalence(tuple(a), tuple(b), exact=True)


@pytest.mark.filterwarnings("ignore:Your observation .* has an unconventional shape")  # SB3, of graphs
@pytest.mark.parametrize("id", IDS)
def test_checkers_find_nothing(id: str) -> None:
    """pytest turns warnings into errors."""
    check_env(make(id))
    sb3.check_env(make(id))


@pytest.mark.parametrize("keywords", [{"action": "level"}, {"signals": True}, {"measure": "negativity", "window": 3}])
def test_checkers_find_nothing_in_variants(keywords: dict[str, Any]) -> None:
    check_env(make(**keywords), skip_render_check=True)
    sb3.check_env(make(**keywords), skip_render_check=True)


@pytest.mark.parametrize("id", IDS)
def test_equal_seeds_equal_bits_other_seeds_other_bits(id: str) -> None:
    one, two = make(id), make(id)
    first = run(one, 10, seed=5)
    assert same(first, run(two, 10, seed=5))
    assert same(first, run(one, 10, seed=5))
    assert not same(first, run(two, 10, seed=6))


def test_the_next_episode_belongs_to_the_seed() -> None:
    env = make()
    env.reset(seed=1)
    second = [env.reset(), *run(env, 5)]
    env.reset(seed=1)
    run(env, 7)  # what was done before makes no difference
    assert same(second, [env.reset(), *run(env, 5)])
    third = [env.reset(), *run(env, 5)]
    assert not same(second, third)


def test_state_pickle_and_deepcopy_go_on_bit_for_bit() -> None:
    env = make(message_loss=0.05, swap_success=0.9)
    run(env, 12, seed=3)
    other = make(message_loss=0.05, swap_success=0.9)
    other.set_state(env.get_state())
    state = pickle.loads(pickle.dumps(env.get_state()))
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env), other]
    told = [env.telemetry.time, env.controls.rates, *run(env, 30), env.reset(), *run(env, 3)]
    for each in copies:
        assert same(told, [each.telemetry.time, each.controls.rates, *run(each, 30), each.reset(), *run(each, 3)])
    env.set_state(state)
    assert same(told, [env.telemetry.time, env.controls.rates, *run(env, 30), env.reset(), *run(env, 3)])


def test_state_before_the_first_reset() -> None:
    env, other = make(), make()
    other.reset(seed=1)
    other.set_state(env.get_state())
    with pytest.raises(gym.error.ResetNeeded):
        other.step(np.zeros(10, np.float32))


def test_set_state_brings_its_scenario() -> None:
    env, other = make(coherence_time=50.0), make()
    run(env, 4, seed=2)
    other.set_state(env.get_state())
    assert other.scenario == env.scenario
    assert same(run(env, 4), run(other, 4))
    with pytest.raises(ValueError, match="8 sessions; valid: 3"):
        other.set_state(make("qnum_gym/NSFNet-v0").get_state())


@pytest.mark.parametrize("action", ["step", "level"])
def test_step_is_step_controls_of_what_it_decodes(action: Any) -> None:
    one, two = make(action=action, signals=True), make(action=action, signals=True)
    decoder = ActionMap(one.scenario, action, signals=True)
    one.reset(seed=0)
    two.reset(seed=0)
    for _ in range(5):
        sample = one.action_space.sample()
        assert same(one.step(sample), two.step_controls(decoder.decode(sample, two.controls)))


def test_step_controls_refuses_what_the_scenario_does_not_allow() -> None:
    env = make(rate_range=(0.1, 50.0))
    env.reset(seed=0)
    controls = env.controls
    with pytest.raises(ValueError, match=r"rates\[1\] = 51.0; valid: 0.1 to 50"):
        env.step_controls(Controls(np.array([1.0, 51.0, 1.0]), controls.werner))
    with pytest.raises(ValueError, match=r"werner has shape \(3,\); valid: \(7,\)"):
        env.step_controls(Controls(controls.rates, controls.werner[:3]))
    with pytest.raises(ValueError, match=r"action\[0\] = nan"):
        env.step(np.full(10, np.nan, np.float32))


def test_reward_info_and_truncation() -> None:
    env = make(episode_length=7)
    _, info = env.reset(seed=0)
    keys = info.keys()
    assert info["metrics/time"] == 0.0
    rows: list[np.ndarray] = []
    for i in range(1, 9):
        _, reward, terminated, truncated, info = env.step(np.zeros(10, np.float32))
        rows.append(env.row)
        outcome = env.env_batch.scores[0].outcome(np.array(rows))
        np.testing.assert_allclose(env.outcome.rate, outcome.rate, rtol=1e-12)
        assert isinstance(reward, float)
        assert reward == outcome.score
        assert outcome.score == info["metrics/score"]
        np.testing.assert_allclose(info["rewards/session"], np.exp(outcome.utilities) / outcome.optimum)
        np.testing.assert_array_equal(info["metrics/delivered"], env.telemetry.sessions.delivered)
        np.testing.assert_array_equal(info["controls/werner"], env.telemetry.links.werner)
        assert info.keys() == keys
        assert (terminated, truncated) == (False, i >= 7)
        assert info["metrics/time"] == i


def test_information_may_be_left_out() -> None:
    env, silent = make(), make(info="none")
    assert silent.reset(seed=0)[1] == {}
    env.reset(seed=0)
    first, second = env.step(np.zeros(10, np.float32)), silent.step(np.zeros(10, np.float32))
    assert second[-1] == {}
    assert same(first[:-1], second[:-1])
    with pytest.raises(ValueError, match="info = 'nested'; valid: flat, none"):
        make(info="nested")


def test_episode_length_and_time_limit() -> None:
    def length(env: gym.Env[Any, Any]) -> int:
        env.reset(seed=0)
        for step in range(1, 1000):
            if env.step(np.zeros(10, np.float32))[3]:
                return step
        raise AssertionError

    assert length(gym.make("qnum_gym/Dumbbell-v0")) == 200
    assert length(gym.make("qnum_gym/Dumbbell-v0", episode_length=30)) == 30
    assert length(gym.make("qnum_gym/Dumbbell-v0", max_episode_steps=9)) == 9


def test_what_is_returned_is_nobody_elses() -> None:
    env = make()
    observation, info = env.reset(seed=0)
    kept = copy.deepcopy((observation, info))
    run(env, 3)
    assert same(kept, (observation, info))
    a, b = make(), make()
    a.reset(seed=0)
    b.reset(seed=0)
    observation, _, _, _, info = a.step(np.zeros(10, np.float32))
    observation[:] = 9.0
    for value in info.values():
        if isinstance(value, np.ndarray):
            value[:] = 9
    b.step(np.zeros(10, np.float32))
    assert same(run(a, 3), run(b, 3))


# --- which scenario ---------------------------------------------------------------------------------------------------


def test_scenario_by_name_path_and_object(tmp_path: Path) -> None:
    scenario = qnum_gym.scenario("chain", nodes=4, sessions=2, coherence_time=20.0)
    path = tmp_path / "chain.yaml"
    scenario.to_yaml(path)
    for given in (scenario, path, str(path)):
        assert make("qnum_gym/Scenario-v0", scenario=given).scenario == scenario
        overridden = make("qnum_gym/Scenario-v0", scenario=given, memory=7, control_interval=0.5).scenario
        assert overridden == scenario.replace(memory=7, control_interval=0.5)
    assert make("qnum_gym/Scenario-v0", scenario="surfnet").scenario == qnum_gym.scenario("surfnet")
    assert make(sessions=5, access_km=3.0).scenario == qnum_gym.scenario("dumbbell", sessions=5, access_km=3.0)
    assert make("qnum_gym/Waxman-v0", seed=3, nodes=9).scenario == qnum_gym.scenario("waxman", seed=3, nodes=9)


@pytest.mark.parametrize(
    ("id", "keywords", "message"),
    [
        (
            "Dumbbell",
            {"sginals": True},
            "sginals: unknown keyword; did you mean 'signals'?.* valid: .*access_km.*action",
        ),
        ("Dumbbell", {"rows": 3}, "rows: unknown keyword"),
        ("Scenario", {"access_km": 3.0}, "access_km: unknown keyword"),
        ("Scenario", {"scenario": None}, "scenario: missing; give a Scenario.* dumbbell"),
        ("Scenario", {"scenario": "dumbell"}, "scenario = 'dumbell': did you mean 'dumbbell'?"),
        ("Scenario", {"scenario": "no/such.yaml"}, "no/such.yaml: No such file"),
        ("Scenario", {"scenario": 3}, "scenario = 3: valid: .*dumbbell"),
        ("Dumbbell", {"coherence_time": -1.0}, "coherence_time = -1.0"),
        ("Dumbbell", {"action": "jump"}, "action = 'jump': valid: step, level, discrete, single"),
        ("Dumbbell", {"rate_step": 0.0}, "rate_step = 0.0; valid: a positive number"),
    ],
)
def test_refused_keywords(id: str, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(f"qnum_gym/{id}-v0", **keywords)


def test_swapping_the_scenario() -> None:
    env = make()
    env.reset(seed=0)
    other = env.scenario.replace(coherence_time=100.0, measure="negativity", episode_length=3)
    swapped = [env.reset(seed=4, options={"scenario": other}), *run(env, 5)]
    assert env.scenario is other
    assert same(swapped, run(make("qnum_gym/Scenario-v0", scenario=other), 5, seed=4))
    env.reset()
    assert env.scenario is other
    env.reset(options={"scenario": "dumbbell"})
    assert env.scenario == qnum_gym.scenario("dumbbell")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenario": "nsfnet"}, r"options\['scenario'\] = 'nsfnet' has 8 sessions; valid: 3"),
        ({"scenario": qnum_gym.scenario("chain", sessions=3)}, "has 4 links; valid: 7"),
        ({"seed": 3}, "options: 'seed' unknown; valid: 'scenario'"),
        ({"scenario": "nonsense"}, "scenario = 'nonsense'"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    env = make()
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0, options=options)


def test_a_refused_swap_changes_nothing() -> None:
    env, other = make(), make()
    for each in (env, other):
        run(each, 3, seed=1)
    with pytest.raises(ScenarioError):
        env.reset(options={"scenario": "nonsense"})
    assert same(run(env, 3), run(other, 3))


def stormy() -> Scenario:
    """Sessions come and go, one link fails and comes back, one is lossy, a memory fades."""
    scenario = qnum_gym.scenario("nsfnet", feedback_delay=0.3, message_loss=0.01, cutoff=4.0)
    sessions = list(scenario.sessions)
    sessions[1] = sessions[1].model_copy(update={"stop": 6.5})
    sessions[2] = sessions[2].model_copy(update={"start": 9.2, "weight": 3.0})
    events = [
        LinkEvent(time=3.0, link=(7, 8), up=False),
        LinkEvent(time=8.4, link=(7, 8), up=True, extra_loss_db=1.0),
        LinkEvent(time=5.0, link=(5, 12), extra_loss_db=4.0),
        NodeEvent(time=7.0, node=4, coherence_time=6.0),
    ]
    return scenario.replace(sessions=sessions, events=events)


@pytest.mark.parametrize("policy", ["random", "lowest", "highest"])
def test_a_stormy_scenario_stays_finite(policy: str) -> None:
    env = make("qnum_gym/Scenario-v0", scenario=stormy(), action="level", episode_length=30)
    env.reset(seed=0)
    env.action_space.seed(0)
    constant = {"lowest": -1.0, "highest": 1.0}.get(policy)
    truncated = False
    while not truncated:
        action = (
            env.action_space.sample() if constant is None else np.full(env.action_space.shape, constant, np.float32)
        )
        observation, reward, _, truncated, info = env.step(action)
        assert observation in env.observation_space
        assert np.isfinite(reward)
        assert all(np.isfinite(value).all() for value in info.values())


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_text() -> None:
    env = make("qnum_gym/Scenario-v0", scenario=stormy(), render_mode="ansi")
    run(env, 4, seed=0)
    text = env.render()
    assert isinstance(text, str)
    lines = text.splitlines()
    assert lines[0].startswith("nsfnet  t = 4 s  score ")
    assert "bit/s" in lines[0]
    assert len(lines) == 1 + 1 + 1 + 8 + 1 + 1 + 21
    assert lines[5].split()[0] == "2→11"
    assert lines[5].endswith("off")
    assert next(line for line in lines if line.startswith("7–8")).endswith("down")


def test_render_modes() -> None:
    with pytest.raises(ValueError, match="render_mode = 'human'; valid: ansi, rgb_array or None"):
        AllocationEnv("dumbbell", render_mode="human")
    env = AllocationEnv("dumbbell", render_mode="ansi")
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    silent = AllocationEnv("dumbbell")
    silent.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert silent.render() is None
