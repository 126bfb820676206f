"""Trained models behind the policies' interface. Torch and Stable-Baselines3 are imported when a file needs them.

`sb3` runs any model on the network it was trained on; on networks of any size run `graph`, a central graph network, and
`local`, the shared local policy.
"""

from __future__ import annotations

import os
from typing import Any

from qnum_gym.agents.learned import files, local
from qnum_gym.agents.learned.sb3 import LearnedPolicy, load, remember
from qnum_gym.agents.policy import Policy

__all__ = ["LearnedPolicy", "load", "load_arrays", "remember"]


def load_arrays(path: str | os.PathLike[str], **options: Any) -> Policy:
    """The policy of a file of weights (`*.npz`), whichever it is.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a policy that this package saved, or an option that it does not take.
    """
    if files.read(path)[0].get("policy") == local.POLICY:
        if options:
            raise ValueError(f"policy {os.fspath(path)!r} takes no option {', '.join(options)}")
        return local.load(path)
    from qnum_gym.agents.learned import graph  # torch

    return graph.load(path, **options)
