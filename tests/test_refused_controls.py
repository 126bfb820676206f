"""A policy of one's own that gives no controls: one line that names it, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qnum_gym
from qnum_gym import agents
from qnum_gym.cli.main import main
from qnum_gym.config import PolicyError
from qnum_gym.evaluation import evaluate
from qnum_gym.evaluation.trace import trace
from qnum_gym.simulator import Controls

FILE = """
from qnum_gym.agents import Policy
from qnum_gym.simulator import Controls

class Short(Policy):
    def act(self, seen):
        return Controls(seen.sessions.rate[:-1], seen.links.werner)
"""


class Wrong(agents.Policy):
    """Gives what it was made with, a function of what is seen."""

    def __init__(self, give: Callable[[agents.Seen], Any]) -> None:
        self.give = give

    def act(self, seen: agents.Seen) -> Controls:
        return self.give(seen)


def rates_of(change: Callable[[Any], Any]) -> Callable[[agents.Seen], object]:
    """Controls in which the rates are changed."""
    return lambda seen: Controls(change(seen.sessions.rate), seen.links.werner)


WRONG: dict[str, tuple[Callable[[agents.Seen], object], str]] = {
    "shape": (rates_of(lambda rate: rate[:-1]), r"shape \(2,\); valid: \(3,\)"),
    "list": (rates_of(lambda rate: [1.0, 2.0]), r"shape \(2,\); valid: \(3,\)"),
    "nan": (rates_of(lambda rate: rate * float("nan")), "nan"),
    "signals": (lambda seen: Controls(seen.sessions.rate, *2 * [seen.links.werner]), r"\(7,\); valid: \(3,\)"),
    "nothing": (lambda seen: None, r"act gives None; valid: Controls\(rates, werner\)"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_side_by_side_and_alone(kind: str) -> None:
    give, message = WRONG[kind]
    s = qnum_gym.scenario("dumbbell", episode_length=3)
    with pytest.raises(PolicyError, match=rf"^policy Wrong: .*{message}"):
        evaluate(s, {"own": Wrong(give)}, seeds=[0])
    with pytest.raises(PolicyError, match=rf"^policy Wrong: .*{message}"):
        trace(s, Wrong(give))


def test_commands_say_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    with pytest.raises(SystemExit) as left:
        main(["simulate", "dumbbell", "--policy", f"{file}:Short", "--seconds", "2"])
    assert left.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("qnum-gym: policy ")
    assert said[-1].endswith("rates has shape (2,); valid: (3,)")
