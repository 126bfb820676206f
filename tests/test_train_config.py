"""Configurations of training runs: those shipped are valid, and wrong ones are refused before anything runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from test_train import OTHERS, SMALL, other, small

from qnum_gym.cli.train import main
from qnum_gym.config import ConfigError
from qnum_gym.training import kinds
from qnum_gym.training.config import TrainConfig
from qnum_gym.training.run import build, check

ROOT = Path(__file__).parents[1]

DUMBBELL = "configs/train/ppo_dumbbell.yaml"
CHOICES, REFUSED = (
    {"overrides": {"action": "single"}},
    "overrides.action = 'single': actions are choices; valid: step, level",
)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where a policy's file that one names is looked for from
    config = kinds.from_yaml(path)
    if isinstance(config, TrainConfig):
        check(config, path.name)
    assert config.name == path.stem


def test_an_algorithm_that_there_is_not_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: x\nalgorithm: shared_poo\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: algorithm = 'shared_poo': did you mean 'shared_ppo'"):
        kinds.from_yaml(path)
    path.write_text("name: x\nalgorithm: shared_ppo\nrollots: 3\n")
    with pytest.raises(ConfigError, match="rollots: unknown key; did you mean 'rollouts'"):
        kinds.from_yaml(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stpes": 3}, "stpes: unknown key; did you mean 'steps'"),
        ({"ppo": {"learning_rat": 1}}, "ppo.learning_rat: unknown key; did you mean 'learning_rate'"),
        ({"ppo": {"gamma": 1.5}}, "ppo.gamma = 1.5: must be less than or equal to 1"),
        ({"ppo": {"policy": "cnn"}}, "ppo.policy = 'cnn': must be 'mlp' or 'graph'"),
        ({"ppo": {"activation": "gelu"}}, "ppo.activation = 'gelu': must be 'tanh' or 'relu'"),
        ({"ppo": {"n_steps": 16, "batch_size": 24}}, "ppo.batch_size = 24: must divide envs * n_steps = 32"),
        ({"algorithm": "sacc"}, "algorithm = 'sacc': must be 'ppo', 'recurrent_ppo' or 'sac'"),
        ({"algorithm": "sac"}, "ppo: settings of an algorithm that is not trained; valid with algorithm = 'sac': sac"),
        ({"ppo": None, "algorithm": "sac", "sac": {"tua": 1}}, "sac.tua: unknown key; did you mean 'tau'"),
        ({"ppo": None, "algorithm": "sac", "sac": {"tau": 0}}, "sac.tau = 0: must be greater than 0"),
        ({"ppo": None, "algorithm": "sac", "sac": {"ent_coef": "atuo"}}, "ent_coef"),
        (
            {"ppo": None, "algorithm": "sac", "sac": {"buffer_size": 1}},
            "sac.buffer_size = 1: must be at least envs = 2",
        ),
        (
            {"ppo": None, "algorithm": "recurrent_ppo", "recurrent_ppo": {"lstm_hidden_size": 0}},
            "recurrent_ppo.lstm_hidden_size = 0: must be greater than or equal to 1",
        ),
        ({"steps": 0}, "steps = 0: must be greater than or equal to 1"),
        ({"steps": "many"}, "steps = 'many': must be a valid integer"),
        ({"name": "../up"}, "name = '../up'"),
        ({"evaluation": {"seeds": -1}}, "evaluation.seeds = -1: must be greater than or equal to 1"),
    ],
)
def test_wrong_configurations_are_refused_with_file_field_value(tmp_path, changes, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    with pytest.raises(ConfigError) as error:
        TrainConfig.from_yaml(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "qnum_gym/Dumbell-v0"}, "env = 'qnum_gym/Dumbell-v0': did you mean 'qnum_gym/Dumbbell-v0'"),
        ({"overrides": {"coherence": 1.0}}, "coherence"),
        ({"overrides": {"observation": "graph"}}, "'graph'}: the observation is no vector; valid: one network"),
        ({"env": "qnum_gym/Families-v0", "overrides": {}}, "env = 'qnum_gym/Families-v0', overrides = {}: the obs"),
        ({"overrides": {"coherence_time": -1.0}}, "coherence_time = -1"),
        ({"evaluation": {"references": ["orcale"]}}, "references = 'orcale': policy = 'orcale': did you mean 'oracle'"),
        ({"comparison": {"policies": ["best"]}}, "comparison.policies = 'best'"),
        ({**CHOICES, "ppo": {"imitate": "oracle"}}, f"ppo.imitate = 'oracle', {REFUSED}"),
        ({**CHOICES, "ppo": {"policy": "graph"}}, f"ppo.policy = 'graph', {REFUSED}"),
    ],
)
def test_what_cannot_be_is_found_before_anything_runs(changes, message):
    with pytest.raises(ConfigError) as error:
        check(small(**changes), "here.yaml")
    assert str(error.value).startswith("here.yaml")
    assert message in str(error.value)


def test_policies_may_be_anything_that_can_be_made():
    own = f"{Path(__file__).with_name('own_policy.py')}:Vegas"
    ppo = {"imitate": own, "imitate_steps": 64}
    check(small(ppo=ppo, evaluation={"references": [own]}, comparison={"policies": [own, "zoo/local"]}), "here.yaml")


def test_choices_are_learned_by_what_knows_them():
    check(small(**CHOICES), "here.yaml")
    with pytest.raises(ConfigError, match=f"^here.yaml: algorithm = 'sac', {REFUSED}$"):
        check(other("sac").replace(**CHOICES), "here.yaml")


@pytest.mark.parametrize("algorithm", OTHERS)
def test_a_configuration_written_holds_the_algorithm_s_section_alone(tmp_path, algorithm):
    config = other(algorithm)
    config.to_yaml(tmp_path / "config.yaml")
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written.keys() & {"ppo", "recurrent_ppo", "sac"} == {algorithm}
    assert TrainConfig.from_yaml(tmp_path / "config.yaml") == config
    assert config.replace(seed=3).settings == config.settings


def test_batch_rule_and_rollouts():
    config = small(steps=33)
    assert config.rollouts == 2
    model: Any = build(config)
    assert model.n_steps * model.n_envs == 32


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["--resume", "nowhere"], "nowhere: no run's folder"),
        (["--config", DUMBBELL, "--set", "ppo.learnin_rate=1"], "ppo.learnin_rate: unknown key; did you mean"),
        (["--config", DUMBBELL, "--set", "steps.x=1"], "--set steps.x: steps = 600000 has no parts"),
        (["--config", DUMBBELL, "--set", "ppo."], "--set 'ppo.': valid: KEY=VALUE, e.g. ppo.learning_rate=1e-3"),
        (["--config", DUMBBELL, "--device", "gpu"], "device = 'gpu'"),
        (
            ["--config", DUMBBELL, "--steps", "0"],
            "--steps: '0': valid: a whole number, at least 1",
        ),
        ([], "one of the arguments --config --resume is required"),
    ],
)
def test_wrong_options_end_with_code_2(argv, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
