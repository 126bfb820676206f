"""Controllers as slots of one vector environment, and PPO that all of them share."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecEnv

import qnum_gym
from qnum_gym import families, optimum
from qnum_gym.agents.learned.local import (
    FEATURES,
    KNOBS,
    LINK_FEATURES,
    LINKS,
    SOURCE_FEATURES,
    SOURCES,
    SharedControllers,
)
from qnum_gym.agents.networks import Networks
from qnum_gym.agents.static import ORACLE_UTILISATION, oracle
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.integrations.controllers import ControllersVecEnv, Relative
from qnum_gym.scenarios import LinkEvent
from qnum_gym.simulator import Controls
from qnum_gym.training import shared_ppo
from qnum_gym.training.shared_ppo import SharedPPO, SharedPPOConfig

DUMBBELL = qnum_gym.scenario("dumbbell", episode_length=40)
TREE = families.sample("tree", 0).replace(episode_length=40)
CONFIG = {"name": "x", "algorithm": "shared_ppo", "families": ["tree"], "scenarios": 1, "copies": 2}


def alone(scenario=DUMBBELL) -> Relative:
    return Relative([scenario], np.zeros(len(scenario.sessions), np.int64))


def test_utility_is_zero_at_the_optimum_and_a_straight_line_where_little_is_left():
    best = optimum.solve(DUMBBELL, decoherence=True, max_utilisation=ORACLE_UTILISATION)
    per_second = np.array([best.rates, best.rates * best.expected_werner, np.ones(3)])
    assert alone().add(per_second, 0)[0] == pytest.approx(0.0, abs=1e-9)
    part = per_second * [[0.8], [0.8], [1.0]]
    assert alone().add(part, 0)[0] == pytest.approx(math.log(0.8))
    assert alone().add(per_second * [[0.0], [0.0], [1.0]], 0)[0] == pytest.approx(math.log(0.5) - 1.0)
    # pairs of W = 0.7 are of no use for a key, and worth less than none: f < 0 along the tangent
    useless = np.array([best.rates, best.rates * 0.7, np.ones(3)])
    assert alone().add(useless, 0)[0] < math.log(0.5) - 1.2


def test_utility_pools_the_window_and_counts_by_weight_and_time():
    best = oracle(DUMBBELL, 0.0)
    full = np.array([best.rates, best.rates * best.expected_werner, np.ones(3)])
    relative = alone()
    relative.add(full * [[1.6], [1.6], [1.0]], 0)
    assert relative.add(full * [[0.0], [0.0], [1.0]], 1)[0] == pytest.approx(math.log(0.8))
    for interval in range(2, 21):
        last = relative.add(full, interval)  # the first one leaves the window
    assert last[0] == pytest.approx(math.log(0.95))
    relative.forget()
    one_off = full * np.array([1.0, 0.0, 1.0])  # a session that does not count
    one_off[0, 0] *= 0.8
    one_off[1, 0] *= 0.8
    assert relative.add(one_off, 0)[0] == pytest.approx(0.5 * math.log(0.8))


def test_the_optimum_is_that_of_the_moment():
    link = (DUMBBELL.links[0].a, DUMBBELL.links[0].b)
    scenario = DUMBBELL.replace(events=[LinkEvent(time=10.0, link=link, extra_loss_db=6.0)])
    relative = alone(scenario)
    for time in (0.0, 10.0):
        best = oracle(scenario, time)
        full = np.array([best.rates, best.rates * best.expected_werner, np.ones(3)])
        relative.forget()
        assert relative.add(full, int(time))[0] == pytest.approx(0.0, abs=1e-9)
    assert oracle(scenario, 10.0).utility < oracle(scenario, 0.0).utility - 0.1


def test_a_slot_is_a_controller_with_its_own_rows():
    envs = ControllersVecEnv([DUMBBELL, TREE], 1, 5, threads=1)
    seen: Any = envs.reset()
    sources = len(DUMBBELL.sessions) + len(TREE.sessions)
    assert seen.shape == (envs.num_envs, FEATURES)
    assert envs.num_envs == len(envs.of_slot)
    batch, controllers = EnvBatch(envs.scenarios, 1), SharedControllers(Networks(envs.scenarios))
    for i, seed in enumerate(np.random.default_rng(np.random.SeedSequence([5, 0])).integers(2**40, size=2).tolist()):
        batch.reset(i, seed)
    rng = np.random.default_rng(0)
    for _ in range(30):
        source, link = controllers.look(batch.telemetry(), batch.shared_rows())
        np.testing.assert_array_equal(seen[:sources, SOURCES], source)
        np.testing.assert_array_equal(seen[sources:, LINKS], link)
        assert not seen[:sources, LINKS].any()
        assert not seen[sources:, SOURCES].any()
        assert (seen[:, 0] == np.arange(envs.num_envs).__lt__(sources)).all()
        assert (seen[:, LINKS.start - 1] == 1.0 - seen[:, 0]).all()
        actions = rng.uniform(-1, 1, (envs.num_envs, KNOBS)).astype(np.float32)
        batch.step(Controls(*controllers.correct(actions[:sources], actions[sources:])))
        seen = envs.step(actions)[0]


def test_copies_differ_by_what_their_controllers_do_alone():
    envs = ControllersVecEnv([DUMBBELL] * 3, 3, 0, limit=0.2, threads=1)
    envs.reset()
    nothing = np.zeros((envs.num_envs, KNOBS), np.float32)
    for _ in range(10):
        _, rewards, _, _ = envs.step(nothing)
        np.testing.assert_allclose(rewards, 0.0, atol=1e-12)  # the same draws, the same controls
    worse = nothing.copy()
    worse[envs.of_slot == 1, 0] = -1.0  # one copy's sources and links all the way down
    for _ in range(25):
        _, rewards, _, _ = envs.step(worse)
    of_copy = [np.unique(rewards[envs.of_slot == copy]) for copy in range(3)]
    assert all(len(each) == 1 for each in of_copy)  # a network's slots share it
    assert of_copy[0] == pytest.approx(of_copy[2])
    assert of_copy[1][0] == pytest.approx(-0.2)


def test_an_episode_ends_for_all_and_the_next_has_other_draws():
    envs = ControllersVecEnv([DUMBBELL] * 2, 2, 0, threads=1)
    envs.reset()
    nothing = np.zeros((envs.num_envs, KNOBS), np.float32)
    stories, seen = [], None
    for _ in range(2):
        for interval in range(40):
            seen, _, dones, infos = envs.step(nothing)
            assert dones.all() if interval == 39 else not dones.any()
        assert all(info["TimeLimit.truncated"] for info in infos)
        stories.append(np.array([info["terminal_observation"] for info in infos]))
        assert not np.array_equal(np.asarray(seen), stories[-1])
    assert not np.array_equal(*stories)
    again = ControllersVecEnv([DUMBBELL] * 2, 2, 0, episode=1, threads=1)
    again.reset()
    for _ in range(40):
        infos = again.step(nothing)[3]
    np.testing.assert_array_equal([info["terminal_observation"] for info in infos], stories[1])


def test_copies_have_to_be_in_a_row():
    with pytest.raises(ValueError, match="3 of them; valid: each 2 times in a row"):
        ControllersVecEnv([DUMBBELL] * 3, 2, 0, threads=1)
    with pytest.raises(ValueError, match="2 of them; valid: each 2 times in a row"):
        ControllersVecEnv([DUMBBELL, TREE], 2, 0, threads=1)


@pytest.mark.parametrize("hidden", [[], [6]])
def test_two_heads_say_what_the_one_actor_says(hidden):
    learner = SharedPPO(SharedPPOConfig(**CONFIG, hidden=hidden))
    rng = np.random.default_rng(1)
    rows = rng.uniform(-1, 1, (7, len(SOURCE_FEATURES))).astype(np.float32)
    more = rng.uniform(-1, 1, (5, len(LINK_FEATURES))).astype(np.float32)
    seen = np.zeros((12, FEATURES), np.float32)
    seen[:7, 0], seen[:7, SOURCES], seen[7:, LINKS.start - 1], seen[7:, LINKS] = 1.0, rows, 1.0, more
    assert not np.concatenate(learner.network()(rows, more)).any()  # it begins as QPrimalDual-DA
    import torch

    with torch.no_grad():
        for parameter in learner.model.policy.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    actions, _ = learner.model.predict(seen, deterministic=True)
    np.testing.assert_allclose(np.concatenate(learner.network()(rows, more)), actions, atol=1e-6)


class Wishes(VecEnv):
    """Slots of 32 networks that want of a correction what is linear in what they see; `of_slot` as the real one."""

    render_mode = None
    intervals = 10

    def __init__(self, scenarios, copies, seed, *, episode, limit, threads):
        self.of_slot = np.repeat(np.arange(32), 4)
        self.rng = np.random.default_rng([seed, episode])
        self.wish = np.linspace(-0.3, 0.3, FEATURES * KNOBS).reshape(FEATURES, KNOBS)
        box = (gym.spaces.Box(-1.0, 1.0, (n,), np.float32) for n in (FEATURES, KNOBS))
        super().__init__(128, *box)

    def reset(self):
        self.seen = self.rng.uniform(-1, 1, (128, FEATURES)).astype(np.float32)
        return self.seen

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        loss = ((self.actions - np.clip(self.seen @ self.wish, -1, 1)) ** 2).sum(axis=1)
        return self.reset(), -loss.astype(np.float32), np.zeros(128, bool), [{}] * 128

    close = set_attr = env_method = lambda self, *_, **__: None  # pyright: ignore[reportAssignmentType]

    def get_attr(self, attr_name, indices=None):
        return [None] * 128

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * 128


def test_it_learns_what_every_slot_wants(monkeypatch):
    monkeypatch.setattr(shared_ppo, "ControllersVecEnv", Wishes)
    learner = SharedPPO(SharedPPOConfig(**CONFIG, rollouts=120, redraw=40, learning_rate=0.01))
    wish = Wishes(None, 1, 0, episode=0, limit=1.0, threads=1).wish

    def distance():
        (matrix, bias), (more, other) = (head[0] for head in learner.network().heads)
        found = np.concatenate((bias[np.newaxis], matrix, other[np.newaxis], more))
        return np.linalg.norm(found - wish)

    before = distance()
    for _ in range(120):
        learner.step()
    assert distance() < 0.35 * before
