"""The paper's evaluation, and what lies beyond it, as experiments that one command repeats: `qnum-gym reproduce`.

An experiment is a module and a YAML file of the same name beside it: the module has a sub-class of `Experiment`, which
it registers, the file is its configuration. Those in this package are found by themselves; other packages offer theirs
as entry points `qnum_gym.experiments`. `qnum-gym reproduce NAME --config FILE` takes another configuration.

- experiment: what an experiment is, and the registry of all
- recording: one policy on one scenario, and what is recorded of it
- sweep: what most of the experiments are
- reproduce: runs, table, figure, of one experiment
- convergence, policies, …: a module for each
"""

from __future__ import annotations

from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnum_gym.experiments.experiment import Experiment
    from qnum_gym.registry import Registry

GROUP = "qnum_gym.experiments"  # of entry points


def names() -> tuple[str, ...]:
    """The experiments there are; none of them is imported."""
    others = [point.name for point in metadata.entry_points(group=GROUP)]
    return tuple(dict.fromkeys([*_own(), *others]))


def registry() -> Registry[type[Experiment]]:
    """All experiments by name, imported."""
    from qnum_gym.experiments.experiment import EXPERIMENTS

    for name in _own():
        import_module(f"{__name__}.{name}")
    EXPERIMENTS.discover()
    return EXPERIMENTS


def _own() -> list[str]:
    """Those of this package: modules with a YAML file beside them."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml") if path.with_suffix(".py").exists())
