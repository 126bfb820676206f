"""A list of kinds stands once; what is unknown is refused."""

from __future__ import annotations

import pytest

from qnum_gym.registry import Registry, UnknownKind, from_source


@pytest.fixture
def colours() -> Registry[int]:
    registry = Registry[int]("colour")
    registry.register("red", 5)
    registry.register("green", 7)
    return registry


def test_a_kind_has_a_name_and_a_code(colours):
    assert colours.names() == ("red", "green")
    assert colours["green"] == colours.at(1) == 7
    assert colours.code("green") == 1


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda c: c["gren"], "colour = 'gren': did you mean 'green'? valid: red, green"),
        (lambda c: c.code(None), "colour = None: valid: red, green"),
        (lambda c: c.at(2), "colour = code 2: valid: 0 to 1"),
        (lambda c: c.at(-1), "colour = code -1: valid: 0 to 1"),
        (lambda c: c.register("red", 1), "colour = 'red': registered already"),
        (lambda c: c.remove("red"), "colour = 'red': valid: the last one registered"),
    ],
)
def test_what_is_unknown_is_refused(colours, ask, said):
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        ask(colours)
    assert str(refused.value) == said
    assert colours.names() == ("red", "green")


def test_the_last_one_can_go(colours):
    colours.registers("blue")(9)
    colours.remove("blue")
    assert "blue" not in colours
    with pytest.raises(UnknownKind):
        colours["blue"]


def test_code_of_somebody_else(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    pass\n")
    mine = from_source(f"{file}:Mine", "policy")
    assert mine.__name__ == "Mine"
    assert from_source(f"{file}:Mine", "policy") is mine
    assert from_source("fractions:Fraction", "policy").__name__ == "Fraction"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine", "policy = 'mine': valid: file.py:Name or module:Name"),
        ("nowhere.py:Mine", "policy = 'nowhere.py:Mine': nowhere.py fails: FileNotFoundError: no such file"),
        ("no_such_module_here:Mine", "no_such_module_here fails: ModuleNotFoundError"),
        ("fractions:Fractoin", "fractions has no Fractoin; did you mean 'Fraction'?"),
        ("{}:Mine", "fails: ZeroDivisionError: division by zero"),
    ],
)
def test_code_that_is_not_there_is_refused_in_words(text, said, tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match="policy = ") as refused:
        from_source(text.format(tmp_path / "bad.py"), "policy")
    assert said in str(refused.value)
