"""YAML as text: the core schema of YAML 1.2, and what is refused by name."""

import math

import pytest

from qnum_gym.scenarios import ScenarioError
from qnum_gym.scenarios.yaml_io import dump, load, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3", -3), ("+1", 1), ("017", 17), ("08", 8), ("0o17", 15), ("0x1F", 31), ("1e3", 1000.0),
        ("1E-3", 0.001), (".5", 0.5), ("1.", 1.0), ("-.5e1", -5.0), (".inf", math.inf), ("-.INF", -math.inf),
        ("0e5", 0.0), ("!!float 3", 3.0), ("true", True), ("FALSE", False), ("~", None), ("null", None), ("", None),
        ("'0b1'", "0b1"), ('"yes"', "yes"), ("!!str 1_000", "1_000"), ("y", "y"), ("1,000", "1,000"), ("0o8", "0o8"),
        ("[&x 1, *x]", [1, 1]), ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}),
        ("[1, a]", [1, "a"]), ("{a: {b: 1}}", {"a": {"b": 1}}), ("&a 3", 3),
    ],
)  # fmt: skip
def test_what_yaml_1_2_reads(text, value):
    found = parse(text, "here")
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number():
    assert math.isnan(parse(".nan", "here"))


@pytest.mark.parametrize(
    "text",
    [
        *("0b1", "1_000", "500_000", "-0x1F", "1:30", "190:20:30.15", "1_0.5", "yes", "No", "on", "OFF", "=", "<<"),
        *("2026-01-31", "2026-01-31T10:00:00Z", "1e400", "-1e400", "1e-400", "9" * 5000),
        *("!!set {a}", "!!omap [a: 1]", "!!binary aGk=", "!!python/object:os.system x"),
        *("!!python/name:os.system", "!own 3"),
        *("!!int 0b1", "!!int [1]", "!!str [a]", "!!bool yes", "!!float 1_0.0", "!!map [1]", "!!timestamp 2026-01-31"),
        *("{a: 1, a: 2}", "{a: 1, 'a': 2}", "{1: 2}", "{.nan: 1}", "{[a]: 1}", "{~: 1}","{0b1: 2}"),
        *("{on: 1}", "? {a: 1}\n: 2"),
        *("<<: 3", "a: <<", "&a [*a]", "&a {b: *a}", "*a", "[" * 5000, "1\n---\n2", "a: \x07", "{a", "a: b: c"),
    ],
)  # fmt: skip
def test_what_is_refused_in_one_line_that_names_the_source(text):
    with pytest.raises(ScenarioError) as error:
        parse(text, "here.yaml")
    assert str(error.value).startswith("here.yaml: ")
    assert "\n" not in str(error.value)


def test_aliases_that_would_be_billions_of_entries_are_refused_at_once():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ScenarioError, match="more than 1000000 entries"):
        parse("\n".join(lines), "here")


@pytest.mark.parametrize(
    "text", ["0b1", "1_000", "017", "0o17", "0x1F", "1e3", "yes", "1:30", "2026-01-31", ".nan", "=", "~", "", "a: b"]
)
def test_a_text_is_written_so_that_it_is_read_as_text(text):
    assert parse(dump({"name": text}), "here") == {"name": text}


def test_a_path_that_can_be_none_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(ScenarioError, match="give the path of a scenario's YAML file"):
            load(path)
