"""A compiled function is compiled anew when any file changes that it is made of."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import function
print(function.answer(), sum(function.answer.stats.cache_hits.values()))
"""
FUNCTION = """
import constant
from qnum_gym.simulator import caching

entry = caching.entry(constant, file=__file__)


@entry
def answer():
    return constant.VALUE
"""


def answer(folder: Path) -> list[str]:
    script = SCRIPT.format(folder=str(folder))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_a_change_in_another_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "constant.py").write_text("VALUE = 1\n")
    (tmp_path / "function.py").write_text(FUNCTION)
    assert answer(tmp_path) == ["1", "0"]
    assert answer(tmp_path) == ["1", "1"]
    (tmp_path / "constant.py").write_text("VALUE = 22\n")
    assert answer(tmp_path) == ["22", "0"]


def test_the_first_call_says_that_it_compiles(tmp_path: Path) -> None:
    script = "import qnum_gym; qnum_gym.Simulator(qnum_gym.scenario('chain')).reset(1)"
    for expected in (1, 0):
        result = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        )
        assert result.stderr.count("compiling the simulator, once per machine") == expected
