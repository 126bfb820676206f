"""Files written as a whole, and folders that one process at a time writes to."""

import os
import subprocess
import sys

import pytest

from qnum_gym import files


def test_a_file_is_replaced_without_traces(tmp_path):
    path = tmp_path / "file"
    files.write(path, b"old")
    files.write(path, "neu ─\n")
    assert path.read_bytes() == "neu ─\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_who_is_interrupted_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write(path, "old")

    def fail(number):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_a_device_is_written_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    files.write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    files.write(os.devnull, "text")
    assert not os.path.isfile(os.devnull)


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    code = (
        "import sys, pathlib\nfrom qnum_gym import files\n"
        f"with files.locked(pathlib.Path({str(tmp_path)!r})):\n    print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    with pytest.raises(files.FolderInUseError, match=f"process {other.pid} on "), files.locked(tmp_path):
        pass
    other.kill()  # no chance to tidy up: the lock dies with it
    other.communicate()
    with files.locked(tmp_path), pytest.raises(files.FolderInUseError), files.locked(tmp_path):
        pass
