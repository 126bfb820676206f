"""A compiled function is compiled anew when any file changes that it is made of."""

import ctypes
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest
from numba.core.caching import FunctionCache, IndexDataCacheFile

from qnum_gym import caching

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import function
print(function.answer(), sum(function.answer.stats.cache_hits.values()))
"""
FUNCTION = """
import constant
from qnum_gym import caching

entry = caching.entry(constant, file=__file__)


@entry
def answer():
    return constant.VALUE
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "constant.py").write_text("VALUE = 1\n")
    (tmp_path / "function.py").write_text(FUNCTION)
    return tmp_path


def test_a_change_in_another_file_is_noticed(folder: Path) -> None:
    def answer() -> list[str]:
        script = SCRIPT.format(folder=str(folder))
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return result.stdout.split()

    assert answer() == ["1", "0"]
    assert answer() == ["1", "1"]
    (folder / "constant.py").write_text("VALUE = 22\n")
    assert answer() == ["22", "0"]


@pytest.mark.parametrize("kept", ["", "half"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_file_is_compiled_anew(folder: Path, suffix: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported anew in this process: the cache knows no more than its files."""
    monkeypatch.syspath_prepend(folder)

    def answer() -> tuple[int, int]:
        for name in ("constant", "function"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        function = importlib.import_module("function").answer
        return function(), sum(function.stats.cache_hits.values())

    assert answer() == (1, 0)
    (path,) = folder.glob(f"**/*.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if kept else b"")
    assert answer() == (1, 0)
    assert answer() == (1, 1)


def bound_by_permissions() -> None:
    """Root may write everywhere; without CAP_DAC_OVERRIDE (1) not any more. PR_CAPBSET_DROP is 24."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="permissions bind others otherwise")
def test_without_a_folder_to_write_in() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "constant.py").write_text("VALUE = 1\n")
        (folder / "function.py").write_text(FUNCTION)
        folder.chmod(0o555)
        script = SCRIPT.format(folder=name) + "from qnum_gym.caching import announce; announce(function.answer)"
        env = os.environ | dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), "/proc/nowhere")
        env.pop("NUMBA_CACHE_DIR", None)
        result = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=env, preexec_fn=bound_by_permissions
        )
        folder.chmod(0o755)
    assert result.stdout.split() == ["1", "0"], result.stderr
    assert result.stderr.count("NUMBA_CACHE_DIR=FOLDER names a folder") == 1


def test_a_full_disk_and_another_numba_keep_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caching.say_uncached.cache_clear()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    assert caching.entry(file=__file__)(one)() == 1
    assert caplog.messages[0].startswith("compiled code is not kept ([Errno 28] No space left on device)")
    monkeypatch.setattr(FunctionCache, "__init__", lambda self, _: setattr(self, "_cache_file", SimpleNamespace()))
    for _ in range(2):
        assert caching.entry(file=__file__)(one)() == 1
    assert [f"numba {numba.__version__} keeps" in message for message in caplog.messages] == [False, True]


def one() -> int:
    return 1


def test_without_compiling_it_says_what_is_needed() -> None:
    script = "import gymnasium as gym, qnum_gym; gym.make('qnum_gym/Dumbbell-v0')"
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert result.stderr.splitlines()[-1].startswith("ImportError: NUMBA_DISABLE_JIT is set")


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
