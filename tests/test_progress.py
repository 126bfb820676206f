"""The progress line: what it says on a terminal and in a file, and that nobody has to read it."""

import pytest

from qnum_gym.cli import progress
from qnum_gym.cli.progress import ProgressLine, duration


@pytest.fixture
def clock(monkeypatch):
    """Set its only entry to the time that it shall be, s."""
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_in_a_file_there_is_a_line_now_and_then_with_speed_and_time_left(clock, capsys):
    with ProgressLine("suite") as line:
        for second in range(0, 101, 2):
            clock[0] = float(second)
            line(100 + second, 200, f"second {second}")
    assert capsys.readouterr().err.splitlines() == [
        "suite: 130/200 episodes, 1/s, 1 min 10 s left: second 30",
        "suite: 160/200 episodes, 1/s, 40 s left: second 60",
        "suite: 190/200 episodes, 1/s, 10 s left: second 90",
        "suite: 200/200 episodes, 1/s, 1 min 40 s: second 100",
    ]


def test_on_a_terminal_one_line_rewrites_itself(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with ProgressLine("train", "steps") as line:
        for tenth in range(4):
            clock[0] = 0.06 * tenth
            line(1000 * tenth, 9000)
        line.say("a line that stays")
        clock[0] = 1.0
        line(8000, 9000)
    assert capsys.readouterr().err == (
        "\r\x1b[Ktrain: 0/9000 steps\r\x1b[Ktrain: 2000/9000 steps, 16667/s, 0 s left"
        "\r\x1b[Ka line that stays\n\r\x1b[Ktrain: 8000/9000 steps, 8000/s, 0 s left\n"
    )


def test_what_is_kept_from_before_is_said_at_once(clock, capsys):
    ProgressLine("evaluate")(6, 6, "kept from before")
    assert capsys.readouterr().err == "evaluate: 6/6 episodes: kept from before\n"


def test_work_goes_on_if_nobody_reads(monkeypatch):
    def gone(text):
        raise BrokenPipeError

    monkeypatch.setattr("sys.stderr.write", gone)
    ProgressLine("evaluate")(6, 6)


@pytest.mark.parametrize(
    ("seconds", "words"), [(59.4, "59 s"), (150.0, "2 min 30 s"), (3600.0, "1 h 0 min"), (9000.0, "2 h 30 min")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words
