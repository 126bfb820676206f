"""What a learned policy does with observations before its first layer. Imports torch and Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

LIMIT = 10.0  # deviations


class RunningScale(torch.nn.Module):
    """Features less their mean, over their deviation, both of all that was learned from so far.

    Near the optimum one per cent of a rate moves its feature by 0.002, beside others that move by 0.3. The statistics
    are buffers of the policy and saved with it; they rest where it only acts. Their names begin with "running_", which
    is what Stable-Baselines3's SAC copies to its target.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    running_count: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))
        self.register_buffer("running_count", torch.zeros(()))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[…, size] to the same; while training, they are learned from first."""
        if self.training:
            self._learn(features.detach().reshape(-1, features.shape[-1]))
        deviation = torch.sqrt(self.running_var + 1e-8)
        return torch.clamp((features - self.running_mean) / deviation, -LIMIT, LIMIT)

    def _learn(self, batch: torch.Tensor) -> None:
        """Pool mean and variance with those of a batch (Chan, Golub and LeVeque 1983)."""
        n, before = float(len(batch)), self.running_count.item()
        share = n / (before + n)
        apart = batch.mean(0) - self.running_mean
        spread = torch.var(batch, 0, correction=0)
        self.running_var += share * (spread - self.running_var) + share * (1.0 - share) * apart**2
        self.running_mean += share * apart
        self.running_count += n


class Standardise(BaseFeaturesExtractor):
    """`RunningScale` over whole observations, as Stable-Baselines3 wants it."""

    def __init__(self, observation_space: Any) -> None:
        (size,) = observation_space.shape
        super().__init__(observation_space, size)  # pyright: ignore[reportUnknownMemberType]
        self.scale = RunningScale(size)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """[n, size] to the same."""
        return self.scale(observations)
