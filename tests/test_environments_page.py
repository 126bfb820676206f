"""docs/environments.md is what the code says, and the figures in it are what the environments give."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import networkx as nx
import pytest

from qnum_gym import agents, evaluation, registration
from qnum_gym.cli import environments
from qnum_gym.cli.main import main
from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.topologies import TOPOLOGIES, Topology

DOCS = Path(__file__).parents[1] / "docs"
MEASURED = json.loads((DOCS / "environments.json").read_text(encoding="utf-8"))


def test_the_page_is_what_the_code_says_now() -> None:
    made = environments.page(measured=MEASURED)
    assert made == (DOCS / "environments.md").read_text(encoding="utf-8"), f"valid: what {environments.COMMAND} prints"


def test_all_references_were_measured_on_all_networks_with_twenty_seeds() -> None:
    networks = {id for id, keywords in registration.ids().items() if "scenario" in keywords}
    assert set(MEASURED["ids"]) == networks
    assert {name for found in MEASURED["ids"].values() for name in found} == set(environments.references())
    assert MEASURED["seeds"] == 20
    assert "changes" not in MEASURED["commit"]


def test_what_is_measured_is_what_an_agents_loop_adds_up() -> None:
    id, name = "qnum_gym/Chain-v0", "qprimaldual-da"
    found = environments._measured([id], [name], 1, 1)["ids"][id][name]
    env: Any = gym.make(id).unwrapped
    policy = agents.make(name)
    env.reset(seed=0)
    policy.reset(env.scenario, 0)
    total, over = 0.0, False
    while not over:
        _, reward, _, over, _ = env.step_controls(policy.act(env.telemetry))
        total += reward
    assert found["return"]["mean"] == pytest.approx(total, rel=1e-12)
    alone = evaluation.evaluate(env.scenario, {name: agents.make(name)}, [0])
    assert found["score"]["mean"] == alone.score[0, 0]


@pytest.fixture
def own() -> Iterator[None]:
    @TOPOLOGIES.registers("pair")
    class Pair(Topology):
        """Two nodes and what is between them."""

        count = None

        def graph(self, length_km: float = 12.5) -> Graph:
            graph: Graph = nx.Graph()
            graph.add_edge("a", "b", length_km=length_km)
            return graph

        def sessions(self, graph: Graph) -> list[tuple[str, str]]:
            return [("a", "b")]

    registration.register()
    yield
    TOPOLOGIES.remove("pair")
    del gym.registry["qnum_gym/Pair-v0"]


@pytest.mark.usefixtures("own")
def test_an_id_of_ones_own_has_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["environments", "Pair-v0"]) == 0
    said = capsys.readouterr().out
    assert said.startswith('## Pair-v0\n\n`gym.make("qnum_gym/Pair-v0")`: Two nodes and what is between them.\n')
    assert "| network | R = 1, L = 1, V = 2, H = 1 |\n| links | 12.5 km |\n| sessions (links) | a → b (1) |" in said
    assert "Box(-1.0, 1.0, (29,), float32)" in said  # 16 + 13
    assert "policy" not in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["environments", "Dumbell-v0"], "ID 'qnum_gym/Dumbell-v0': did you mean 'qnum_gym/Dumbbell-v0'? valid: "),
        (["environments", "--seeds", "2"], "--seeds: valid: with --returns FILE"),
        (["environments", "--returns", __file__], f"--returns '{__file__}': "),
    ],
)
def test_the_command_refuses(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
