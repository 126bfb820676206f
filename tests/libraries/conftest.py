"""What the libraries' tests share: an example is run as its user would run it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def output_of(tmp_path: Path) -> Callable[[str, int], str]:
    """(name, steps) -> what an example prints; it must end well."""

    def run(name: str, steps: int) -> str:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / f"{name}.py"), str(steps)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        print(done.stdout)  # shown where a test fails
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def run_example(output_of: Callable[[str, int], str]) -> Callable[[str, int], tuple[float, float]]:
    """(name, steps) -> the return, reward or score before and after that an example prints."""

    def run(name: str, steps: int) -> tuple[float, float]:
        found = re.search(r"(?:return|reward|score) before (\S+), after (\S+)", output_of(name, steps))
        assert found is not None
        before, after = map(float, found.groups())
        return before, after

    return run
