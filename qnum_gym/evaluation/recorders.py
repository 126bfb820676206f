"""What is kept of an episode: what its second half came to. Experiments have a recorder that keeps more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.scores import Outcome
from qnum_gym.evaluation.store import Record
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls

MEASURED = (  # of an `Outcome`
    *("score", "geometric_mean", "jain", "worst", "worst_session", "mean_age", "waste"),
    *("requests", "completed", "completion_time"),
    *("rate", "werner", "fidelity_shortfall", "rate_shortfall", "age"),
)


class Watch(Protocol):
    """Watches n episodes side by side, and gives what is to be kept of them."""

    def __call__(self, env_batch: EnvBatch, controls: Controls) -> None:
        """One more interval is over, in which these controls were in force."""
        ...

    def records(self, outcomes: Sequence[Outcome]) -> list[Record]:
        """[n] records, of n episodes that are over."""
        ...


class Recorder(Protocol):
    """Says what is kept of an episode. What it is printed as tells its results from another recorder's."""

    def watch(self, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> Watch:
        """A new `Watch` for n episodes, which begin now."""
        ...


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Keeps `MEASURED` of the outcome."""

    def watch(self, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> Watch:
        """See `Recorder`."""
        return _Outcomes()


class _Outcomes:
    def __call__(self, env_batch: EnvBatch, controls: Controls) -> None:
        pass

    def records(self, outcomes: Sequence[Outcome]) -> list[Record]:
        return [
            {name: np.asarray(getattr(outcome, name), dtype=np.float64) for name in MEASURED} for outcome in outcomes
        ]
