"""`qnum-gym validate`: green in a short run, red where a constant of the kernel is 1 % off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qnum_gym.cli import main
from qnum_gym.simulator import Simulator
from qnum_gym.validation import limits, pairs, report, running
from qnum_gym.validation.law import LAWS, Finding, Law, critical, estimated, registry


def test_a_short_run_is_green(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nFORMER\n{report.END}\nafter\n")
    assert main.main(["validate", "--quick", "--out", str(tmp_path), "--page", str(page)]) == 0
    assert "0 disagree" in capsys.readouterr().out
    rows = json.loads((tmp_path / "validation.json").read_text())["findings"]
    assert {row["law"] for row in rows} == set(registry())
    assert len((tmp_path / "validation.csv").read_text().splitlines()) == len(rows) + 1
    assert (tmp_path / "validation.png").stat().st_size > 20_000
    text = page.read_text()
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "FORMER" not in text
    assert text.count("| agrees |") == len(rows)


def off_by_one_percent(table: str, column: str) -> type[Simulator]:
    """A simulator with one of its constants 1 % too great, from the start."""

    class Wrong(Simulator):
        def reset(self, seed: int = 0) -> None:
            super().reset(seed)
            records: np.ndarray = getattr(self._state, table)
            records[column] = (records[column] * 1.01).astype(records[column].dtype)

    return Wrong


@pytest.mark.parametrize(
    ("table", "column", "law", "effort"),
    [
        ("hops", "decay_rate", "storage", 1.0),
        ("links", "latency", "storage", 1.0),
        ("links", "cycle", "M/Geo/1", 0.1),
        ("links", "capacity", "sequential", 0.5),
        ("links", "hazard", "photons", 0.5),
        ("hops", "swap_success", "failing swaps", 0.5),
    ],
)
def test_a_constant_that_is_one_percent_off_is_seen(
    table: str, column: str, law: str, effort: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = off_by_one_percent(table, column)
    monkeypatch.setattr(running, "Simulator", wrong)
    monkeypatch.setattr(pairs, "Simulator", wrong)
    count = 69  # findings of a whole run: what is red here is red there
    assert not all(finding.agrees(count) for finding in registry()[law].findings(effort))


def test_a_law_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    registry()

    def findings(effort: float) -> Iterator[Finding]:
        yield Finding("two", 2.0, 2.1)
        yield Finding("near", 2.0, 2.1, tolerance=0.2)
        yield estimated("mean", effort, [0.9, 1.0, 1.1])

    law = LAWS.register("arithmetic", Law("arithmetic", "one and one", "counting", findings))
    try:
        assert main.main(["validate", "arithmetic"]) == 1
    finally:
        LAWS.remove("arithmetic")
    assert "3 findings, 1 disagree" in capsys.readouterr().out
    run = report.run([law], 1.0)
    assert [found.case for _, found in run.failed] == ["two"]
    assert "**disagrees**" in report.markdown(run, "command")


def test_what_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text("no marks")
    for argv, said in (
        (["validate", "litle"], "LAW 'litle': did you mean 'Little'? "),
        (["validate", "--page", str(tmp_path / "page.md")], "no marks; valid: a page with"),
        (["validate", "--page", str(tmp_path / "none.md")], "none.md"),
    ):
        with pytest.raises(SystemExit):
            main.main(argv)
        assert said in capsys.readouterr().err


def test_the_bound_is_student_s() -> None:
    """Tables of t, two-sided 1 %: 2.861 for 19 degrees of freedom, 2.576 for many."""
    assert critical(1, 19) == pytest.approx(2.861, abs=5e-4)
    assert critical(1, 10**6) == pytest.approx(2.5758, abs=5e-4)
    assert critical(100, 19) > critical(10, 19)


def test_limits_measure_what_is_known_without_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hop stores nothing; at p = 1 a second hop, fed once per cycle at most, never makes a pair wait."""
    monkeypatch.setitem(limits.CASES, "one hop", limits.chain(1, 0.5))
    for case, kept in (
        ("one hop", lambda coherence: 1.0),
        ("p = 1, 2 hops", lambda coherence: np.exp(-2.0 / coherence)),
    ):
        found = list(limits.points(case, 0.9, 0.01))
        assert [point.measured for point in found] == pytest.approx(
            [kept(point.coherence) for point in found], rel=1e-6
        )
        assert all(point.expected >= limits.LEAST for point in found)
    assert max(point.off for point in found) > 10.0
    assert all(point.expected == pytest.approx(0.1 / (0.1 + 2.0 / point.coherence)) for point in found)


def test_limits_writes_maps_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "CASES", {"p = 1, 2 hops": limits.CASES["p = 1, 2 hops"]})
    limits.main(["--quick", "--out", str(tmp_path)])
    assert "| p = 1, 2 hops | 0.98 | 0.94 | 0.8" in capsys.readouterr().out  # 1 + off = exp(-x) (1 + x/(1 - load))
    assert (tmp_path / "limits.csv").read_text().startswith("case,load,coherence,expected,measured,error,off\n")
    assert (tmp_path / "limits.png").stat().st_size > 20_000
