"""Derivatives of the optimum against the same optimum of a network that differs a little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnum_gym.cli.main import main
from qnum_gym.optimum import sensitivities, solve
from qnum_gym.scenarios import Link, Node, Scenario, Session
from qnum_gym.scenarios.topologies import scenario

STEP = 1e-3


def various(**fields: Any) -> Scenario:
    """Floors, demands and rates that bind, losses, given capacities, exact links, memories all different."""
    links = [
        Link(a="a", b="m", length_km=10),
        Link(a="b", b="m", length_km=5, link_model="single_click_exact", detectors="threshold", dark_count=1e-6),
        Link(a="m", b="n", length_km=20),
        Link(a="n", b="c", length_km=12, capacity=700.0),
        Link(a="n", b="d", length_km=8),
    ]
    times = zip("abmncd", (8.0, 20.0, 12.0, 30.0, 10.0, 15.0), strict=True)
    nodes = [Node(name=name, coherence_time=t) for name, t in times]
    sessions = [
        Session(source="a", destination="c", weight=2.0),
        Session(source="b", destination="d", measure="negativity", min_fidelity=0.86),
        Session(source="a", destination="d", min_rate=16.0),
        Session(source="b", destination="c", rate_range=(0.01, 5.0)),
    ]
    base: dict[str, Any] = {"swap_success": 0.95, "gate_factor": 0.998, "feedback_delay": 0.02, "hold": "ack"}
    return Scenario(name="various", links=links, nodes=nodes, sessions=sessions, **(base | fields))


def changed(s: Scenario, kind: str, i: int, factor: float) -> Scenario:
    if kind == "weight":
        sessions = [
            x.model_copy(update={"weight": x.weight * (factor if r == i else 1)}) for r, x in enumerate(s.sessions)
        ]
        return s.replace(sessions=sessions)
    if kind == "coherence_time":
        times = s.arrays().decay_rate
        nodes = [
            x.model_copy(update={"coherence_time": (factor if v == i else 1) / times[v]}) for v, x in enumerate(s.nodes)
        ]
        return s.replace(nodes=nodes)
    now = s.arrays().capacity if kind == "capacity" else [x.length_km for x in s.links]
    links = [x.model_copy(update={kind: now[l] * factor}) if l == i else x for l, x in enumerate(s.links)]
    return s.replace(links=links)


def size(s: Scenario, kind: str, i: int) -> float:
    a = s.arrays()
    of_links: dict[str, Any] = {"capacity": a.capacity, "length_km": [x.length_km for x in s.links]}
    return float((of_links | {"coherence_time": 1 / a.decay_rate, "weight": a.weight})[kind][i])


@pytest.mark.parametrize("kind", ["capacity", "length_km", "coherence_time", "weight"])
@pytest.mark.parametrize(
    ("fields", "decoherence", "rho"),
    [({}, True, 1.0), ({"fairness": 2.0}, True, 0.95), ({"hold": "header"}, False, 1.0)],
)
def test_differences_of_two_optima(kind: str, fields: dict[str, Any], decoherence: bool, rho: float) -> None:
    s = various(**fields)
    x = sensitivities(s, decoherence, rho, of=[kind])[kind]
    for i in range(len(x.utility)):
        low, high = (solve(changed(s, kind, i, 1 + sign * STEP), decoherence, rho) for sign in (-1, 1))
        step = 2 * STEP * size(s, kind, i)
        assert x.utility[i] == pytest.approx((high.utility - low.utility) / step, rel=1e-5, abs=1e-12), i
        for found, differences in ((x.rates, high.rates - low.rates), (x.werner, high.werner - low.werner)):
            np.testing.assert_allclose(found[i], differences / step, rtol=0, atol=1e-5 * np.abs(found[i]).max() + 1e-12)


def test_shares_of_links_add_up_to_all() -> None:
    """Where no memory decays and no bound binds, twice the capacity everywhere is twice the rate of everybody."""
    s = scenario("nsfnet")
    x, a = sensitivities(s, of=["capacity"])["capacity"], s.arrays()
    assert x.utility @ a.capacity == pytest.approx(len(s.sessions), rel=1e-8)
    np.testing.assert_allclose(a.capacity @ x.rates, solve(s).rates, rtol=1e-6)
    np.testing.assert_allclose(a.capacity @ x.werner, 0.0, atol=1e-7)
    best = solve(s)  # what d gains is what the price says of what the link makes
    np.testing.assert_allclose(x.utility, best.link_prices * (1 - best.werner), rtol=1e-6, atol=1e-12)


def test_chain_by_hand() -> None:
    """One link, negativity: R = d/3 at w = 2/3, whatever d is; a session's weight changes nothing but U."""
    s = scenario("chain", nodes=2, measure="negativity")
    x, d = sensitivities(s), s.arrays().capacity[0]
    assert x["capacity"].utility[0] == pytest.approx(1 / d)
    assert x["capacity"].rates[0, 0] == pytest.approx(1 / 3)
    assert x["capacity"].werner[0, 0] == pytest.approx(0.0, abs=1e-9)
    assert x["length_km"].utility[0] == pytest.approx(-0.01 * np.log(10))  # d = 1500 * 10^(-0.01 L)
    assert x["weight"].utility[0] == pytest.approx(np.log(d / 3 / 4))
    assert x["weight"].rates[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert not x["coherence_time"].utility.any()


def test_what_takes_no_part_has_no_worth() -> None:
    """Links nobody uses, sessions that are off; and a problem without sessions."""
    s = scenario(
        "dumbbell", sessions=[Session(source="s0", destination="d0"), Session(source="s1", destination="d1", start=5)]
    )
    x = sensitivities(s, True)
    assert x["weight"].utility[1] == 0.0
    assert (x["capacity"].utility > 0.0).tolist() == [l in s.routes[0] for l in range(len(s.links))]
    with pytest.raises(ValueError, match="time = 0: valid: when a session is active"):
        sensitivities(s.replace(sessions=[x.model_copy(update={"start": 5.0}) for x in s.sessions]))
    with pytest.raises(ValueError, match="of = 'lengths': valid: capacity, length_km, coherence_time, weight"):
        sensitivities(s, of=["lengths"])


def test_given_rates_and_hopeless_sessions() -> None:
    """Where all rates are given nothing moves them; a session that nobody can serve has no part."""
    s = scenario("dumbbell", sessions=[Session(source="s0", destination="d0", min_fidelity=0.999), ("s1", "d1")])
    x = sensitivities(s, True, rates=[1.0, 5.0], leave_out_hopeless=True)
    low, high = (
        solve(changed(s, "capacity", 3, 1 + sign * STEP), True, rates=5.0, leave_out_hopeless=True) for sign in (-1, 1)
    )
    difference = (high.utility - low.utility) / (2 * STEP * s.arrays().capacity[3])
    assert x["capacity"].utility[3] == pytest.approx(difference, rel=1e-5)
    assert not x["capacity"].rates.any()
    assert x["weight"].utility[0] == 0.0


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The bottleneck is worth most, in the table, in JSON and on the map."""
    picture = tmp_path / "map.png"
    assert main(["optimum", "dumbbell", "--prices", "--png", str(picture)]) == 0
    text = capsys.readouterr().out
    assert "what it adds to the geometric mean, in % of it" in text
    first = text.split("1 km less\n")[1].splitlines()[1]
    assert "left – right" in first
    assert picture.stat().st_size > 10_000
    assert main(["optimum", "dumbbell", "--prices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sensitivities"]
    s = scenario("dumbbell")
    np.testing.assert_array_equal(found["length_km"]["rates"], sensitivities(s, True)["length_km"].rates)
    percent = 100 * 0.01 * s.arrays().capacity[3] * found["capacity"]["utility"][3] / 3
    assert f"{percent:.4f}" in first
    with pytest.raises(SystemExit):
        main(["optimum", "dumbbell", "--png", "map.txt"])
    assert "--png 'map.txt': valid: a file name that ends in .png, .pdf, .svg" in capsys.readouterr().err
