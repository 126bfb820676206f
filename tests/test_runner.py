"""The runner: batches, processes and the store change no bit, nothing runs twice, and what breaks is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import qnum_gym
from qnum_gym import digests
from qnum_gym.evaluation import Job, PolicySpec, Processes, Store, WorkerError, provenance, runner
from qnum_gym.evaluation.provenance import identity
from qnum_gym.experiments.recording import Recorder
from qnum_gym.physics import measures

SHORT = qnum_gym.scenario("chain", nodes=3, episode_length=4)
OTHER = qnum_gym.scenario("chain", nodes=3, episode_length=4, coherence_time=50.0)
LONGER = qnum_gym.scenario("chain", nodes=4, episode_length=6)
ORACLE, STATIC = PolicySpec.of("oracle"), PolicySpec.of("best_static")


def jobs(seeds=(3, 0, 1)):
    return [
        Job(policy, scenario, seeds, recorder)
        for policy in (ORACLE, PolicySpec.of("random"))
        for scenario in (SHORT, OTHER, LONGER)
        for recorder in (runner.OUTCOMES, Recorder(series=True))
    ]


def same(mine, theirs):
    assert len(mine) == len(theirs)
    for records, others in zip(mine, theirs, strict=True):
        for record, other in zip(records, others, strict=True):
            assert record.keys() == other.keys()
            for name, values in record.items():
                np.testing.assert_array_equal(values, other[name])


@pytest.fixture
def simulated(monkeypatch):
    """The (policy, scenario, seed) of all episodes that were run."""
    ran, simulate = [], runner.simulate

    def told(batch, threads):
        ran.extend(
            (batch.policy.label, scenario, seed) for scenario, seed in zip(batch.scenarios, batch.seeds, strict=True)
        )
        return simulate(batch, threads)

    monkeypatch.setattr(runner, "simulate", told)
    return ran


# --- the same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.bits
def test_batches_and_the_store_change_no_bit(tmp_path, monkeypatch):
    alone = [runner.run([job])[0] for job in jobs()]
    same(runner.run(jobs()), alone)
    store = Store(tmp_path)
    runner.run(jobs(seeds=[1]), store=store)  # the rest runs in other company
    same(runner.run(jobs(), store=store), alone)
    same(runner.run(jobs(), store=Store(tmp_path)), alone)
    monkeypatch.setattr(runner, "AT_ONCE", 2)
    same(runner.run(jobs()), alone)


def test_batches_hold_networks_of_equal_shape_and_jobs_in_one_piece(monkeypatch):
    monkeypatch.setattr(runner, "AT_ONCE", 7)
    batches = []

    def count(batch, threads):
        batches.append(batch)
        return [{}] * len(batch.seeds)

    monkeypatch.setattr(runner, "simulate", count)
    some = [Job(STATIC, scenario, range(3)) for scenario in (SHORT, LONGER, OTHER, SHORT.replace(window=9))]
    runner.run([*some, Job(STATIC, SHORT.replace(window=8), range(8))])
    seeds = [batch.seeds for batch in batches]
    assert sorted(seeds) == sorted([(0, 1, 2, 0, 1, 2), (0, 1, 2), (0, 1, 2), tuple(range(7)), (7,)])
    assert all(len({len(scenario.links) for scenario in batch.scenarios}) == 1 for batch in batches)
    works = [batch.work for batch in batches]
    assert works == sorted(works, reverse=True)


# --- nothing runs twice -----------------------------------------------------------------------------------------------


def test_what_several_jobs_ask_for_runs_once(simulated):
    twice = [Job(ORACLE, SHORT, [0, 1]), Job(PolicySpec.of("oracle", "another label"), SHORT, [1, 2])]
    first, second = runner.run(twice)
    assert sorted(seed for *_, seed in simulated) == [0, 1, 2]
    np.testing.assert_array_equal(first[1]["rate"], second[0]["rate"])


def test_only_what_is_missing_runs_and_a_broken_file_counts_as_none(simulated, tmp_path):
    before = runner.run([Job(STATIC, SHORT, [0])], store=Store(tmp_path))
    runner.run([Job(STATIC, SHORT, [0, 1]), Job(STATIC, LONGER, [0])], store=Store(tmp_path))
    assert [seed for *_, seed in simulated] == [0, 0, 1]
    first, second = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    whole, told = second.read_bytes(), []
    for content in (whole[:-9], whole[: len(whole) // 2], b"", b"junk", first.read_bytes()):
        second.write_bytes(content)
        del simulated[:]
        del told[:]
        again = runner.run([Job(STATIC, SHORT, [0])], store=Store(tmp_path), progress=lambda *what: told.append(what))
        same(again, before)
        assert len(simulated) == 1
        assert told == [(0, 1, "kept from before"), (1, 1, "best_static, chain")]
    assert second.read_bytes() != first.read_bytes()


def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    undisturbed = runner.run(jobs())
    simulate, ran = runner.simulate, []

    def tired(batch, threads):
        ran.append(batch)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return simulate(batch, threads)

    monkeypatch.setattr(runner, "simulate", tired)
    with pytest.raises(KeyboardInterrupt):
        runner.run(jobs(), store=Store(tmp_path))
    told = []
    same(runner.run(jobs(), store=Store(tmp_path), progress=lambda done, *_: told.append(done)), undisturbed)
    assert told[0] == sum(len(batch.seeds) for batch in ran[:2]) > 0


# --- what decides the numbers -----------------------------------------------------------------------------------------


def test_keys_tell_apart_what_gives_other_numbers():
    others = [
        Job(ORACLE, OTHER, [0]), Job(STATIC, SHORT, [0]), Job(ORACLE, SHORT, [0], Recorder(series=True)),
        Job(ORACLE, SHORT, [0], Recorder(series=False)), Job(PolicySpec.of("oracle", utilisation=0.9), SHORT, [0]),
    ]  # fmt: skip
    keys = runner._keys([Job(ORACLE, SHORT, [0]), *others])
    assert len(set(keys)) == len(keys)
    assert runner._keys([Job(PolicySpec.of("oracle", "label"), SHORT, [5])]) == keys[:1]


def test_a_policy_file_counts_with_its_bytes(tmp_path):
    policy = tmp_path / "mine.yaml"
    policy.write_text("policy: aimd\n")
    before = identity(PolicySpec.of(str(policy)))
    policy.write_text("policy: aimd\noptions: {}\n")
    assert identity(PolicySpec.of(str(policy))) != before
    weights = tmp_path / "mine.npz"
    weights.write_bytes(Path(qnum_gym.agents.__file__).with_name("zoo").joinpath("local.npz").read_bytes())
    before = identity(PolicySpec.of(str(weights)))
    weights.write_bytes(weights.read_bytes() + b" ")
    assert identity(PolicySpec.of(str(weights))) != before
    assert len({identity(PolicySpec.of(name)) for name in qnum_gym.agents.names()}) == len(qnum_gym.agents.names())


def test_formulas_of_other_people_count_with_their_bytes(tmp_path):
    file = tmp_path / "mine.py"
    text = "def half(w):\n    return {0} * w, {0} * w, 0.0 * w\n"
    file.write_text(text.format(0.5))
    mine = SHORT.replace(measure=f"{file}:half")
    keys = [runner._keys([Job(STATIC, scenario, [0])]) for scenario in (SHORT, mine)]
    with Processes(2) as processes:  # where nobody has registered it
        same(
            runner.run([Job(STATIC, mine, [0]), Job(ORACLE, mine, [0])], processes=processes),
            runner.run([Job(STATIC, mine, [0]), Job(ORACLE, mine, [0])]),
        )
    file.write_text(text.format(0.25))
    assert [
        runner._keys([Job(STATIC, scenario, [0])]) == key for scenario, key in zip((SHORT, mine), keys, strict=True)
    ] == [True, False]
    measures.MEASURES.remove(f"{file}:half")


def test_all_code_counts_but_what_only_uses_numbers():
    package, policies = Path(qnum_gym.__file__).parent, Path(qnum_gym.agents.__file__).parent
    beneath = set(provenance.beneath().values())
    assert beneath.isdisjoint(
        file for name in provenance.ABOVE for file in [package / name, *(package / name).rglob("*")]
    )
    assert all((package / name).exists() for name in provenance.ABOVE)
    for part in ("simulator", "envs", "optimum", "physics", "scenarios", "evaluation/runner.py", "config.py"):
        assert beneath.issuperset([package / part] if part.endswith(".py") else (package / part).rglob("*.py"))
    assert beneath.issuperset(policies.rglob("*.py"))


def test_versions_of_the_libraries_count(monkeypatch):
    before = identity(STATIC)
    version = digests.metadata.version
    monkeypatch.setattr(digests.metadata, "version", lambda name: "0" if name == "torch" else version(name))
    assert identity(STATIC) == before
    monkeypatch.setattr(digests.metadata, "version", lambda name: "0" if name == "numba" else version(name))
    assert identity(STATIC) != before


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.bits
def test_processes_change_no_bit_and_one_that_dies_is_said(tmp_path):
    with Processes(2) as processes:
        of_a_file = Job(PolicySpec.of(f"{Path(__file__).with_name('own_policy.py')}:Vegas"), SHORT, (3, 0))
        all_jobs = [*jobs(), of_a_file]
        same(runner.run(all_jobs, store=Store(tmp_path), processes=processes), runner.run(all_jobs))
        with pytest.raises(WorkerError, match="one of 2 processes has died, killed or without memory"):
            list(processes.map(die, [0, 1, 2]))


def die(piece, threads):
    os.kill(os.getpid(), signal.SIGKILL)


SLEEPERS = """
import sys, time
from qnum_gym.cli.common import Parser, run
from qnum_gym.evaluation.processes import Processes

def sleep(piece, threads):
    import os, pathlib
    pathlib.Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(600)

def command(arguments):
    with Processes(2) as processes:
        list(processes.map(sleep, [0, 1]))

if __name__ == "__main__":
    parser = Parser()
    parser.add_argument("folder")
    sys.exit(run(command, parser, None))
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes there")
def test_workers_end_with_the_command_however_it_ends(tmp_path):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        folder = tmp_path / number.name
        folder.mkdir()
        process = subprocess.Popen([sys.executable, str(script), str(folder)], stderr=subprocess.PIPE)
        _wait(lambda folder=folder: len(list(folder.iterdir())) == 2)
        process.send_signal(number)
        process.communicate()
        assert process.returncode == code
        _wait(lambda folder=folder: not any(_lives(int(path.name)) for path in folder.iterdir()))


def _wait(until):
    deadline = time.monotonic() + 300.0
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid):
    try:
        os.kill(pid, 0)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()  # one that nobody waits for is over, too
    except (ProcessLookupError, FileNotFoundError):
        return False
