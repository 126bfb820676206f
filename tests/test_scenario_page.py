"""docs/scenario.md is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnum_gym.cli import fields
from qnum_gym.cli.main import main
from qnum_gym.rules import DISCIPLINES

PAGE = Path(__file__).parents[1] / "docs/scenario.md"


def test_the_page_is_what_the_code_says_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8"), "valid: what qnum-gym fields prints"


def test_every_field_of_every_part_is_there_with_its_meaning() -> None:
    rows = [line.split(" | ") for line in fields.page().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(part.model_fields) for part in fields.PARTS.values())
    for name, kind, _, default, meaning in rows:
        assert "" not in (kind, default), name
        assert len(meaning) > 4, name


def test_types_units_and_defaults() -> None:
    lines = fields.page().splitlines()
    assert "| `coherence_time` | number ≥ 1e-09 | s | `10.0` | T_c of a node's memory; .inf: perfect |" in lines
    assert "| `coherence_time` | number ≥ 1e-09 | s | the scenario's | T_c of a node's memory; .inf: perfect |" in lines
    known = ", ".join(f"`{name}`" for name in DISCIPLINES)
    assert f"| `discipline` | {known} |  | `fifo` | order of service at a link |" in lines
    assert any(line.startswith("| `source` | node's name |  | needed |") for line in lines)
