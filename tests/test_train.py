"""Training: checkpoints that resume exactly, the run's folder, and that PPO learns."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.save_util import load_from_zip_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from qnum_gym import files
from qnum_gym.cli.train import main
from qnum_gym.config import ConfigError
from qnum_gym.training import checkpoint
from qnum_gym.training.callback import Interrupted, StopRequest
from qnum_gym.training.config import TrainConfig
from qnum_gym.training.folder import RunFolder
from qnum_gym.training.run import begin, build, check, compare, train

ROOT = Path(__file__).parents[1]

# Six rollouts of 32 steps; episodes of 20 end within rollouts and across them.
SMALL = {
    "name": "small",
    "env": "qnum_gym/Dumbbell-v0",
    "overrides": {"episode_length": 20, "rate_step": 0.25},
    "envs": 2,
    "steps": 180,
    "checkpoint_every": 1,
    "ppo": {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "net_arch": [8]},
    "evaluation": {"every": 2, "seeds": 2, "references": ["equal_share", "oracle"]},
    "comparison": {"seeds": 2, "policies": ["equal_share", "oracle"]},
}


# The same with the other algorithms. SAC's buffer is smaller than its run; its first 40 steps are random.
OTHERS = {
    "recurrent_ppo": {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "net_arch": [8], "lstm_hidden_size": 8},
    "sac": {
        **{"train_freq": 16, "gradient_steps": 3, "batch_size": 8, "net_arch": [8]},
        **{"buffer_size": 100, "learning_starts": 40},
    },
}


def small(**changes):
    return TrainConfig.checked({**SMALL, **changes}, "small")


def weights_of(model: Any) -> Any:
    """The policy's, of a model in a file."""
    return (load_from_zip_file(model)[1] or {})["policy"]


class Observer:
    """Counts, and asks to stop after some steps."""

    def __init__(self, stop: Any = None, after=None):
        self.stop, self.after, self.rows, self.last = stop, after, [], 0

    def steps(self, done):
        self.last = done
        if done == self.after:
            self.stop.made = True

    def evaluated(self, row):
        self.rows.append(row)


def run(config, folder, after=None):
    stop = StopRequest()
    observer = Observer(stop, after)
    train(config, folder, observer, stop)
    return observer


def same(a, b):
    """Whether two nested states are equal bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) or type(a).__name__ == "deque":
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray) and a.dtype.names:  # records: what pads them to cache lines is nobody's
        return all(same(a[name], b[name]) for name in a.dtype.names)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if hasattr(a, "__dict__") and type(a).__name__ == "RunningMeanStd":
        return same(vars(a), vars(b))
    return a == b


def ended_alike(one, other):
    """Compare all that two finished runs' checkpoints hold; episodes' wall-clock times aside."""
    states = [checkpoint.read(folder.checkpoint) for folder in (one, other)]
    for state in states:
        for episode in state["counters"]["ep_info_buffer"]:
            del episode["t"]
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        assert same(states[0][key], states[1][key]), key
    assert one.evaluations.read_bytes() == other.evaluations.read_bytes()
    for name in ("model", "best_model"):
        assert same(*(load_from_zip_file(getattr(folder, name))[1] for folder in (one, other)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = RunFolder.create(small(), tmp_path_factory.mktemp("runs"))
    return folder, run(small(), folder)


def other(algorithm, **changes):
    fields = {key: value for key, value in SMALL.items() if key != "ppo"}
    settings = {**OTHERS[algorithm], **changes}
    return TrainConfig.checked({**fields, "algorithm": algorithm, algorithm: settings}, "small")


@pytest.fixture(scope="module")
def undisturbed_others(tmp_path_factory):
    folders = {}
    for algorithm in OTHERS:
        folders[algorithm] = RunFolder.create(other(algorithm), tmp_path_factory.mktemp("runs"))
        run(other(algorithm), folders[algorithm])
    return folders


# --- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.bits
@pytest.mark.parametrize("after", [32, 90])
def test_a_run_stopped_and_resumed_ends_with_the_same_bits(undisturbed, tmp_path, after):
    folder = RunFolder.create(small(), tmp_path)
    with pytest.raises(Interrupted):
        run(small(), folder, after)
    stopped_at = checkpoint.read(folder.checkpoint)["counters"]["num_timesteps"]
    assert stopped_at == -(-after // 32) * 32  # the rollout is finished first
    torch.manual_seed(99)  # what else happens in the process does not matter
    np.random.seed(99)  # noqa: NPY002
    run(small(), folder)
    ended_alike(undisturbed[0], folder)


@pytest.mark.parametrize("after", [32, 90, 150])
@pytest.mark.parametrize("algorithm", OTHERS)
def test_the_other_algorithms_resume_with_the_same_bits(undisturbed_others, tmp_path, algorithm, after):
    config = other(algorithm)
    folder = RunFolder.create(config, tmp_path)
    with pytest.raises(Interrupted):
        run(config, folder, after)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    run(config, folder)
    ended_alike(undisturbed_others[algorithm], folder)
    trained: Any = weights_of(folder.model)
    first = build(config).policy.state_dict()
    assert not any(same(trained[name], first[name]) for name in first if name.endswith("weight"))  # all of it learns


def test_sac_with_normalised_rewards_resumes_too(tmp_path):
    config = other("sac", normalise_reward=True)
    folders = [RunFolder.create(config, tmp_path) for _ in range(2)]
    run(config, folders[0])
    with pytest.raises(Interrupted):
        run(config, folders[1], 64)
    run(config, folders[1])
    ended_alike(*folders)


@pytest.mark.parametrize(
    "options",
    [
        {"normalise_reward": False, "anneal": False, "activation": "relu"},
        {"normalise_observation": True},
        {"policy": "graph", "normalise_observation": True},
        {"imitate": "oracle", "imitate_steps": 64},
    ],
)
def test_runs_with_other_options_resume_too(tmp_path, options):
    config = small(ppo={**SMALL["ppo"], **options})
    folders = [RunFolder.create(config, tmp_path) for _ in range(2)]
    run(config, folders[0])
    with pytest.raises(Interrupted):
        run(config, folders[1], 64)
    run(config, folders[1])
    ended_alike(*folders)


def test_a_killed_run_resumes_to_the_same_bits(undisturbed, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(SMALL))
    folder = RunFolder(tmp_path / "small")
    command = [sys.executable, "train.py", "--config", str(config), "--runs", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60.0
    while not folder.checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert checkpoint.read(folder.checkpoint)["counters"]["num_timesteps"] < 192
    assert main(["--resume", str(folder.path)]) == 0
    ended_alike(undisturbed[0], folder)


def test_signals_ask_to_stop_and_a_second_one_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.made
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_evaluation_and_checkpoints_leave_training_alone(undisturbed, tmp_path):
    evaluation = {**SMALL["evaluation"], "every": 3, "seeds": 1, "references": ["equal_share"]}
    config = small(evaluation=evaluation, checkpoint_every=100)
    folder = RunFolder.create(config, tmp_path)
    run(config, folder)
    models = [PPO.load(each.model) for each in (undisturbed[0], folder)]
    assert same(*(model.policy.state_dict() for model in models))


def test_seeds_make_different_runs(undisturbed, tmp_path):
    config = small(seed=1)
    folder = RunFolder.create(config, tmp_path)
    run(config, folder)
    models = [PPO.load(each.model) for each in (undisturbed[0], folder)]
    assert not same(*(model.policy.state_dict() for model in models))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"envs": 4}, "envs = 4, at the checkpoint 2"),
        ({"ppo": {**SMALL["ppo"], "net_arch": [16]}}, "ppo.net_arch = [16], at the checkpoint [8]"),
        (
            {"overrides": {"episode_length": 30, "rate_step": 0.25}},
            "overrides.episode_length = 30, at the checkpoint 20",
        ),
        ({"steps": 100}, "steps = 100: the run has done 192; valid: at least that"),
        ({"seed": 1}, "seed = 1, at the checkpoint 0"),
        ({"env": "qnum_gym/Chain-v0"}, "env = 'qnum_gym/Chain-v0', at the checkpoint 'qnum_gym/Dumbbell-v0'"),
    ],
)
def test_a_resumed_run_is_the_run_that_began(undisturbed, tmp_path, changes, message, capsys):
    folder = shutil.copytree(undisturbed[0].path, tmp_path / "small")
    (folder / "results.json").unlink(missing_ok=True)
    small(**changes).to_yaml(folder / "config.yaml")
    assert_refused(["--resume", str(folder)], f"config.yaml: {message}", capsys)


def assert_refused(argv, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in said


def test_what_may_change_is_said(undisturbed):
    now = small(name="other", checkpoint_every=7, comparison={"seeds": 1, "policies": ["oracle"]})
    now.check_resumed(checkpoint.read(undisturbed[0].checkpoint)["config"], "config.yaml")
    with pytest.raises(ConfigError, match="only name, steps, device, checkpoint_every, comparison may change"):
        small(seed=1).check_resumed(checkpoint.read(undisturbed[0].checkpoint)["config"], "config.yaml")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04", None])
def test_a_torn_checkpoint_is_refused_in_one_line(undisturbed, tmp_path, content, capsys):
    folder = shutil.copytree(undisturbed[0].path, tmp_path / "small")
    (folder / "results.json").unlink(missing_ok=True)
    path = folder / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    (folder / "versions.json").unlink()
    assert_refused(["--resume", str(folder)], f"{path}: not a whole checkpoint", capsys)


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    torch.save({"format": checkpoint.FORMAT, "evil": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ConfigError, match="not a whole checkpoint"):
        checkpoint.read(tmp_path / "checkpoint.pt")
    assert not Evil.done


class Evil:
    done = False

    def __reduce__(self):
        return run_evil, ()


def run_evil():
    Evil.done = True


def test_a_second_process_is_refused_a_run_s_folder(undisturbed, tmp_path, capsys):
    folder = shutil.copytree(undisturbed[0].path, tmp_path / "small")
    (folder / "results.json").unlink(missing_ok=True)
    with files.locked(folder):
        assert_refused(["--resume", str(folder)], f"{folder}: process {os.getpid()} on ", capsys)


def test_a_run_has_not_the_name_of_a_policy_that_it_is_compared_with():
    with pytest.raises(ConfigError, match="name = 'oracle': a policy of the comparison has it"):
        small(name="oracle")


def test_new_folders_go_where_folders_can_be(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "none" / "none")
    (tmp_path / "file").write_text("")
    for parent in (tmp_path / "dangling", tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(ConfigError, match="--runs"):
            RunFolder.create(small(), parent)


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    torch.save({"format": 0}, tmp_path / "checkpoint.pt")
    with pytest.raises(ConfigError, match="format 0; valid: 3"):
        checkpoint.read(tmp_path / "checkpoint.pt")


# --- what a run leaves ------------------------------------------------------------------------------------------------


def test_evaluations_are_logged_beside_the_references(undisturbed):
    folder, observer = undisturbed
    assert observer.last == 192
    assert [row["steps"] for row in observer.rows] == [64, 128, 192]
    with folder.evaluations.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [row["score"] for row in observer.rows]
    assert float(rows[0]["geometric_mean_over_oracle"]) < 1.0
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    assert {"eval/score", "eval/score_less_equal_share", "train/loss", "rollout/ep_rew_mean"} <= set(
        events.Tags()["scalars"]
    )
    assert [(e.step, round(e.value, 4)) for e in events.Scalars("eval/score")] == [
        (row["steps"], round(row["score"], 4)) for row in observer.rows
    ]


def test_the_model_remembers_what_its_actions_mean(undisturbed):
    assert vars(PPO.load(undisturbed[0].model))["env_options"] == {"rate_step": 0.25}


def test_a_model_of_another_network_is_refused_before_anything_runs(undisturbed, capsys):
    from qnum_gym.cli import evaluate

    with pytest.raises(SystemExit) as error:
        evaluate.main(["--env", "Chain-v0", "--policy", f"mine={undisturbed[0].model}"])
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert f"--policy '{undisturbed[0].model}'" in message
    assert "valid for 'chain'" in message


def test_the_comparison_is_what_evaluate_measures(undisturbed):
    from qnum_gym import agents, evaluation
    from qnum_gym import scenario as named

    folder, _ = undisturbed
    compare(small(), folder)
    policies = {"small": agents.make(folder.model), "oracle": agents.make("oracle")}
    again = evaluation.evaluate(named("dumbbell", episode_length=20), policies, range(2))
    saved = json.loads(folder.comparison.read_text())
    for name in policies:
        assert saved["policies"][name] == evaluation.as_json(again)["policies"][name]
    assert list(saved["policies"]) == ["small", "equal_share", "oracle"]
    assert folder.finished


def test_a_finished_run_says_so(undisturbed, capsys):
    folder, _ = undisturbed
    compare(small(), folder)
    before = folder.checkpoint.stat().st_mtime_ns
    assert main(["--resume", str(folder.path)]) == 0
    assert "finished: nothing to resume" in capsys.readouterr().out
    assert folder.checkpoint.stat().st_mtime_ns == before


def test_a_finished_run_can_be_extended(undisturbed, tmp_path, capsys):
    folder = RunFolder(shutil.copytree(undisturbed[0].path, tmp_path / "small"))
    compare(small(), folder)
    assert_refused(["--resume", str(folder.path), "--steps", "100"], "--steps 100: the run is to have 180", capsys)
    assert_refused(["--resume", str(folder.path), "--seed", "1"], "valid: only --resume DIR, --steps, --device", capsys)
    assert folder.finished
    assert main(["--resume", str(folder.path), "--steps", "300"]) == 0
    assert folder.finished
    assert TrainConfig.from_yaml(folder.config) == small(steps=300)
    assert [row["steps"] for row in folder.history()] == [64, 128, 192, 256, 320]
    assert folder.history()[:3] == undisturbed[0].history()


def test_several_seeds_are_runs_of_their_own_and_one_table(tmp_path, capsys):
    small(steps=32).to_yaml(tmp_path / "small.yaml")
    argv = ["--config", str(tmp_path / "small.yaml"), "--runs", str(tmp_path), "--seeds", "2", "--seed", "3"]
    assert main([*argv, "--set", "ppo.n_epochs=1", "--set", "overrides.rate_step=0.1"]) == 0
    folders = [RunFolder(tmp_path / f"small-seed{seed}") for seed in (3, 4)]
    configs = [TrainConfig.from_yaml(folder.config) for folder in folders]
    assert [config.seed for config in configs] == [3, 4]
    assert [vars(config.settings)["n_epochs"] for config in configs] == [1, 1]
    assert configs[0].overrides == {"episode_length": 20, "rate_step": 0.1}
    assert all(folder.finished and folder.curve.is_file() for folder in folders)
    said = capsys.readouterr().out
    both = json.loads((tmp_path / "small-seeds" / "results.json").read_text())["policies"]
    assert list(both) == ["small-seed3", "small-seed4", "equal_share", "oracle"]
    assert f"2 trainings: score {sum(both[f'small-seed{s}']['score']['mean'] for s in (3, 4)) / 2:.3f}, from" in said
    assert (tmp_path / "small-seeds" / "curve.png").is_file()


def test_a_run_may_begin_with_the_weights_of_another(undisturbed, tmp_path, capsys):
    model = str(undisturbed[0].model)
    begun = small(init_from=model, steps=32)
    check(begun, "small")
    folder = RunFolder.create(begun, tmp_path)
    learner = build(begun)
    begin(learner, begun, "small")
    theirs: Any = weights_of(model)
    assert same(dict(learner.policy.state_dict()), dict(theirs))
    run(begun, folder)
    for changes, words in (
        ({"init_from": "nowhere.zip"}, "init_from = 'nowhere.zip'"),
        ({"ppo": {**SMALL["ppo"], "net_arch": [9]}}, "size mismatch"),
        ({"overrides": {**SMALL["overrides"], "rate_step": 0.5}}, "rate_step = 0.25 there, 0.5 here"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            check(small(**{"init_from": model, **changes}), "small")
    with pytest.raises(ConfigError, match="two ways to begin"):
        small(init_from=model, ppo={**SMALL["ppo"], "imitate": "oracle"})


def test_a_gpu_that_there_is_not_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device = 'cuda': torch finds no GPU; valid here: auto, cpu"):
        check(small(device="cuda"), "small")


def test_other_versions_are_named_when_resuming(tmp_path, monkeypatch, capsys):
    folder = RunFolder.create(small(steps=32), tmp_path)
    before = json.loads((folder.path / "versions.json").read_text())
    (folder.path / "versions.json").write_text(json.dumps({**before, "numpy": "1.0"}))
    assert main(["--resume", str(folder.path)]) == 0
    assert f"numpy 1.0 then, {before['numpy']} now" in capsys.readouterr().err


def test_every_new_run_has_a_folder_of_its_own(tmp_path):
    folders = [RunFolder.create(small(), tmp_path) for _ in range(3)]
    assert [folder.path.name for folder in folders] == ["small", "small-2", "small-3"]
    assert TrainConfig.from_yaml(folders[2].config) == small()
    versions = json.loads((folders[0].path / "versions.json").read_text())
    assert versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]  # one may say which build
    assert "qnum-gym" in versions


def test_ppo_learns_to_beat_the_static_allocations(tmp_path):
    shipped = TrainConfig.from_yaml(ROOT / "configs" / "train" / "ppo_dumbbell.yaml")
    config = shipped.replace(
        steps=40_000,
        checkpoint_every=1000,
        evaluation={"every": 1000, "seeds": 4, "references": ["best_static", "oracle"]},
    )
    observer = run(config, RunFolder.create(config, tmp_path))
    (row,) = observer.rows
    assert row["score_low"] > 0.5  # 0.02 for best_static, 1 for the oracle
    assert row["geometric_mean_over_best_static"] > 1.3
    assert row["geometric_mean_over_oracle"] > 0.7
