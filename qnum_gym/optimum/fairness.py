"""α-fair utilities of a session's x = R f(W), (29) and (30) of model.md, §5.5 [ours].

α = 0 is the sum of all x, 1 proportional fairness (the paper's), 2 the least sum of 1/x; more looks to the worst.
Each works on numbers and on arrays, and is compiled with the scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def utility(x: Any, alpha: float) -> Any:
    """U(x): log x for alpha = 1, else x^(1 - alpha)/(1 - alpha); in nats for alpha = 1."""
    if alpha == 1.0:
        return np.log(x)
    return x ** (1.0 - alpha) / (1.0 - alpha)


def certainty_equivalent(value: Any, alpha: float) -> Any:
    """The x of which U(x) is `value`."""
    if alpha == 1.0:
        return np.exp(value)
    return ((1.0 - alpha) * value) ** (1.0 / (1.0 - alpha))
