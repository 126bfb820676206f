"""What the libraries' tests share: an example is run as its user would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_example(tmp_path):
    """(name, steps) -> the return, or reward, before and after that an example prints; it must end well."""

    def run(name: str, steps: int) -> tuple[float, float]:
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
        before, after = map(float, re.search(r"(?:return|reward) before (\S+), after (\S+)", done.stdout).groups())
        return before, after

    return run
