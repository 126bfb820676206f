"""Wrong arguments, paths and files by the thousand: every command says what is wrong, and writes nothing."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from qnum_gym.cli import evaluate, main, train

ROOT = Path(__file__).parents[1]
CASES = 3200
PARTS = 4


class ReachedError(Exception):
    """The command would have begun its work."""


@pytest.fixture(autouse=True)
def _no_work(monkeypatch):
    """What takes long is not begun."""

    def begin(*_, **__):
        raise ReachedError

    for place in (
        "qnum_gym.evaluation.evaluate", "qnum_gym.evaluation.suite.run", "qnum_gym.evaluation.suite.tasks",
        "qnum_gym.training.run.train",
        "qnum_gym.training.local.train", "qnum_gym.evaluation.tuning.tune", "qnum_gym.optimum.solve",
        "qnum_gym.experiments.reproduce.reproduce", "qnum_gym.cli.simulate.trace",

    ):  # fmt: skip
        monkeypatch.setattr(place, begin)


COMMANDS = {
    "evaluate": (evaluate.main, ["--scenario", "dumbbell", "--policy", "equal_share", "--json"]),
    "suite": (evaluate.main, ["--suite", "test", "--json"]),
    "train": (train.main, ["--config", "{train}", "--runs", "{new}"]),
    "local": (train.main, ["--config", "{local}", "--runs", "{new}"]),
    "optimum": (main.main, ["optimum", "dumbbell"]),
    "network": (main.main, ["network", "randstad.json", "--set", "sessions=3"]),
    "simulate": (main.main, ["simulate", "dumbbell", "--policy", "equal_share"]),
    "reproduce": (main.main, ["reproduce", "latency", "--out", "{new}"]),
    "tune": (main.main, ["tune", "--policy", "aimd", "--scenario", "dumbbell", "--folder", "{new}"]),
    "list": (main.main, ["list"]),
}
WORDS = [
    "",
    " ",
    "x",
    "-1",
    "nan",
    "1.5",
    "1e3",
    "½",
    "1_",
    "a\nb",
    "💥",
    "x" * 300,
    "../..",
    "0x1",
    "None",
    "[1]",
]
VALUES = {  # of options, none of which can be
    "evaluate": {
        "--seeds": [*WORDS, "0"], "--steps": [*WORDS, "0", "7"], "--policy": [*WORDS, "=", "oracle=aimd", "a=nobody"],
        "--set": [*WORDS, "memory=0", "memory=1_000", "coherence_time=nan", "name=[", "swapping=on", "x=1", "=1"],
        "--tasks": ["3"], "--family": ["x"], "--jobs": [*WORDS, "0"], "--colour": WORDS,
    },
    "suite": {
        "--seeds": [*WORDS, "0"], "--tasks": [*WORDS, "0"], "--jobs": [*WORDS, "0"], "--family": WORDS,
        "--steps": ["4"],
        "--policy": [*WORDS, "a=", "oracle=aimd", "a,b", "a=b,c"], "--set": ["a=1"],
    },
    "train": {"--seed": WORDS, "--steps": [*WORDS, "0"], "--name": ["", " ", "../x", "a/b", "oracle", "x\0"]},
    "local": {"--seed": WORDS, "--steps": ["10"], "--name": ["", " ", "../x", "a/b", "-"]},
    "optimum": {
        "--max-utilisation": [*WORDS, "0", "2", "inf"], "--set": ["gate_factor=2", "n", "links=3"], "--colour": WORDS,
    },
    "simulate": {
        "--seconds": ["nan", "inf", "-1", "0", "1.5", "x", "1e300"], "--seed": WORDS, "--policy": WORDS,
        "--png": ["x", "x.jpeg", "LICENSE/x.png", "/proc/none/x.png", "x" * 300 + ".png", ".png/"],
    },
    "network": {
        "--set": ["detour=0.5", "sessions=9999", "max_km=-1", "max_km=x", "parallel=no", "names=x", "fields=[x]"],
        "--png": ["x", "x.jpeg", "LICENSE/x.png"], "--out": ["x", "x.txt", "/proc/none/x.yaml"], "--colour": WORDS,
    },
    "reproduce": {"--config": ["none.yaml", "LICENSE"], "--colour": WORDS},
    "tune": {
        "--trials": [*WORDS, "0"], "--seeds": [*WORDS, "0"], "--steps": [*WORDS, "1"], "--search-seed": WORDS,
        "--policy": [*WORDS, "oracle"], "--scenario": WORDS,
        "--out": ["LICENSE/x.yaml", ".", "/proc/none/x", "y" * 300],
    },
    "list": {"--colour": WORDS, "more": ["more"]},
}  # fmt: skip
FOLDERS = {
    "evaluate": "--out",
    "suite": "--out",
    "train": "--runs",
    "local": "--runs",
    "reproduce": "--out",
    "tune": "--folder",
}
FILES = {  # options that take a file, and what is in a right one
    ("evaluate", "--scenario"): "configs/scenarios/heterogeneous.yaml",
    ("evaluate", "--policy"): "configs/policies/qprimaldual-pi.yaml",
    ("optimum", None): "configs/scenarios/heterogeneous.yaml",
    ("tune", "--scenario"): "configs/scenarios/chain.yaml",
    ("train", "--config"): "configs/train/sac_dumbbell.yaml",
    ("local", "--config"): "configs/train/local.yaml",
    ("reproduce", "--config"): "qnum_gym/experiments/latency.yaml",
}
POISON = [
    None, True, -1, 0, 1.5, float("nan"), float("inf"), -0.0, 10**30, 10**400, 1e308, 5e-324, "", "x",
    "1", "\0", [], [[]],
    {}, {"a": 1}, {"x": []}, [None], ["a", "a"], [-1], "qnum_gym/None-v0", "../x", "💥",
]  # fmt: skip
RAW = [
    "0b1",
    "1_000",
    "1:30",
    "yes",
    "off",
    "!!set {a}",
    "!!python/object:os.system x",
    "*a",
    "1e400",
    "2026-01-31",
    "[",
    "{a: 1, a: 2}",
]


def options_gone_wrong(draw):
    name = draw.choice(list(VALUES))
    option = draw.choice(list(VALUES[name]))
    return name, [option, draw.choice(VALUES[name][option])]


def folder_gone_wrong(draw, tmp_path):
    name = draw.choice(list(FOLDERS))
    place = draw.choice(
        [tmp_path / "file", tmp_path / "file" / "x", tmp_path / "dangling", Path("/proc/none"), Path("z" * 300)]
    )
    return name, [FOLDERS[name], str(place)]


def damaged(draw, text):
    """A file's bytes, torn or foreign or with something in it that cannot be."""
    kind = draw.randrange(6)
    content = text.encode()
    if kind == 0:
        return content[: draw.randrange(len(content))]
    if kind == 1:
        return bytes(draw.randrange(256) for _ in range(draw.randrange(200)))
    if kind == 2:
        place = draw.randrange(len(content))
        return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
    lines = text.splitlines()
    places = [i for i, line in enumerate(lines) if re.match(r"^ *[a-z_]+: ", line)]
    place = draw.choice(places)
    key, _, _ = lines[place].partition(":")
    if kind == 3:
        lines[place] = f"{key}: {draw.choice(RAW)}"
    elif kind == 4:
        lines[place] = f"{key}x: 1"
    else:
        poison = yaml.safe_dump({"v": draw.choice(POISON)}, default_flow_style=True, width=10**6).strip()
        lines[place] = f"{key}: {poison[len('{v: ') : -1] if poison.startswith('{v: ') else 'x'}"
    return "\n".join(lines).encode()


def file_gone_wrong(draw, tmp_path):
    (name, option), right = draw.choice(list(FILES.items()))
    path = tmp_path / "given.yaml"
    kind = draw.randrange(12)
    if kind == 0:
        path = tmp_path / draw.choice(["none.yaml", "none.npz", "none.zip", "file.yaml/x.yaml", "dangling"])
    elif kind == 1:
        path = tmp_path / draw.choice(["torn.npz", "torn.zip", "array.npz", "folder.yaml"])
    else:
        path.write_bytes(damaged(draw, (ROOT / right).read_text(encoding="utf-8")))
    return name, [str(path)] if option is None else [option, str(path)]


def argv_of(name, changes, paths):
    """The command's arguments with others in place of some."""
    run, argv = COMMANDS[name]
    argv = [part.format(**paths) if part.startswith("{") else part for part in argv]
    option, *value = changes
    if not value:
        argv[1] = option
    elif option in argv and option != "--set":
        argv[argv.index(option) + 1] = value[0]
    else:
        argv += [f"{option}={value[0]}"] if option.startswith("--") else [option]
    return run, argv


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "file.yaml").write_text("text")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "none" / "none")
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04torn")
    np.savez(tmp_path / "array.npz", a=np.zeros(3))
    (tmp_path / "torn.npz").write_bytes((tmp_path / "array.npz").read_bytes()[:-40])
    train, local = "configs/train/ppo_dumbbell.yaml", "configs/train/local.yaml"
    return {"train": train, "local": local, "new": str(tmp_path / "new")}


def listing(*folders):
    return {path for folder in folders for path in folder.rglob("*")}


def what_is_wrong_with(run, argv, changes, tmp_path, capsys):
    """None if a wrong command is refused as it should be; `ReachedError` if nothing is wrong with it."""
    before = listing(tmp_path)
    try:
        code = run(argv)
    except SystemExit as end:
        code = end.code
    except ReachedError:
        capsys.readouterr()
        raise
    except BaseException as error:
        capsys.readouterr()
        return f"{type(error).__name__}: {error}"
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    if code != 2 or out or not lines:
        return f"code {code}, {out[:80]!r}, {err[:80]!r}"
    if "problems" not in lines[0] and len(lines) > 1 + changes[-1].count("\n"):
        return err
    if listing(tmp_path) != before:
        return f"wrote {listing(tmp_path) - before}"
    return None


@pytest.mark.parametrize("part", range(PARTS))
def test_three_thousand_wrong_commands(part: int, tmp_path, paths, capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    draw, refused, wrong = random.Random(20261127), 0, []
    for case in range(CASES):  # all are drawn, and a part is run, so that processes can share them
        kind = case % 4
        if kind == 0:
            name, changes = options_gone_wrong(draw)
        elif case % 16 == 1:
            name, changes = folder_gone_wrong(draw, tmp_path)
        else:
            name, changes = file_gone_wrong(draw, tmp_path)
        run, argv = argv_of(name, changes, paths)
        if case * PARTS // CASES != part:
            continue
        try:
            problem = what_is_wrong_with(run, argv, changes, tmp_path, capsys)
            refused += problem is None
        except ReachedError:  # a byte of a comment, a value that may be so: nothing wrong with it
            problem = "was taken" if kind == 0 else None
        if problem:
            given = tmp_path / "given.yaml"
            wrong.append((argv, problem, given.read_bytes()[:300] if str(given) in argv else b""))
    assert not wrong, f"{len(wrong)} of {CASES}, the first: {wrong[:5]}"
    assert refused > 0.75 * CASES / PARTS
