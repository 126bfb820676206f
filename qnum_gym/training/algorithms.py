"""The algorithms that train: each is its section of a configuration, named as in Stable-Baselines3 and sb3-contrib."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from qnum_gym.agents.learned.features import Standardise
from qnum_gym.agents.learned.graph import GraphActorCritic, graph
from qnum_gym.config import Config
from qnum_gym.scenarios import Scenario

# Strict: true is no number, and neither is "1".
Count = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
Width = Annotated[int, Field(ge=1, le=2**14, strict=True)]  # of a layer; of environments side by side
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False, strict=True)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


ACTIVATIONS: dict[str, type[torch.nn.Module]] = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


class Settings(Config, ABC):
    """What every algorithm has. A field that is in neither list below is an argument of the model, by its own name."""

    MODEL: ClassVar[type[BaseAlgorithm]]
    OF_POLICY: ClassVar[tuple[str, ...]] = ("net_arch",)  # arguments of the policy's networks, by their own names
    OURS: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "anneal",
        "activation",
        "normalise_observation",
        "normalise_reward",
    )

    learning_rate: Positive = 3e-4
    anneal: Flag = True  # the learning rate falls linearly to 0 over the run
    gamma: Share = 0.95
    net_arch: tuple[Width, ...] = (64, 64)  # hidden layers, of policy and value function alike
    activation: Literal["tanh", "relu"] = "tanh"
    normalise_observation: Flag = False  # every feature by its running mean and deviation
    normalise_reward: Flag = True  # divide rewards by the running deviation of the return

    @property
    @abstractmethod
    def intervals(self) -> int:
        """Control intervals per environment and rollout."""

    def of_model(self) -> dict[str, Any]:
        """Arguments of the model."""
        return self.model_dump(exclude={*self.OF_POLICY, *self.OURS})

    def policy_class(self) -> str | type[BasePolicy]:
        """The policy's networks, as the model knows them."""
        return "MlpPolicy"

    def of_policy(self, scenario: Scenario) -> dict[str, Any]:
        """Arguments of the policy's networks."""
        own = self.model_dump(include={*self.OF_POLICY})
        own |= {"net_arch": list(self.net_arch), "activation_fn": ACTIVATIONS[self.activation]}
        return own | ({"features_extractor_class": Standardise} if self.normalise_observation else {})

    @property
    def continuous(self) -> str | None:
        """What of it needs actions that are numbers, if anything does: `field = value`."""
        return None

    def problems(self, envs: int) -> Iterable[str]:
        """What cannot be with so many environments: `field = value: what would be valid`."""
        return ()


class OnPolicySettings(Settings):
    """What PPO has with and without memory."""

    OF_POLICY = (*Settings.OF_POLICY, "log_std_init")

    n_steps: Count = 256  # control intervals per environment and rollout
    batch_size: Annotated[int, Field(ge=2, lt=2**31, strict=True)] = 256
    n_epochs: Count = 10
    gae_lambda: Share = 0.95
    clip_range: Positive = 0.2
    ent_coef: NotNegative = 0.0
    vf_coef: NotNegative = 0.5
    max_grad_norm: Positive = 0.5
    target_kl: Positive | None = None
    log_std_init: Annotated[float, Field(ge=-5.0, le=2.0, strict=True)] = -0.5

    @property
    def intervals(self) -> int:
        """Control intervals per environment and rollout."""
        return self.n_steps

    def problems(self, envs: int) -> Iterable[str]:
        """A rollout that batches do not divide."""
        if envs * self.n_steps % self.batch_size:
            yield (
                f"batch_size = {self.batch_size}: must divide envs * n_steps = {envs * self.n_steps}, "
                "so that no batch is cut short"
            )


class PPOSettings(OnPolicySettings):
    """Proximal Policy Optimisation."""

    MODEL = PPO
    OURS = (*Settings.OURS, "policy", "imitate", "imitate_steps")

    policy: Literal["mlp", "graph"] = "mlp"  # graph: message passing on sessions and links, layers as in net_arch
    imitate: str | None = None  # a policy, or its *.yaml, to learn from first (a warm start), over so many intervals
    imitate_steps: Count = 50_000

    def policy_class(self) -> str | type[BasePolicy]:
        """A perceptron, or the graph network."""
        return GraphActorCritic if self.policy == "graph" else "MlpPolicy"

    def of_policy(self, scenario: Scenario) -> dict[str, Any]:
        """Arguments of either; the graph network's are the scenario's."""
        options = super().of_policy(scenario)
        if self.policy == "graph":
            options.pop("features_extractor_class", None)
            options |= {"graph": graph(scenario), "standardise": self.normalise_observation}
        return options

    @property
    def continuous(self) -> str | None:
        """Imitation, which regresses them, and the graph network, which has one for each controller."""
        if self.imitate is not None:
            return f"ppo.imitate = {self.imitate!r}"
        return "ppo.policy = 'graph'" if self.policy == "graph" else None


class RecurrentPPOSettings(OnPolicySettings):
    """PPO with an LSTM before the hidden layers, of sb3-contrib."""

    MODEL = RecurrentPPO
    OF_POLICY = (*OnPolicySettings.OF_POLICY, "lstm_hidden_size", "n_lstm_layers")

    lstm_hidden_size: Width = 64
    n_lstm_layers: Annotated[int, Field(ge=1, le=16, strict=True)] = 1

    def policy_class(self) -> str:
        """A perceptron behind an LSTM."""
        return "MlpLstmPolicy"


class SACSettings(Settings):
    """Soft Actor-Critic. Its rollouts are the intervals between two rounds of gradient steps."""

    MODEL = SAC

    normalise_reward: Flag = False
    activation: Literal["tanh", "relu"] = "relu"
    net_arch: tuple[Width, ...] = (256, 256)
    # intervals in all environments with random actions
    learning_starts: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 10_000
    buffer_size: Count = 200_000  # the last intervals of all environments; checkpoints hold them
    batch_size: Count = 256
    tau: Annotated[float, Field(gt=0.0, le=1.0, strict=True)] = 0.005
    train_freq: Count = 8  # control intervals per environment and rollout
    gradient_steps: Count = 16  # per rollout
    ent_coef: Positive | Annotated[str, Field(pattern=r"^auto(_\d+(\.\d+)?)?$")] = "auto"  # auto_0.1 begins there
    target_entropy: Annotated[float, Field(allow_inf_nan=False, strict=True)] | Literal["auto"] = "auto"

    @property
    def intervals(self) -> int:
        """Control intervals per environment and rollout."""
        return self.train_freq

    @property
    def continuous(self) -> str:
        """All of it."""
        return "algorithm = 'sac'"

    def problems(self, envs: int) -> Iterable[str]:
        """A replay buffer that does not hold one interval of each environment."""
        if self.buffer_size < envs:
            yield f"buffer_size = {self.buffer_size}: must be at least envs = {envs}, one interval of each"
