"""The shared local policy, trained by PPO with parameters shared by all controllers of a batch of random networks.

Stable-Baselines3's PPO on `ControllersVecEnv`: every source and link is a slot, and one perceptron serves them all; its
last layer begins at zero, so that it begins as QPrimalDual-DA. Noise drawn anew in every interval and by every
controller drowns what a correction that is *held* would do, so exploration is state-dependent (gSDE, Raffin et al.,
arXiv:2005.05719): for a rollout, which is one episode, every network has one random change of its last layer, the same
for all its controllers. [ours: that they share it]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import set_random_seed

from qnum_gym import files
from qnum_gym.agents.learned.local import LINKS, SOURCES, Layers, Network
from qnum_gym.integrations.controllers import ControllersVecEnv
from qnum_gym.training import checkpoint
from qnum_gym.training.algorithms import Count, Positive, Share, Width
from qnum_gym.training.local import LocalConfig

ROUNDS = 1_000_000  # more than any run has: the seeds of two runs never meet


class SharedPPOConfig(LocalConfig):
    """One training run by PPO. A round is a rollout, one episode of the batch; copies live on the same draws."""

    algorithm: Literal["shared_ppo"]
    rollouts: Count = 40
    copies: Count = 4
    limit: Positive = 0.15  # of a reward: that a network collapsed says no more than that
    learning_rate: Positive = 4e-3  # falls linearly to a tenth
    gamma: Share = 0.99
    gae_lambda: Share = 1.0
    clip_range: Positive = 0.2
    n_epochs: Count = 1
    minibatches: Count = 2
    betas: tuple[Share, Share] = (0.9, 0.99)  # Adam's
    # of a change of the last layer's weights
    log_std_init: Annotated[float, Field(ge=-20.0, le=2.0, strict=True)] = -3.0
    values: tuple[Width, ...] = (64, 64)  # layers of the value function

    @property
    def rounds(self) -> int:
        """One for each rollout."""
        return self.rollouts

    def learner(self) -> SharedPPO:
        """With a last layer of zeros."""
        return SharedPPO(self)


class SharedPPO:
    """A run's state: Stable-Baselines3's model, made anew for every batch. `step` is one rollout and its update.

    Random numbers and episodes belong to the round: a checkpoint holds no more than the networks and their optimiser.

    Attributes:
        done: rollouts.
    """

    CHECKPOINT: ClassVar[str] = "checkpoint.pt"

    def __init__(self, config: SharedPPOConfig) -> None:
        torch.set_num_threads(config.threads)
        self.config, self.done = config, 0
        self._state: dict[str, Any] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        """Stable-Baselines3's `PPO`."""
        if self._model is None:
            self._model = self._build()
        return self._model

    def step(self) -> None:
        """One rollout and its update."""
        if self.done and self.done % self.config.redraw == 0 and self._model is not None:
            self._state, self._model = self._model.get_parameters(), None
        model, config = self.model, self.config
        rate = config.learning_rate * max(0.1, 1.0 - self.done / config.rollouts)
        model.lr_schedule = partial(_constant, rate)
        set_random_seed(config.seed * ROUNDS + self.done)
        model.learn(model.n_steps * model.n_envs, callback=_Together(), reset_num_timesteps=False)
        self.done += 1

    def _build(self) -> Any:
        """On the networks that belongs to this round, with what was learned before."""
        config = self.config
        envs = ControllersVecEnv(
            config.draw(self.done),
            config.copies,
            config.seed,
            episode=self.done,
            limit=config.limit,
            threads=config.threads,
        )
        model: Any = PPO(
            "MlpPolicy",
            envs,
            n_steps=envs.intervals,
            batch_size=-(-envs.intervals * envs.num_envs // config.minibatches),
            n_epochs=config.n_epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            use_sde=True,
            policy_kwargs={
                "net_arch": {"pi": list(config.hidden), "vf": list(config.values)},
                "log_std_init": config.log_std_init,
                "optimizer_kwargs": {"betas": config.betas},
            },
            seed=config.seed,
            device="cpu",
        )
        model.set_logger(Logger(None, []))  # the default one leaves a folder
        if self._state:
            model.set_parameters(self._state)
        else:
            with torch.no_grad():
                model.policy.action_net.weight.zero_()
                model.policy.action_net.bias.zero_()
        return model

    def network(self) -> Network:
        """What is learned so far: the actor's first layer taken apart into two heads, the others the same for both."""
        policy = self.model.policy
        layers = [*policy.mlp_extractor.policy_net, policy.action_net]
        linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
        pairs = [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in linear]
        heads: list[Layers] = []
        for own in (SOURCES, LINKS):
            (matrix, bias), *others = pairs
            heads.append([(matrix[own], bias + matrix[own.start - 1]), *others])
        return Network(*heads)

    def save(self, path: Path) -> None:
        """Write a checkpoint, at once or not at all."""
        state = {"done": self.done, "networks": self.model.get_parameters(), "config": self.config.lasting()}
        files.write(path, checkpoint.to_bytes(state))

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint: the same bits as without interruption."""
        state = checkpoint.from_file(path)
        self.config.check_resumed(state.get("config"), str(path.parent / "config.yaml"))
        self.done, self._state, self._model = state["done"], state["networks"], None


class _Together(BaseCallback):
    """For every rollout, all slots of a network get the noise of its first one."""

    def _on_rollout_start(self) -> None:
        model = cast(PPO, self.model)
        noise = cast(StateDependentNoiseDistribution, model.policy.action_dist)
        of_slot = cast(Any, model.env).of_slot
        first = np.unique(of_slot, return_index=True)[1]
        noise.exploration_matrices = noise.exploration_matrices[first[of_slot]]

    def _on_step(self) -> bool:
        return True


def _constant(value: float, progress: float) -> float:
    return value
