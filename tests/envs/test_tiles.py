"""Pictures of vector environments: a tile each, within a bounded picture, and what wrappers that film ask for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.vector import RecordVideo

import qnum_gym
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.scenarios import LinkEvent
from qnum_gym.simulator import Controls

BAR, DOWN = (0x56, 0xB4, 0xE9), (0xD5, 0x5E, 0x00)


def drawn(num: int, scenario: Any = "dumbbell", steps: int = 3) -> AllocationVectorEnv:
    envs = AllocationVectorEnv(num, scenario, render_mode="rgb_array", threads=1)
    envs.reset(seed=0)
    for _ in range(steps):
        envs.step(np.zeros(envs.action_space.shape, np.float32))
    return envs


def amount(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


@pytest.mark.parametrize("num", [1, 2, 5, 64])
def test_the_picture_is_bounded_and_holds_the_tiles(num: int) -> None:
    envs = drawn(num)
    tiles: Any = envs.render()
    picture = envs.picture()
    assert picture.dtype == np.uint8
    assert picture.shape[0] <= 720
    assert picture.shape[1] <= 1280
    assert len(tiles) == num
    height, width, _ = tiles[0].shape
    assert (height % 2, width % 2) == (0, 0)  # video players want even numbers
    for i, tile in enumerate(tiles):
        y, x = divmod(i, picture.shape[1] // width)
        np.testing.assert_array_equal(tile, picture[y * height : (y + 1) * height, x * width : (x + 1) * width])
        assert len(np.unique(tile.reshape(-1, 3), axis=0)) > 20


def test_a_tile_shows_its_own_network() -> None:
    """The second's link is down; bars are as long as the scores are high."""
    calm = qnum_gym.scenario("dumbbell", sessions=2)
    broken = calm.replace(events=[LinkEvent(time=2.0, link=("right", "d1"), up=False)])
    envs = drawn(2, [calm, broken], steps=0)
    rates = np.array([[10.0, 10.0], [1.0, 1.0]])
    for _ in range(12):
        envs.step_controls(Controls(rates, np.full((2, 5), 0.97)))
    tiles: Any = envs.render()
    first, second = tiles
    assert amount(first, DOWN) == 0
    assert amount(second, DOWN) > 20
    scores = [envs.env_batch.outcome(i).score for i in (0, 1)]
    bars = [amount(tile, BAR) for tile in tiles]
    assert 1.0 > scores[0] > 2.0 * scores[1]
    assert bars[0] / bars[1] == pytest.approx(scores[0] / scores[1], rel=0.1)


def test_text_is_that_of_the_scalar_environment() -> None:
    envs = AllocationVectorEnv(2, "dumbbell", render_mode="ansi")
    single = AllocationEnv("dumbbell", render_mode="ansi")
    envs.reset(seed=[3, 4])
    single.reset(seed=4)
    envs.step(np.zeros((2, 10), np.float32))
    single.step(np.zeros(10, np.float32))
    texts: Any = envs.render()
    assert texts[1] == single.render()


def test_render_modes() -> None:
    with pytest.raises(ValueError, match="render_mode = 'human'; valid: ansi, rgb_array or None"):
        gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, render_mode="human")
    envs = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, render_mode="ansi")
    with pytest.raises(gym.error.ResetNeeded):
        envs.render()
    silent = AllocationVectorEnv(2, "dumbbell")
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert silent.render() is None


def test_a_video_of_each_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gymnasium's wrapper, with a film that keeps its frames in place of MoviePy, which is not needed for tests."""
    films: list[list[np.ndarray]] = []

    class Film:
        def __init__(self, frames: list[np.ndarray], fps: int) -> None:
            assert fps == 5
            films.append(frames)

        def write_videofile(self, path: str, logger: Any) -> None:
            assert Path(path).parent == tmp_path

    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["moviepy.video.io.ImageSequenceClip"].ImageSequenceClip = Film  # type: ignore[attr-defined]
    made = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=4, episode_length=3, render_mode="rgb_array")
    with pytest.warns(UserWarning, match="Overwriting existing videos"):  # of any folder that there is
        envs = RecordVideo(made, str(tmp_path), (16, 9), episode_trigger=lambda episode: True)
    envs.reset(seed=0)
    for _ in range(7):
        envs.step(envs.action_space.sample())
    envs.close()
    assert [len(film) for film in films[:2]] == [4, 4]  # the reset's, and three intervals'
    assert {frame.shape for film in films for frame in film} == {(720, 1280, 3)}
