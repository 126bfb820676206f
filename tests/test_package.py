"""The package as a whole: names, lazy imports, what goes into a wheel."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import qnum_gym

ROOT = Path(__file__).parent.parent


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_import_is_light():
    """No wall time: what takes long is not imported."""
    loaded = set(python("import sys, qnum_gym; print(*sys.modules)"))
    heavy = {"numba", "scipy", "torch", "stable_baselines3", "matplotlib", "pygame", "pettingzoo", "ray", "tensorboard"}
    assert not heavy & loaded
    assert "qnum_gym.simulator" not in loaded


def test_names_are_found_when_asked_for():
    said = python("import qnum_gym; print(qnum_gym.Simulator.__name__, qnum_gym.optimum.__name__)")
    assert said == ["Simulator", "qnum_gym.optimum"]
    assert set(qnum_gym.__all__) <= set(dir(qnum_gym))
    for name in qnum_gym.__all__:
        assert getattr(qnum_gym, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'simulater'"):
        qnum_gym.simulater  # noqa: B018, the attribute is the test


def test_agents_are_found_inside_the_package():
    import qnum_gym.agents

    assert Path(qnum_gym.agents.__file__).parent.name == "agents"


def test_the_version_is_the_project_s():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert qnum_gym.__version__ == project["version"]


def test_every_dependency_has_a_tested_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    files = [file for file in ROOT.glob("constraints*.txt") if file.stem != "constraints-lowest"]
    tested = "".join(file.read_text() for file in files)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in tested.split()}
    names = {re.split(r"[\[>]", name)[0].lower() for name in wanted}
    assert names <= pinned


def test_the_folder_imported_by_its_own_name_has_the_same_policies() -> None:
    code = "import agents as a, qnum_gym.agents as its; print(a.POLICIES is its.POLICIES, a.names() == its.names())"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]


def test_data_beside_the_modules_goes_into_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["qnum_gym"]
    package = ROOT / "qnum_gym"
    data = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc")
    }
    assert data == {path for pattern in patterns for path in package.glob(pattern)}
    assert package / "scenarios" / "networks" / "surfnet.gml" in data
