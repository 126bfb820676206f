"""The paper's evaluation, and what lies beyond it, as experiments that one command repeats: `qnum-gym reproduce`.

- experiment: what an experiment is; its configuration, `configs/NAME.yaml` in this package
- runs: one policy on one scenario, and what is recorded of it
- cache: what was recorded before, on disk
- drawing: what the figures share
- reproduce: runs, table, figure, of one experiment
- convergence, policies, …: a module for each

The configurations are part of the package, so that an installed one has them; `qnum-gym reproduce NAME --config FILE`
takes another.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnum_gym.experiments.experiment import Experiment

# Name -> its module and class, and what it asks.
EXPERIMENTS = {
    "convergence": ("Convergence", "how the variants of QPrimalDual find the optimum from a cold start"),
    "policies": ("Policies", "all policies against each other, for every measure and memory"),
    "latency": ("Latency", "late and lost news: feedback delay, slow headers, message loss"),
    "decoherence": ("Decoherence", "what memories that decay ask for: queues and storage times"),
    "dynamics": ("Dynamics", "sessions come and go, a link loses light, a link fails and returns"),
    "overhead": ("Overhead", "what control costs in scalars and updates, against what saving it loses"),
    "scaling": ("Scaling", "from 2 sessions over 5 links to 1 000 over 2 000"),
    "stability": ("Stability", "utility against gain, from sluggish to oscillating"),
}


def names() -> tuple[str, ...]:
    """The experiments there are."""
    return tuple(EXPERIMENTS)


def kind(name: str) -> type[Experiment]:
    """The class of an experiment, whose fields are its configuration."""
    module = import_module(f"qnum_gym.experiments.{name}")
    return getattr(module, EXPERIMENTS[name][0])
