"""Ids: known after `import qnum_gym`, without loading what is slow, and no harm in registering twice."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import pytest

from qnum_gym.registration import ids, register


def test_registering_again_changes_nothing() -> None:
    before = dict(gym.registry)
    register()  # Gymnasium warns when an id is overridden, and warnings are errors here
    assert dict(gym.registry) == before
    assert set(ids()) <= set(gym.registry)
    names = ("Dumbbell", "NSFNet", "NSFNetFull", "SURFnet", "Chain", "Star", "Grid", "Waxman", "Scenario", "Families")
    assert set(ids()) == {f"qnum_gym/{name}-v0" for name in names}


@pytest.mark.parametrize("heavy", ["numba", "scipy", "torch", "stable_baselines3", "matplotlib", "pettingzoo"])
def test_importing_is_light(heavy: str) -> None:
    code = f"import sys, qnum_gym; assert {heavy!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_module_prefix_works_in_a_fresh_process() -> None:
    code = "import gymnasium; gymnasium.make('qnum_gym:qnum_gym/Chain-v0').reset(seed=0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sb3_sub_processes_find_the_ids() -> None:
    code = """
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv
if __name__ == "__main__":
    env = make_vec_env("qnum_gym:qnum_gym/Chain-v0", n_envs=2, seed=0, vec_env_cls=SubprocVecEnv)
    env.reset()
    env.step(np.zeros((2, 5), np.float32))
    env.close()
"""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(code)
        subprocess.run([sys.executable, str(script)], check=True)
