"""The link models: against an enumeration of photon numbers, and in all that asks a link what it makes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from qnum_gym.physics.links import DETECTORS, LINK_MODELS, Hardware, LinkRates
from qnum_gym.physics.werner import fidelity, werner
from qnum_gym.scenarios import Link, Scenario, ScenarioError, Session
from qnum_gym.validation.photons import double_click, enumerated

EXACT = LINK_MODELS["single_click_exact"]


# --- one attempt, enumerated ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detectors", DETECTORS.names())
@pytest.mark.parametrize("delta", [0.0, 1e-4, 0.02])
def test_one_attempt_enumerated(detectors: str, delta: float) -> None:
    """p and its inverse at the F that photon numbers give, for any light within the model's range."""
    compared = 0
    for eta, alpha in itertools.product((0.03, 0.1, 0.5, 0.79), (0.01, 0.05, 0.2, 0.45)):
        p, f = enumerated(alpha, eta, detectors, delta)
        hardware, w = Hardware(1.5 * eta, delta, DETECTORS[detectors]), float(werner(f))
        low, high = EXACT.span(hardware)
        more_p, more_f = enumerated(1.001 * alpha, eta, detectors, delta)
        if not low < w < high:
            continue
        if more_f > f:  # too little light: other light makes more of the same pairs
            assert EXACT.success(w, hardware) > p
        elif more_p > p:
            assert EXACT.success(w, hardware) == pytest.approx(p, abs=1e-8)
            assert EXACT.werner(np.array(p / hardware.chance), hardware) == pytest.approx(w, abs=1e-8)
            compared += 1
    assert compared >= (9 if delta < 0.01 else 1)


def test_the_range_ends_next_to_where_f_and_p_are_greatest() -> None:
    for detectors, delta, eta in itertools.product(DETECTORS.names(), (1e-5, 1e-3), (0.1, 0.7)):
        low, high = EXACT.span(Hardware(1.5 * eta, delta, DETECTORS[detectors]))
        light = np.geomspace(1e-4, 1.0, 400)
        p, f = np.array([enumerated(alpha, eta, detectors, delta) for alpha in light]).T
        assert 1.0 < (1 - fidelity(high)) / (1 - f.max()) < 1.006
        brightest = int(np.argmax(p))
        assert low == pytest.approx(max(0.0, werner(f[brightest])), abs=0.02)


def test_the_numbers_of_the_model_page() -> None:
    """model.md §2: alpha = 0.05, eta = 0.1."""
    for detectors, delta, p, f in (
        ("resolving", 0.0, 0.00995000, 0.95477387),
        ("threshold", 0.0, 0.00997500, 0.95238095),
        ("resolving", 1e-4, 0.01014600, 0.93698538),
    ):
        assert enumerated(0.05, 0.1, detectors, delta) == pytest.approx((p, f), abs=5e-9)
    assert EXACT.success(float(werner(0.95477386934673)), Hardware(0.15)) == pytest.approx(0.00995, abs=1e-10)
    assert LINK_MODELS["double_click"].success(0.9, Hardware(0.15)) == pytest.approx(0.1**2 / 2, rel=1e-12)
    assert double_click(0.1) == pytest.approx((0.1**2 / 2, 1.0), rel=1e-12)
    assert LINK_MODELS["fixed"].success(0.9, Hardware(0.15)) == 0.15


def test_little_light_and_much_loss_is_the_paper_s_model() -> None:
    for clicks in DETECTORS.values():
        b = EXACT.terms(np.array([0.9, 0.99, 0.999]), Hardware(1e-6, 0.0, clicks))[0]
        np.testing.assert_allclose(b, 1 - np.array([0.9, 0.99, 0.999]), rtol=1e-6)


@pytest.mark.parametrize("name", ["single_click", "single_click_exact"])
def test_rates_fall_and_are_concave_over_the_whole_range(name: str) -> None:
    """Also in several modes, with the derivatives that differences give and the inverse."""
    model = LINK_MODELS[name]
    for chance, delta, clicks, modes in itertools.product(
        (0.003, 0.15, 0.9, 1.4), (0.0, 1e-7, 1e-4, 0.01), (1.0, 2.0), (1.0, 2.0, 7.0)
    ):
        low, high = model.span(Hardware(chance, delta, clicks))
        if 1 - (1 - min(model.success(low, Hardware(chance, delta, clicks)), 1)) ** modes > 0.99:
            low = float(model.werner(np.array((1 - 0.01 ** (1 / modes)) / chance), Hardware(chance, delta, clicks)))
        if not low < high:
            continue
        w = low + (high - low) * np.linspace(0.002, 0.998, 100)
        rates = LinkRates(np.full(100, LINK_MODELS.code(name)), 1e-3, modes, delta, clicks)
        d = np.full(100, modes * chance / 1e-3)
        step = 1e-6 * (high - low)
        near = [rates.rate(w + k * step, d) for k in (-1, 0, 1)]
        p = chance * model.terms(w, Hardware(chance, delta, clicks))[0]
        np.testing.assert_allclose(near[1], (1 - (1 - p) ** modes) / 1e-3, rtol=1e-9)
        _, slope, bend = rates.brightness(w, d)
        assert (slope < 0).all()
        assert (bend <= 1e-12).all()
        np.testing.assert_allclose(d * slope, (near[2] - near[0]) / (2 * step), rtol=1e-4)
        slopes = [rates.brightness(w + k * step, d)[1] for k in (-1, 1)]
        np.testing.assert_allclose(bend, (slopes[1] - slopes[0]) / (2 * step), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(rates.werner(near[1] / d, d), w, rtol=1e-8)


# --- in scenarios -----------------------------------------------------------------------------------------------------


def chain(*links: dict[str, Any], **physics: Any) -> Scenario:
    """Nodes 0, 1, … in a row, one session from end to end."""
    fields: list[dict[str, Any]] = [{"a": i, "b": i + 1, "length_km": 20, **own} for i, own in enumerate(links)]
    ends = (Session(source=0, destination=len(links)),)
    return Scenario(links=tuple(Link(**own) for own in fields), sessions=ends, **physics)


def test_what_links_say_of_their_hardware(tmp_path: Any) -> None:
    s = chain(
        {"link_model": "single_click_exact", "detectors": "threshold", "dark_count": 1e-5, "modes": 4},
        {"link_model": "double_click", "initial_werner": 0.96, "modes": 2},
        {"link_model": "fixed", "attempt_success": 0.02, "initial_werner": 0.95, "modes": 3},
        {"werner_range": (0.6, 0.99)},
        events=[{"time": 5.0, "link": [0, 1], "extra_loss_db": 10.0}],
    )
    a, eta = s.arrays(), 10**-0.2
    np.testing.assert_allclose(a.capacity, [4 * 1500 * eta, 2 * 1500 * eta, 60, 1500 * eta], rtol=1e-12)
    np.testing.assert_array_equal(a.werner_min[1:], [0.96, 0.95, 0.6])
    np.testing.assert_array_equal(a.werner_max[1:], [0.96, 0.95, 0.99])
    low, high = EXACT.span(
        Hardware(1.5 * eta * 10**-0.5, 1e-5, 1.0)
    )  # as long as it lasts, with the light that is left
    assert a.werner_max[0] == high < EXACT.span(Hardware(1.5 * eta, 1e-5, 1.0))[1]
    assert a.werner_min[0] == max(low, 0.5) == 0.5
    rates = a.link_rates.rate(a.initial_werner, a.capacity) * 1e-3
    p = EXACT.success(0.967, Hardware(1.5 * eta, 1e-5, 1.0))
    expected = [1 - (1 - p) ** 4, 1 - (1 - eta**2 / 2) ** 2, 1 - 0.98**3, 1.5 * eta * (1 - 0.967)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    np.testing.assert_array_equal(a.link_rates.knobs, [True, False, False, True])
    assert Scenario.from_yaml(_written(s, tmp_path)) == s
    after = s.arrays(6.0)
    assert after.capacity[0] == pytest.approx(a.capacity[0] * 10**-0.5, rel=1e-12)
    assert (a.link_rates.rate(a.initial_werner, 0.0 * a.capacity) == 0.0).all()


def _written(s: Scenario, folder: Any) -> Any:
    s.to_yaml(folder / "s.yaml")
    return folder / "s.yaml"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"dark_count": 1e-4},
            "links[0].dark_count = 0.0001: means nothing here; valid: with link_model single_click_",
        ),
        ({"detectors": "threshold"}, "links[0].detectors = 'threshold': means nothing here"),
        (
            {"link_model": "single_click_exact", "detectors": "treshold"},
            "did you mean 'threshold'? valid: resolving, th",
        ),
        ({"attempt_success": 0.1}, "links[0].attempt_success = 0.1: means nothing here; valid: with link_model fixed"),
        ({"link_model": "fixed"}, "links[0].attempt_success = None: link_model fixed takes the probability"),
        ({"link_model": "fixed", "attempt_success": 0.1, "capacity": 10.0}, "and no capacity"),
        (
            {"link_model": "double_click", "capacity": 1600.0},
            "link_model double_click holds nowhere on links[0] with eta",
        ),
        (
            {"link_model": "single_click_exact", "capacity": 1600.0},
            "single_click_exact holds nowhere on links[0] with eta",
        ),
        (
            {"link_model": "single_click_exact", "dark_count": 1e-3, "attenuation": 1.0},
            "single_click_exact holds from 0 to 0.778732 on links[0] with eta = 0.1 and dark_count = 0.001",
        ),
        (
            {"link_model": "single_click_exact", "dark_count": 1e-4, "attenuation": 1.0},
            "initial_werner = 0.967: must lie in the werner_range of links[0], [0.8, 0.923144",
        ),
        ({"modes": 0}, "modes = 0: must be greater than or equal to 1"),
        ({"dark_count": -0.1}, "dark_count = -0.1: must be greater than or equal to 0"),
    ],
)
def test_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        chain(fields, werner_range=(0.8, 0.99))
    assert message in str(error.value)


def test_refused_for_the_whole_scenario() -> None:
    with pytest.raises(ScenarioError, match=r"scenario: dark_count = 0\.1: means nothing here; valid: with"):
        chain({}, dark_count=0.1)
    event = {"time": 1.0, "link": [0, 1], "extra_loss_db": 60.0}
    with pytest.raises(ScenarioError, match=r"holds from 0 to 0\.8\S+ on links\[0\] with eta = 0\.000631 and"):
        chain({"link_model": "single_click_exact"}, dark_count=1e-6, events=[event], werner_range=(0.9, 0.99))
