"""Link models: how many pairs a link makes, and how good they are. Whatever asks for a rate d (1 - w) asks here.

A link with capacity d and attempts of length T makes fresh pairs of Werner parameter w at the rate d (1 - v(w)), each
attempt with success d T (1 - v(w)). A model is the function v, "how dark" the link is: 0 at its brightest, 1 where it
makes no pair. In `single_click`, the paper's, v = w. The other models take d from the same formula (2), as what
`single_click` would make at w = 0; what else they depend on follows from d T = (3/2) eta.

A model is registered as a measure is (see `measures.py`): its place in `LINK_MODELS` is its code in arrays. Source:
model.md §2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from qnum_gym.registry import Registry

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Number = TypeVar("Number", float, Floats)
Terms: TypeAlias = Callable[[Any, Any], tuple[Any, Any, Any]]
Inverse: TypeAlias = Callable[[Any, Any], Any]

GRID = np.linspace(0.005, 0.995, 199)  # of the range of w, to look at a new model
SUCCESS = np.array([0.0, 1e-6, 0.01, 0.5, 1.0])[:, None]  # d T
STEP = 1e-5  # in w, of the numerical derivatives that its own are compared with
HALVINGS = 60


# --- the links' knob as a controller turns it -------------------------------------------------------------------------


def coordinate(w: Number) -> Number:
    """x = -log(1 - w), in which actions, features and controllers move w: an even step is an even share of the rate.

    The same for all models [ours]: as a rate is concave in w, none falls faster.
    """
    return -np.log1p(-w)  # pyright: ignore[reportReturnType]


def at_coordinate(x: Number) -> Number:
    """The w with coordinate x."""
    return -np.expm1(-x)  # pyright: ignore[reportReturnType]


# --- models -----------------------------------------------------------------------------------------------------------


def midpoint_loss(capacity: float, decibel: float) -> float:
    """d of a link whose fibre loses `decibel` more, half of it on either side of the station in the middle."""
    return capacity * 10.0 ** (-0.1 * decibel / 2.0)


@dataclass(frozen=True, slots=True)
class LinkModel:
    """What a link makes at a Werner parameter w.

    Attributes:
        name: how it is called.
        terms: v and its first two derivatives in w, of (w, d T). v rises, is convex and at most 1: so the rate falls,
            and is concave, which keeps QNUM convex. Made of arithmetic and NumPy's functions, without `if`: it is
            called with numbers and with arrays, and numba compiles it.
        inverse: w of (v, d T); found by bisection if not given, which makes the solver slower.
        lowest: the w from which on all this holds; a `werner_range` may not begin below it.
        lossy: d of (d, dB) when the fibre loses more light.
        doc: one line, for tables and documentation.

    Raises:
        ValueError: terms that cannot be, or an inverse that is none.
    """

    name: str
    terms: Terms
    inverse: Inverse | None = None
    lowest: float = 0.0
    lossy: Callable[[float, float], float] = midpoint_loss
    doc: str = ""

    def __post_init__(self) -> None:
        _check(self)

    def werner(self, v: Floats, chance: Floats) -> Floats:
        """w of v, with `chance` = d T; within [lowest, 1]."""
        if self.inverse is not None:
            return self.inverse(v, chance)
        low, high = np.full(np.broadcast_shapes(np.shape(v), np.shape(chance)), self.lowest), np.ones(1)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            below = self.terms(middle, chance)[0] < v
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def success(self, w: float, capacity: float, cycle_time: float) -> float:
        """Probability that an attempt succeeds; above 1 where d, T and w cannot go together."""
        return float(capacity * cycle_time * (1.0 - self.terms(w, capacity * cycle_time)[0]))


def single_click(w: Any, chance: Any) -> tuple[Any, Any, Any]:
    """v = w: the single-photon scheme with little light and much loss, p = 2 eta alpha, w = 1 - 4 alpha/3 (1), (2)."""
    return w, 1.0 + 0.0 * w, 0.0 * w


def _same(v: Any, chance: Any) -> Any:
    return v


def _check(model: LinkModel) -> None:
    """Raise a ValueError unless v rises, is convex and at most 1, and has the derivatives and the inverse given."""
    w = model.lowest + (1.0 - model.lowest) * GRID
    try:
        v, slope, bend = (np.broadcast_to(x, (len(SUCCESS), len(w))) for x in model.terms(w, SUCCESS))
        (low, low_slope, _), (high, high_slope, _) = model.terms(w - STEP, SUCCESS), model.terms(w + STEP, SUCCESS)
        back = model.werner(v, SUCCESS)
    except Exception as error:  # whatever somebody else's code raises
        raise _refused(model, f"its terms fail: {type(error).__name__}: {error}") from error
    for fine, what in (
        (np.isfinite(v) & (v <= 1.0), "v is not finite, or above 1"),
        (slope > 0.0, "v does not rise with w"),
        (bend >= -1e-9, "v is not convex in w"),
        (np.isclose(slope, (high - low) / (2.0 * STEP), rtol=1e-3, atol=1e-6), "v' is not what differences give"),
        (np.isclose(bend, (high_slope - low_slope) / (2.0 * STEP), rtol=1e-3, atol=1e-6), "v'' is not the slope of v'"),
        (np.isclose(back, w, rtol=1e-9), "the inverse does not give w back"),
    ):
        wrong = np.argwhere(~fine)
        if len(wrong):
            i, j = wrong[0]
            raise _refused(model, f"{what} at w = {w[j]:.6g}, d T = {SUCCESS[i, 0]:g}")


def _refused(model: LinkModel, why: str) -> ValueError:
    return ValueError(f"link_model = {model.name!r}: {why}")


def _made(name: str, found: Any) -> LinkModel:
    return found if isinstance(found, LinkModel) else LinkModel(name, found)


LINK_MODELS: Registry[LinkModel] = Registry("link_model", "qnum_gym.link_models", _made)


def register(
    name: str,
    terms: Terms,
    inverse: Inverse | None = None,
    *,
    lowest: float = 0.0,
    lossy: Callable[[float, float], float] = midpoint_loss,
    doc: str = "",
) -> LinkModel:
    """Add a link model, before the first environment that uses it is made; the arguments are `LinkModel`'s.

    Raises:
        ValueError: the name is taken, or terms that cannot be.
    """
    return LINK_MODELS.register(name, LinkModel(name, terms, inverse, lowest, lossy, doc))


SINGLE_CLICK = register("single_click", single_click, _same, doc="[paper] rate d (1 - w)")


find, code = LINK_MODELS.find, LINK_MODELS.code


# --- many links, each with its own model ------------------------------------------------------------------------------


class LinkRates:
    """What L links make, each by its own model; all arrays are [..., L].

    Args:
        codes: [L] places in `LINK_MODELS`.
        cycle_time: [L] T, s.
    """

    def __init__(self, codes: Codes, cycle_time: Floats) -> None:
        self._codes, self._cycle_time = codes, cycle_time
        self._models = [(LINK_MODELS.at(code), codes == code) for code in np.unique(codes).tolist()]

    def __getitem__(self, places: Any) -> LinkRates:
        """Those of some links, or of one link more than once."""
        return LinkRates(self._codes[places], self._cycle_time[places])

    def darkness(self, w: Floats, capacity: Floats) -> tuple[Floats, Floats, Floats]:
        """v, v' and v'' at w."""
        if len(self._models) == 1:
            return self._models[0][0].terms(w, capacity * self._cycle_time)
        shape = np.broadcast_shapes(np.shape(w), np.shape(capacity))
        w, chance = np.broadcast_to(w, shape), np.broadcast_to(capacity * self._cycle_time, shape)
        v, slope, bend = np.empty(shape), np.empty(shape), np.empty(shape)
        for model, chosen in self._models:
            v[..., chosen], slope[..., chosen], bend[..., chosen] = model.terms(w[..., chosen], chance[..., chosen])
        return v, slope, bend

    def rate(self, w: Floats, capacity: Floats) -> Floats:
        """d (1 - v), pairs/s."""
        return capacity * (1.0 - self.darkness(w, capacity)[0])

    def cost(self, w: Floats, capacity: Floats) -> Floats:
        """d v', pairs/s that a unit of w costs: the rate's slope, turned round; d itself in `single_click`."""
        return capacity * self.darkness(w, capacity)[1]

    def werner(self, v: Floats, capacity: Floats) -> Floats:
        """w at v."""
        if len(self._models) == 1:
            return self._models[0][0].werner(v, capacity * self._cycle_time)
        shape = np.broadcast_shapes(np.shape(v), np.shape(capacity))
        v, chance = np.broadcast_to(v, shape), np.broadcast_to(capacity * self._cycle_time, shape)
        result = np.empty(shape)
        for model, chosen in self._models:
            result[..., chosen] = model.werner(v[..., chosen], chance[..., chosen])
        return result

    @property
    def linear(self) -> bool:
        """Whether v = w on all links."""
        return all(model is SINGLE_CLICK for model, _ in self._models)
