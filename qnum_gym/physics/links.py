"""Link models: how many pairs a link makes, and how good they are. Whatever asks for a rate asks here.

A model says with which probability p(w) one attempt makes a pair of Werner parameter w, on the hardware that a link
has. p falls with w and is concave: light costs fidelity, and ever more of it; this keeps QNUM convex. The link makes
p_m/T pairs per second, p_m = 1 - (1 - p)^m with m modes side by side, which is concave if p is. Some models have no
knob: their w is given, and p does not depend on it.

A model gives b = p / `chance`, where `chance` = (3/2) eta is what `single_click`, the paper's, has at w = 0. So b is
1 - w in `single_click`. A link's capacity d, m `chance`/T, stands for its light: d is what changes where light is lost.

A model is registered as a measure is (see `measures.py`): its place in `LINK_MODELS` is its code in arrays. Source:
model.md §2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from qnum_gym.registry import Registry

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Number = TypeVar("Number", float, Floats)

GRID = np.linspace(0.005, 0.995, 199)  # of the range of w, to look at a new model
CHANCES, DARK_COUNTS = (1e-6, 0.01, 0.5, 1.0), (0.0, 1e-6, 1e-3)  # of the hardware with which to look at it
STEP = 1e-6  # of that range, of the numerical derivatives that its own are compared with
HALVINGS = 60
CERTAIN = 1.0 - 1e-15  # p whose logarithm of 1 - p is finite
MOST_LIGHT = 1.5 * (1.0 + 1e-12)  # `chance` where no light is lost, and rounding
# [ours] How close to where p stops rising, and to where F does, a link goes, in the light alpha: at these ends a
# controller would find p for nothing, or a fidelity that costs all of it.
NEXT_TO_MOST_PAIRS, NEXT_TO_BEST_PAIRS = 0.99, 1.1


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


class Hardware(NamedTuple):
    """What an attempt depends on beside w: numbers, or arrays that broadcast.

    Attributes:
        chance: (3/2) eta, eta = c 10^(-0.1 beta L/2) the efficiency from an end to the station in the middle.
        dark_count: delta, the probability of a dark count, per detector and attempt.
        clicks: how many clicks two photons in one detector give, of `DETECTORS`.
    """

    chance: Any
    dark_count: Any = 0.0
    clicks: Any = 2.0


DETECTORS: Registry[float] = Registry("detectors")
DETECTORS.register("resolving", 2.0)
DETECTORS.register("threshold", 1.0)

Terms: TypeAlias = Callable[[Any, Hardware], tuple[Any, Any, Any]]
Inverse: TypeAlias = Callable[[Any, Hardware], Any]
Rule: TypeAlias = Callable[["LinkModel", Any, Hardware], tuple[Any, ...]]  # what is asked of a model
Span: TypeAlias = Callable[[Hardware], tuple[float, float]]


def everywhere(hardware: Hardware) -> tuple[float, float]:
    """Any w."""
    return 0.0, 1.0


def midpoint_loss(capacity: float, decibel: float) -> float:
    """d of a link whose fibre loses `decibel` more, half of it on either side of the station in the middle."""
    return capacity * 10.0 ** (-0.1 * decibel / 2.0)


@dataclass(frozen=True, slots=True)
class LinkModel:
    """What an attempt makes at a Werner parameter w.

    Attributes:
        name: how it is called.
        terms: b = p/`chance` and its first two derivatives in w, of (w, `Hardware`). b falls and is concave. Made of
            arithmetic and NumPy's functions, without `if`: it is called with numbers and with arrays, and numba
            compiles it.
        inverse: w of (b, `Hardware`); found by bisection if not given, which makes the solver slower.
        span: the lowest and the highest w for which all this holds, of `Hardware` (numbers); a link's range of w is cut
            to it. Where the lowest is not below the highest, no w will do.
        knob: whether w can be set; if not, it is the link's `initial_werner`, and b does not depend on it.
        uses: fields of a link that mean something to this model: "dark_count", "detectors", "attempt_success".
        lossy: d of (d, dB) when the fibre loses more light.
        doc: one line, for tables and documentation.

    Raises:
        ValueError: terms that cannot be, or an inverse that is none.
    """

    name: str
    terms: Terms
    inverse: Inverse | None = None
    span: Span = everywhere
    knob: bool = True
    uses: tuple[str, ...] = ()
    lossy: Callable[[float, float], float] = midpoint_loss
    doc: str = ""

    def __post_init__(self) -> None:
        _check(self)

    def werner(self, b: Floats, hardware: Hardware) -> Floats:
        """w of b, within `span`; NaN where there is no knob."""
        if not self.knob:
            return np.full(np.shape(b), np.nan)
        if self.inverse is not None:
            return self.inverse(b, hardware)
        low, high = self._spans(hardware, np.shape(b))
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            above = self.terms(middle, hardware)[0] > b
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return 0.5 * (low + high)

    def _spans(self, hardware: Hardware, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        columns = np.broadcast_arrays(*hardware)
        ends = [self.span(Hardware(*numbers)) for numbers in zip(*(c.ravel().tolist() for c in columns), strict=True)]
        low, high = np.array(ends).T.reshape(2, *columns[0].shape)
        shape = np.broadcast_shapes(shape, low.shape)
        return np.broadcast_to(low, shape), np.broadcast_to(high, shape)

    def success(self, w: float, hardware: Hardware) -> float:
        """p, the probability that an attempt in one mode succeeds; above 1 where w and hardware cannot go together."""
        return float(hardware.chance * self.terms(w, hardware)[0])


def single_click(w: Any, hardware: Hardware) -> tuple[Any, Any, Any]:
    """p = 2 eta alpha, w = 1 - 4 alpha/3 (1), (2): the single-photon scheme with little light and much loss."""
    return 1.0 - w, -1.0 + 0.0 * w, 0.0 * w


def _single_click_inverse(b: Any, hardware: Hardware) -> Any:
    return 1.0 - b


# `single_click_exact` [ours]. Both ends send a photon with probability alpha, and eta of it arrives; `keep` is the
# probability that no dark count spoils a click, `dark` that one stands for it. In alpha, with c clicks of two photons,
#
#     p   = 2 alpha eta (1 - c alpha eta/2) keep + dark (1 - alpha eta)²  =  A + B alpha + C alpha²
#     F p = (2 eta keep + dark (1 - eta)) alpha (1 - alpha)               =  D (alpha - alpha²)
#
# so that for a given F alpha is the larger root of (D + F C) alpha² - (D - F B) alpha + F A: the smaller one has the
# same fidelity with fewer pairs, most of them dark counts. Between where F and where p is greatest, p falls with F and
# is concave: with K = D + F C and q = 2 K alpha - (D - F B), the second derivative has the sign of
# -(A K - C K alpha² + F A (B + 2 C alpha)/alpha), as C < 0 <= A, K.


def quadratics(hardware: Hardware) -> tuple[Any, Any, Any, Any]:
    """A, B, C and D."""
    eta, delta = hardware.chance / 1.5, hardware.dark_count
    keep = (1.0 - delta) * (1.0 - (hardware.clicks - 1.0) * delta)
    dark = 2.0 * delta * (1.0 - delta)
    d = 2.0 * eta * keep + dark * (1.0 - eta)
    return dark, 2.0 * eta * (keep - dark), eta * eta * (dark - hardware.clicks * keep), d


def single_click_exact(w: Any, hardware: Hardware) -> tuple[Any, Any, Any]:
    """The single-photon scheme with any light, loss, detectors and dark counts (model.md §2) [ours]."""
    a, b, c, d = quadratics(hardware)
    error = 0.75 * (1.0 - w)  # 1 - F
    k = d + (1.0 - error) * c
    e = d - b + error * b  # D - F B
    q = np.sqrt(np.maximum(e * e - 4.0 * (1.0 - error) * a * k, 0.0))
    alpha = (e + q) / (2.0 * k)
    p = a + alpha * (b + alpha * c)
    more = b + 2.0 * c * alpha  # dp/dalpha
    slope = -p / q  # dalpha/dF
    bend = -2.0 * slope * (k * slope + more) / q
    first, second = more * slope, 2.0 * c * slope * slope + more * bend
    return p / hardware.chance, 0.75 * first / hardware.chance, 0.5625 * second / hardware.chance


def _exact_inverse(share: Any, hardware: Hardware) -> Any:
    """w = 1 - 4 (p - F p)/(3 p), at the alpha of p."""
    a, b, c, d = quadratics(hardware)
    p = share * hardware.chance
    alpha = 2.0 * (p - a) / (b + np.sqrt(np.maximum(b * b + 4.0 * c * (p - a), 0.0)))
    return 1.0 - (4.0 / 3.0) * (a + alpha * (b - d + alpha * (c + d))) / p


def _exact_span(hardware: Hardware) -> tuple[float, float]:
    """From little more light than gives the best pairs to little less than gives most."""
    a, b, c, d = quadratics(hardware)
    if not (0.0 < hardware.chance <= MOST_LIGHT and b > 0.0):
        return 1.0, 1.0
    least = NEXT_TO_BEST_PAIRS * np.sqrt(a) / (np.sqrt(a) + np.sqrt(max(a + b + c, 0.0))) if a > 0.0 else 0.0
    most = min(1.0, NEXT_TO_MOST_PAIRS * b / (-2.0 * c))

    def werner(alpha: float) -> float:
        return 1.0 - (4.0 / 3.0) * (1.0 - d * alpha * (1.0 - alpha) / (a + alpha * (b + alpha * c)))

    high = float(werner(least)) if a > 0.0 else 1.0
    return (min(max(float(werner(most)), 0.0), high), high) if least < most else (1.0, 1.0)


def double_click(w: Any, hardware: Hardware) -> tuple[Any, Any, Any]:
    """p = eta²/2: both photons have to arrive, and to click at different detectors (model.md §2) [ours]."""
    return hardware.chance / 4.5 + 0.0 * w, 0.0 * w, 0.0 * w


def _double_click_span(hardware: Hardware) -> tuple[float, float]:
    return (0.0, 1.0) if hardware.chance <= MOST_LIGHT else (1.0, 1.0)


def fixed(w: Any, hardware: Hardware) -> tuple[Any, Any, Any]:
    """p as given by `attempt_success` (model.md §2) [ours]."""
    return 1.0 + 0.0 * w, 0.0 * w, 0.0 * w


def _check(model: LinkModel) -> None:
    """Raise a ValueError unless b falls, is concave and not negative, and has the derivatives and the inverse given."""
    for hardware in (Hardware(*numbers) for numbers in product(CHANCES, DARK_COUNTS, DETECTORS.values())):
        try:
            low, high = model.span(hardware)
            w, step = low + (high - low) * GRID, STEP * (high - low)
            points = w - step, w, w + step
            below, (b, slope, bend), above = (np.broadcast_arrays(*model.terms(x, hardware)) for x in points)
            back = model.werner(b, hardware) if model.knob else w
        except Exception as error:  # whatever somebody else's code raises
            raise _refused(model, f"its terms fail: {type(error).__name__}: {error}") from error
        if not low < high:
            continue
        first, second = (above[0] - below[0]) / (2.0 * step), (above[1] - below[1]) / (2.0 * step)
        for fine, what in (
            (np.isfinite(b) & (b >= 0.0), "b is not finite, or below 0"),
            (slope < 0.0 if model.knob else slope == 0.0, f"b {'does not fall' if model.knob else 'changes'} with w"),
            (bend <= 1e-9, "b is not concave in w"),
            (np.isclose(slope, first, rtol=1e-3, atol=1e-6), "b' is not what differences give"),
            (np.isclose(bend, second, rtol=1e-3, atol=1e-6), "b'' is not the slope of b'"),
            (np.isclose(back, w, rtol=1e-9), "the inverse does not give w back"),
        ):
            if not fine.all():
                at = w[int(np.argmin(fine))]
                raise _refused(model, f"{what} at w = {at:.6g}, chance = {hardware.chance:g}")


def _refused(model: LinkModel, why: str) -> ValueError:
    return ValueError(f"link_model = {model.name!r}: {why}")


def _made(name: str, found: Any) -> LinkModel:
    return found if isinstance(found, LinkModel) else LinkModel(name, found)


LINK_MODELS: Registry[LinkModel] = Registry("link_model", "qnum_gym.link_models", _made)


def register(name: str, terms: Terms, inverse: Inverse | None = None, **options: Any) -> LinkModel:
    """Add a link model, before the first environment that uses it is made; the arguments are `LinkModel`'s.

    Raises:
        ValueError: the name is taken, or terms that cannot be.
    """
    return LINK_MODELS.register(name, LinkModel(name, terms, inverse, **options))


SINGLE_CLICK = register("single_click", single_click, _single_click_inverse, doc="[paper] rate d (1 - w)")
register(
    "single_click_exact",
    single_click_exact,
    _exact_inverse,
    span=_exact_span,
    uses=("dark_count", "detectors"),
    doc="[ours] the same without the limit of little light and much loss",
)
register("double_click", double_click, span=_double_click_span, knob=False, doc="[ours] p = eta²/2, w given")
register("fixed", fixed, knob=False, uses=("attempt_success",), doc="[ours] p and w given")


find, code = LINK_MODELS.find, LINK_MODELS.code


# --- many links, each with its own model ------------------------------------------------------------------------------


class LinkRates:
    """What L links make, each by its own model; all arrays are [..., L].

    Args:
        codes: [L] places in `LINK_MODELS`.
        cycle_time: T, s; this and what follows [L], or the same for all.
        modes: m.
        dark_count: delta.
        clicks: of `DETECTORS`.

    Attributes:
        linear: whether the rate is d (1 - w) on all links.
        knobs: [L] whether w can be set.
    """

    def __init__(
        self,
        codes: Codes,
        cycle_time: Floats | float,
        modes: Floats | float = 1.0,
        dark_count: Floats | float = 0.0,
        clicks: Floats | float = 2.0,
    ) -> None:
        self._codes = codes
        self._columns = [np.broadcast_to(x, codes.shape) for x in (cycle_time, modes, dark_count, clicks)]
        self._models = [(LINK_MODELS.at(code), codes == code) for code in np.flatnonzero(np.bincount(codes)).tolist()]
        self._multiplexed = bool((self._columns[1] > 1.0).any())
        self.linear = not self._multiplexed and all(model is SINGLE_CLICK for model, _ in self._models)
        self.knobs = np.any([model.knob & chosen for model, chosen in self._models], axis=0)

    def __getitem__(self, places: Any) -> LinkRates:
        """Those of some links, or of one link more than once."""
        return LinkRates(self._codes[places], *(column[places] for column in self._columns))

    def brightness(self, w: Floats, capacity: Floats) -> tuple[Floats, Floats, Floats]:
        """b, b' and b'' at w, of rates d b."""
        hardware = self._hardware(capacity)
        b, slope, bend = self._by_model(lambda model, x, h: model.terms(x, h), w, hardware)
        if not self._multiplexed:
            return b, slope, bend
        modes, chance = self._columns[1], hardware.chance
        missed = np.maximum(1.0 - chance * b, 0.0)
        others = missed ** (modes - 1.0)
        bend = others * bend - (modes - 1.0) * missed ** np.maximum(modes - 2.0, 0.0) * chance * slope**2
        return np.where(modes == 1.0, b, in_modes(b, chance, modes)), others * slope, bend

    def rate(self, w: Floats, capacity: Floats) -> Floats:
        """C = d b, pairs/s."""
        return capacity * self.brightness(w, capacity)[0]

    def cost(self, w: Floats, capacity: Floats) -> Floats:
        """-dC/dw, pairs/s that a unit of w costs: d itself in `single_click`; 0 where there is no knob."""
        return -capacity * self.brightness(w, capacity)[1]

    def werner(self, b: Floats, capacity: Floats) -> Floats:
        """w at b; NaN where there is no knob."""
        hardware = self._hardware(capacity)
        if self._multiplexed:
            modes, chance = self._columns[1], hardware.chance
            one = -np.expm1(np.log1p(-np.minimum(modes * chance * b, CERTAIN)) / modes) / chance
            b = np.where(modes == 1.0, b, one)
        return self._by_model(lambda model, x, h: (model.werner(x, h),), b, hardware)[0]

    def _hardware(self, capacity: Floats) -> Hardware:
        """Of each link; of one that is down, and makes nothing, any."""
        cycle_time, modes, dark_count, clicks = self._columns
        chance = np.where(capacity > 0.0, capacity * cycle_time / modes, 1.0)
        return Hardware(chance, dark_count, clicks)

    def _by_model(self, rule: Rule, x: Floats, hardware: Hardware) -> tuple[Floats, ...]:
        if len(self._models) == 1:
            return rule(self._models[0][0], x, hardware)
        x, *columns = np.broadcast_arrays(x, *hardware)
        parts = [(rule(m, x[..., i], Hardware(*(column[..., i] for column in columns))), i) for m, i in self._models]
        results = tuple(np.empty(x.shape) for _ in parts[0][0])
        for values, chosen in parts:
            for result, value in zip(results, values, strict=True):
                result[..., chosen] = value
        return results


def in_modes(b: Any, chance: Any, modes: Any) -> Any:
    """b of m modes side by side: p_m/(m `chance`), p_m = 1 - (1 - p)^m with p = `chance` b."""
    return -np.expm1(modes * np.log1p(-np.minimum(chance * b, CERTAIN))) / (modes * chance)
