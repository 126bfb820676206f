"""Lower bounds: each dependency has one, and it is the version that `make test-lowest`, `test-libraries`, … install."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = {
    "build",
    "clarabel",
    "codespell",
    "cvxpy",
    "pre-commit",
    "pyright",
    "pytest-cov",
    "pytest-xdist",
    "hypothesis",
    "ruff",
    "types-pyyaml",
    "pytest",
}


def test_lower_bounds_are_the_versions_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]
    lowest: dict[str, str] = {}
    for name in ("rllib", "benchmarl", "rlzoo", "libraries", "lowest"):  # the later ones win
        text = (ROOT / f"constraints-{name}.txt").read_text(encoding="utf-8")
        lowest |= dict(line.lower().split("==") for line in text.split())
    for text in wanted:
        found = re.fullmatch(r"([A-Za-z0-9._-]+?)(?:\[[a-z0-9,]+\])?(?:>=([0-9.]+))?(?:,.*)?", text)
        assert found is not None, text
        name, bound = found.groups()
        if name.lower() in TOOLS:
            continue
        assert bound is not None, f"{text}: without a lower bound"
        parts = [[int(part) for part in version.split(".")] for version in (bound, lowest[name.lower()])]
        length = max(map(len, parts))
        assert [*parts[0], *[0] * (length - len(parts[0]))] == [*parts[1], *[0] * (length - len(parts[1]))], text
