"""What code and documents cite is there: sections and equations of docs/model.md, links, files, names and commands."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qnum_gym.cli import evaluate, main, train

ROOT = Path(__file__).parent.parent
MODEL = (ROOT / "docs/model.md").read_text(encoding="utf-8")
CODE = {file for room in ("qnum_gym", "agents", "tests", "benchmarks") for file in (ROOT / room).rglob("*.py")}
DOCS = [ROOT / "README.md", *sorted(ROOT.glob("CONTRIBUTING.md")), *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "qnum_gym|agents|configs|tests|docs|benchmarks|examples"
PARSERS = {"evaluate.py": evaluate.parser(), "train.py": train.parser(), "qnum-gym": main.parser()}


# ---- sections and equations ------------------------------------------------------------------------------------------


def sections(model: str) -> list[str]:
    """Numbers of headings and of numbered paragraphs: "4", "4.6"."""
    return re.findall(r"^(?:#+ |\*\*)(\d+(?:\.\d+)*)\b", model, re.MULTILINE)


def equations(model: str) -> list[str]:
    """Numbers at the beginning of a line in a block of code: "14", "14'"."""
    return re.findall(r"^ {4,6}\((\d+'*)\)  ", model, re.MULTILINE)


def missing(prose: str, model: str = MODEL) -> list[str]:
    """What `prose` cites and `model` has not; "eq. (3)" is another work's."""
    cited = [f"§{number}" for number in re.findall(r"§ ?(\d+(?:\.\d+)*)", prose)]
    cited += [f"({number})" for number in re.findall(r"(?:(?<=[\s–(-])|^)(?<!eq\. )\((\d\d?'*)\)", prose)]
    known = {f"§{number}" for number in sections(model)} | {f"({number})" for number in equations(model)}
    return [number for number in cited if number not in known]


def prose_of(file: Path) -> str:
    """A file's text without the rows of tables, where numbers in brackets are data."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("|") or "§" in line)


def test_sections_and_equations_are_in_the_model() -> None:
    files = [*(CODE - {Path(__file__)}), *DOCS, *(ROOT / "configs").rglob("*.yaml")]
    assert not {str(file): found for file in files if (found := missing(prose_of(file)))}


def test_every_number_stands_once_and_every_equation_has_an_anchor() -> None:
    assert max(Counter(sections(MODEL)).values()) == max(Counter(equations(MODEL)).values()) == 1
    anchors = re.findall(r'<a id="eq-(\d+p*)">', MODEL)
    assert sorted(anchors) == sorted(number.replace("'", "p") for number in equations(MODEL))


def test_a_wrong_number_is_found() -> None:
    model = "## 3. Pairs\n\n**3.1** text\n\n    (14')  x = y\n"
    assert not missing("§3, §3.1 and (14'); f(15), 0.9 (30 s), (Smith, eq. (15))", model)
    assert missing("§4, §3.2, (14) and (14')", model) == ["§4", "§3.2", "(14)"]


# ---- links, files, names ---------------------------------------------------------------------------------------------


def anchors(document: str) -> set[str]:
    """What GitHub makes of the headings, and anchors by hand."""
    headings = [heading.replace("`", "") for heading in re.findall(r"^#+ (.+)$", document, re.MULTILINE)]
    made = {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[(.+?)\]\(.+?\)", r"\1", text).lower()).replace(" ", "-") for text in headings
    }
    return made | set(re.findall(r'<a id="([^"]+)">', document))


@pytest.mark.parametrize("document", DOCS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("document", DOCS, ids=lambda document: document.name)
def test_files_and_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for path in re.findall(rf"(?<![\w/.])(?:{FOLDERS})/[\w./-]*\w\.(?:py|md|yaml|npz|png|json|txt)\b", text):
        assert (ROOT / path).exists() or "NAME" in path, path
    for name in re.findall(r"\bqnum_gym((?:\.\w+)+)", text):
        assert known(name[1:].split(".")), name


def known(parts: list[str]) -> bool:
    """Whether qnum_gym.PARTS is a module, or a name in the text of the one that its beginning names."""
    place = ROOT if parts[0] == "agents" else ROOT / "qnum_gym"
    while parts and ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
        place, parts = place / parts[0], parts[1:]
    files = [place.with_suffix(".py")] if place.with_suffix(".py").is_file() else list(place.glob("*.py"))
    return not parts or any(re.search(rf"\b{parts[0]}\b", file.read_text(encoding="utf-8")) for file in files)


# ---- commands --------------------------------------------------------------------------------------------------------


def commands(document: str) -> Iterator[list[str]]:
    """The words of each command in a block of code or between backticks."""
    document = document.replace("\\\n", " ")
    blocks = re.findall(r"^(?: {4,}.*|(?:python|make|qnum-gym) .*)$", document, re.MULTILINE)
    for text in blocks + re.findall(r"(?<!`)`([^`]+)`(?!`)", document):
        words = (
            re.split(r"   +\(|#", text.strip())[0].replace("[", " ").replace("]", " ").replace(".venv/bin/", "").split()
        )
        if words[:1] == ["python"]:
            words = words[1:]
        if words[:1] == ["make"] or words[:1] == ["-m"] or (words and words[0] in PARSERS):
            yield words


def option_names(parser: argparse.ArgumentParser, words: list[str]) -> tuple[set[str], list[str]]:
    """The options of a command or of its subcommand, and the words that are left."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and words and not words[0].startswith("-"):
            assert words[0] in action.choices, words
            return option_names(action.choices[words[0]], words[1:])
    return {name for action in parser._actions for name in action.option_strings}, words


@pytest.mark.parametrize("document", DOCS, ids=lambda document: document.name)
def test_commands_and_their_options_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for program, *words in commands(document.read_text(encoding="utf-8")):
        if program == "make":
            assert not words or words[0] in targets, words
        elif program == "-m":
            assert (
                words[0].split(".")[0] in ("pytest", "pip")
                or (ROOT / words[0].replace(".", "/")).exists()
                or (ROOT / f"{words[0].replace('.', '/')}.py").exists()
            ), words
        else:
            valid, rest = option_names(PARSERS[program], words)
            used = {word.partition("=")[0].rstrip(".,;:)") for word in rest if word.startswith("--")}
            assert used <= valid, (program, *words)
