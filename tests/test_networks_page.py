"""docs/networks.md: its commands run, in a short form, and leave what the page says; maps are to scale."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import qnum_gym
from qnum_gym import Scenario
from qnum_gym.cli import evaluate, main
from qnum_gym.envs.rendering.layout import on_the_map, positions
from qnum_gym.scenarios.geography import great_circle_km

PAGE = (Path(__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_commands_go_from_the_file_to_a_table_and_a_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    network, optimum, table = map(shlex.split, blocks("sh")[0].splitlines())
    assert main.main(network[1:]) == 0
    assert "surfnet: 50 nodes, 6 repeaters, 74 links of 2.9 to 56.9 km" in capsys.readouterr().out
    assert (tmp_path / "surfnet.png").read_bytes().startswith(b"\x89PNG")
    assert Scenario.from_yaml("surfnet.yaml") == Scenario.from_file("surfnet.gml", 8, max_km=60, coherence_time=100)
    assert main.main(optimum[1:]) == 0
    assert "geometric mean 3.29" in capsys.readouterr().out
    short = {"--seeds": "1", "--steps": "2"}
    argv = [short.get(before, word) for before, word in itertools.pairwise(table[1:])]
    assert evaluate.main([*argv, "--out", "out"]) == 0
    table = (tmp_path / "out" / "table.txt").read_text(encoding="utf-8")
    rows = table.partition("\npolicy ")[2].partition("\n\n")[0].splitlines()[2:]  # after the rule
    policies = [row.split()[0] for row in rows]
    assert policies == ["oracle", "qprimaldual-da", "qprimaldual-approx", "aimd", "best_static"]
    assert all(f"| `{name}` |" in PAGE for name in policies)


@pytest.mark.filterwarnings("ignore::qnum_gym.scenarios.network_files.NetworkFileWarning")
def test_the_python_runs() -> None:
    exec(blocks("python")[0], {})


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_maps_come_in_other_formats_and_without_coordinates(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"map.{suffix}"
    assert main.main(["network", "dumbbell", "--png", str(path), "--json"]) == 0
    assert path.stat().st_size > 1000


def test_maps_are_to_scale() -> None:
    s = Scenario.from_file("surfnet.gml", 3)
    places, globe = on_the_map(s), [(node.latitude or 0.0, node.longitude or 0.0) for node in s.nodes]
    assert places is not None
    for v in range(1, 50, 7):
        assert np.linalg.norm(places[v] - places[0]) == pytest.approx(great_circle_km(globe[v], globe[0]), rel=0.02)
    for aspect in (0.5, 1.6):
        drawn = positions(s, aspect) * (aspect, 1.0)
        scale = np.linalg.norm(drawn[1:] - drawn[0], axis=1) / np.linalg.norm(places[1:] - places[0], axis=1)
        np.testing.assert_allclose(scale, scale[0])
        assert positions(s, aspect).min() >= 0.0
        assert positions(s, aspect).max() <= 1.0
    assert on_the_map(qnum_gym.scenario("dumbbell")) is None
    pacific = [{"name": v, "latitude": 0.0, "longitude": east} for v, east in (("a", 179.0), ("b", -179.0))]
    s = Scenario(nodes=pacific, links=[{"a": "a", "b": "b", "length_km": 200}], sessions=[("a", "b")])
    places = on_the_map(s)
    assert places is not None
    assert places[1, 0] - places[0, 0] == pytest.approx(222.39, rel=1e-4)


def test_nsfnet_at_its_full_length_has_a_repeater_every_hundred_km() -> None:
    s = qnum_gym.scenario("nsfnet-full")
    whole, small = (
        sum(link.length_km for link in s.links),
        sum(link.length_km for link in qnum_gym.scenario("nsfnet").links),
    )
    assert (whole, small) == (22700.0, pytest.approx(227.0))
    assert {link.length_km for link in s.links} == {100.0}
    assert (s.sessions[0].path[0], s.sessions[0].path[-1], len(s.sessions[0].path)) == ("Seattle", "Princeton", 41)
