"""Actions that are choices: each is a step of −1, 0 or 1, in all environments, and masks say what does nothing."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from pettingzoo.test import parallel_api_test

import qnum_gym
from qnum_gym.envs import ActionMap, AllocationEnv, AllocationParallelVectorEnv, AllocationVectorEnv
from qnum_gym.scenarios import Link, LinkEvent, Scenario, Session
from qnum_gym.simulator import Controls
from tests.envs.test_parallel import LENGTH, dynamic, joint

KNOBS = 11  # of `dynamic`: three sessions, eight links


def of_steps(kind: str, choice: Any, size: int) -> np.ndarray:
    """The action of "step" that a choice stands for, spelt out."""
    if kind == "discrete":
        return np.asarray(choice) - 1.0
    step = np.zeros(size)
    if choice > 0:
        step[(choice - 1) // 2] = -1.0 if choice % 2 else 1.0
    return step


@pytest.mark.bits
@pytest.mark.parametrize("kind", ["discrete", "single"])
@pytest.mark.parametrize("signals", [False, True])
def test_scalar_and_vector_are_those_of_steps(kind: str, signals: bool) -> None:
    scenario, size = dynamic(), KNOBS * (1 + signals)
    scalar = AllocationEnv(scenario, action=kind, signals=signals)
    steps = AllocationEnv(scenario, signals=signals)
    vector = AllocationVectorEnv(2, scenario, action=kind, signals=signals, threads=2)
    expected: Any = spaces.MultiDiscrete([3] * size) if kind == "discrete" else spaces.Discrete(1 + 2 * size)
    assert scalar.action_space == vector.single_action_space == expected
    first, info = scalar.reset(seed=7)
    np.testing.assert_array_equal(first, steps.reset(seed=7)[0])
    vector.reset(seed=7)
    rng = np.random.default_rng(0)
    for _ in range(LENGTH):
        masks = scalar.action_masks()
        assert masks.dtype == bool
        np.testing.assert_array_equal(info["action_mask"], masks)
        np.testing.assert_array_equal(vector.action_masks()[0], masks)
        choice = rng.integers(3, size=size) if kind == "discrete" else rng.integers(1 + 2 * size)
        observation, reward, _, over, info = scalar.step(choice)
        other, same, *_ = steps.step(of_steps(kind, choice, size))
        seen, rewards, *_, many = vector.step(np.stack([choice, choice]))
        np.testing.assert_array_equal(observation, other)
        np.testing.assert_array_equal(observation, seen[0])
        assert reward == same == rewards[0]
        np.testing.assert_array_equal(many["action_mask"][0], info["action_mask"])
        assert many["_action_mask"].all()
    assert over
    vector.step(np.full((2, *expected.shape), 99))  # resets: the action is ignored
    np.testing.assert_array_equal(vector.action_masks()[0], scalar.reset()[1]["action_mask"])


@pytest.mark.bits
@pytest.mark.parametrize("signals", [False, True])
def test_parallel_is_central(signals: bool) -> None:
    """Over two episodes; the native form beside it, in a batch with a smaller network."""
    scenario, chain = dynamic(), qnum_gym.scenario("chain", episode_length=LENGTH)
    central = AllocationEnv(scenario, action="discrete", signals=signals)
    par = qnum_gym.parallel_env(scenario, action="discrete", signals=signals, info="none")
    native = AllocationParallelVectorEnv(
        2, [scenario, chain], action="discrete", signals=signals, observation="graph", autoreset_mode="SAME_STEP"
    )
    n = 9 if signals else 3
    assert all(par.action_space(agent) == spaces.Discrete(n) for agent in par.possible_agents)
    assert native.agent_action_space == spaces.Discrete(n)
    observations, infos = par.reset(seed=4)
    central.reset(seed=4)
    native.reset(seed=4)
    rng = np.random.default_rng(1)
    for _ in range(2 * LENGTH):
        masks = np.stack([infos[agent]["action_mask"] for agent in par.agents])
        assert masks.dtype == np.int8
        np.testing.assert_array_equal(native.action_masks()[0], masks)
        entries = central.action_masks().reshape(-1, KNOBS, 3)  # controls, then signals
        for agent, mask in enumerate(masks):
            for code in range(n):
                parts = [entries[k, agent, code // 3**k % 3] for k in range(1 + signals)]
                assert mask[code] == all(parts)
        choices = rng.integers(n, size=(2, KNOBS))
        digits = {a: np.array([c % 3, c // 3])[: 1 + signals] for a, c in zip(par.agents, choices[0], strict=True)}
        action = joint(digits) if signals else np.concatenate(list(digits.values()))
        observations, rewards, _, truncated, infos = par.step(dict(zip(par.agents, choices[0], strict=True)))
        state, reward, *_ = central.step(action)
        choices[1, 7:] = 99  # the chain has fewer agents
        native.step(choices)
        np.testing.assert_array_equal(par.state(), state)
        assert set(rewards.values()) == {reward}
        if all(truncated.values()):
            observations, infos = par.reset()
            central.reset()
        rows = native.observe()[0]
        np.testing.assert_array_equal(rows, list(observations.values()))


def test_masks_in_a_batch_are_those_alone() -> None:
    names = ("chain", "nsfnet")
    envs = AllocationVectorEnv(
        2, [qnum_gym.scenario(name) for name in names], action="discrete", observation="graph", signals=True
    )
    envs.reset(seed=0)
    masks = envs.action_masks().reshape(2, -1, 3)
    own = envs.env_batch.agent_mask
    np.testing.assert_array_equal(masks[:, :, 1], True)  # holding is always open
    np.testing.assert_array_equal(masks[:, :, 0], np.tile(own, 2))
    np.testing.assert_array_equal(masks[:, :, 2], np.tile(own, 2))


SMALL = Scenario(
    links=[
        Link(a="a", b="b", length_km=10, werner_range=(0.8, 0.99), initial_werner=0.9),
        Link(a="b", b="c", length_km=20),
    ],
    sessions=[Session(source="a", destination="c", rate_range=(0.5, 3.0), initial_rate=1.0)],
    rate_range=(0.1, 10.0),
)


@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=40))
def test_what_is_masked_changes_nothing_and_what_is_not_does(episode: list[list[int]]) -> None:
    """By the controls alone, for each control's three choices, wherever a sequence of moves has led."""
    actions = ActionMap(SMALL, "discrete", rate_step=0.31, werner_step=0.23)
    on = np.ones(1, bool), np.ones(2, bool)
    last = Controls(np.array([1.0]), np.array([0.9, 0.967]))
    for choices in episode:
        last = actions.decode(choices, last)
    masks = actions.masks(*on, last).reshape(3, 3)
    before = actions.coordinates.of(last.rates, last.werner)
    for control, choice in itertools.product(range(3), range(3)):
        moved = np.ones(3, int)
        moved[control] = choice
        then = actions.decode(moved, last)
        change = np.abs(actions.coordinates.of(then.rates, then.werner) - before)
        assert change.argmax() == control or change.max() < 1e-9
        if choice != 1:
            assert masks[control, choice] == (change[control] > 1e-5)
    assert masks[:, 1].all()


def test_ends_of_the_range_by_hand() -> None:
    actions = ActionMap(SMALL, "single")
    lowest, highest = Controls(np.array([0.5]), np.array([0.8, 0.967])), Controls(np.array([3.0]), np.array([0.9, 0.5]))
    on = np.ones(1, bool), np.ones(2, bool)
    np.testing.assert_array_equal(actions.masks(*on, lowest), [1, 0, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(actions.masks(*on, highest), [1, 1, 0, 1, 1, 0, 1])  # 0.5 is the default's lowest w
    np.testing.assert_array_equal(actions.masks(on[0], np.array([True, False]), highest), [1, 1, 0, 1, 1, 0, 0])


def test_sessions_that_are_off_and_links_that_are_down() -> None:
    a, *others = qnum_gym.scenario("dumbbell").sessions
    scenario = qnum_gym.scenario("dumbbell").replace(
        sessions=[a.model_copy(update={"start": 1.5, "stop": 3.5}), *others],
        events=[
            LinkEvent(time=2.25, link=("left", "right"), up=False),
            LinkEvent(time=4.25, link=("left", "right"), up=True),
        ],
    )
    down = next(l for l, link in enumerate(scenario.links) if {link.a, link.b} == {"left", "right"})
    par = qnum_gym.parallel_env(scenario, action="discrete", signals=False)
    _, infos = par.reset(seed=0)
    for time in range(6):
        masks = {agent: info["action_mask"].tolist() for agent, info in infos.items()}
        assert masks["source_0"] == ([1, 1, 1] if 1.5 <= time < 3.5 else [0, 1, 0])
        assert masks[f"link_{down}"] == ([0, 1, 0] if 2.25 <= time < 4.25 else [1, 1, 1])
        assert masks["source_1"] == masks[f"link_{down - 1}"] == [1, 1, 1]
        infos = par.step(dict.fromkeys(par.agents, 1))[-1]


def test_encode_finds_the_nearest() -> None:
    last = Controls(np.array([1.0]), np.array([0.9, 0.967]))
    discrete, single = (ActionMap(SMALL, kind, rate_step=0.2, werner_step=0.1) for kind in ("discrete", "single"))
    wanted = Controls(np.array([np.exp(0.15)]), 1.0 - (1.0 - last.werner) * np.exp([0.04, 0.4]))
    assert discrete.encode(wanted, last).tolist() == [2, 1, 0]
    assert single.encode(wanted, last) == 5  # the second link, lower
    assert single.encode(Controls(np.array([np.exp(0.05)]), last.werner), last) == 0
    for actions in (discrete, single):
        assert actions.encode(wanted, last) in actions.space()
        for choice in [discrete.space().sample() for _ in range(20)] if actions is discrete else range(7):
            np.testing.assert_array_equal(actions.encode(actions.decode(choice, last), last), choice)


@pytest.mark.parametrize("kind", ["discrete", "single"])
def test_gymnasium_and_pettingzoo_find_nothing(kind: str) -> None:
    check_env(gym.make("qnum_gym/Dumbbell-v0", action=kind, episode_length=5).unwrapped, skip_render_check=True)
    if kind == "discrete":
        parallel_api_test(qnum_gym.parallel_env("Dumbbell-v0", action=kind, episode_length=9), num_cycles=20)


def test_refusals() -> None:
    single, discrete = (AllocationEnv("dumbbell", action=kind) for kind in ("single", "discrete"))
    for env in (single, discrete):
        env.reset(seed=0)
    for bad in (21, -1, 0.5, np.nan):
        with pytest.raises(ValueError, match=rf"action = {bad}; valid: 0 to 20"):
            single.step(bad)
    with pytest.raises(ValueError, match=r"action\[4\] = 3; valid: 0 to 2"):
        discrete.step([1, 1, 1, 1, 3, 1, 1, 1, 1, 1])
    vector = AllocationVectorEnv(2, "dumbbell", action="single")
    vector.reset(seed=0)
    with pytest.raises(ValueError, match=r"action\[1\] = 99; valid: 0 to 20"):
        vector.step([0, 99])
    par = qnum_gym.parallel_env("dumbbell", action="discrete")
    par.reset(seed=0)
    with pytest.raises(ValueError, match="action of link_2 = 9; valid: 0 to 8"):
        par.step({agent: 9 if agent == "link_2" else 4 for agent in par.agents})
    native = AllocationParallelVectorEnv(1, "dumbbell", action="discrete")
    native.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions\[0\] of source_1 = 9; valid: 0 to 8"):
        native.step([[4, 9, *[4] * 8]])
    with pytest.raises(ValueError, match="'single': moves one control of all; valid for many agents: 'discrete'"):
        qnum_gym.parallel_env("dumbbell", action="single")
    with pytest.raises(ValueError, match="action = 'step': has no masks of choices; valid: discrete, single"):
        AllocationEnv("dumbbell").action_masks()
