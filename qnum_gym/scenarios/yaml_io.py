"""Scenarios as YAML text: the core schema of YAML 1.2, no key twice, one line per node, link and session.

Numbers are 12, -3, 1e-3, .5, 0x1F, 0o17 and .inf; 017 is seventeen. What YAML 1.1 reads otherwise than 1.2 (1_000, 0b1,
1:30, yes, off, 2026-01-31) is refused unless it is in quotes, and so are tags beyond the core, keys that are no text,
numbers too large or too small for 64 bits, and aliases without end. Merge keys (<<) are read.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any, cast

import yaml

from qnum_gym.config import ScenarioError

LISTS = ("nodes", "links", "sessions", "events")
TAG = "tag:yaml.org,2002:"
MOST = 1_000_000  # entries of a file
FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
FORMS = {  # of plain scalars: the core schema, YAML 1.2.2, section 10.3.2
    "null": re.compile(r"null|Null|NULL|~|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(FLOAT.pattern + r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|[-+]?[0-9]+"),
}


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2, and merge keys: each form is read to the last digit, or refused."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = 0  # nodes so far, those that aliases stand for included
        self._sizes: dict[int, int] = {}  # of the nodes composed, by id
        self._mark: Any = None

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node that has none."""
        old: Any = cast(Any, super()).resolve(kind, value, implicit)
        if kind is not yaml.ScalarNode or not implicit[0]:
            return old  # a list, a mapping, or a text in quotes
        for name, form in FORMS.items():
            if form.fullmatch(value):
                return TAG + name
        if old not in (TAG + "str", TAG + "merge"):
            problem = (
                f"{value} is text in YAML 1.2 and {old.removeprefix(TAG)} in YAML 1.1; "
                "valid: the text in quotes, numbers like 1000, 1e3, 0x1F, true, false"
            )
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self._mark)
        return old

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A few lines of aliases can be billions of entries, or hold themselves: neither is read."""
        event: Any = cast(Any, self).peek_event()
        self._mark = event.start_mark
        before, self._count = self._count, self._count + 1
        node = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            self._sizes[id(node)] = self._count - before
        elif id(node) not in self._sizes:
            raise _refused(event, f"alias *{event.anchor} stands within what it stands for")
        else:
            self._count = before + self._sizes[id(node)]
        if self._count > MOST:
            raise _refused(event, f"more than {MOST} entries")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Keys are texts, no two alike."""
        node: Any = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (TAG + "str", TAG + "merge"):
                shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise _refused(key, f"key {shown} is no text; valid: a field's name")
            if key.value in seen:
                raise _refused(key, f"key {key.value!r} is given twice")
            seen.add(key.value)
        return node

    def core(self, node: yaml.Node) -> Any:
        """Null, a truth value, a number or a text."""
        kind = node.tag.removeprefix(TAG)
        if not isinstance(node, yaml.ScalarNode):
            raise _refused(node, f"a list or mapping is no {kind}")
        text: str = node.value
        if kind == "str":
            return text
        if not FORMS[kind].fullmatch(text):
            raise _refused(node, f"{text!r} is no {kind} of YAML 1.2")
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        digits = re.split("[eE]", text)[0]
        if (math.isinf(number) and "inf" not in text.lower()) or (number == 0.0 and re.search("[1-9]", digits)):
            raise _refused(node, f"{text} is beyond what a number of 64 bits can be; valid: 5e-324 to 1.7e308")
        return number

    def unknown(self, node: yaml.Node) -> Any:
        """A tag that the core schema does not have."""
        tag = node.tag.replace(TAG, "!!")
        raise _refused(node, f"tag {tag!r}; valid: mappings, lists, texts, numbers, true, false")


def _refused(where: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


_loader: Any = _Loader
_loader.yaml_constructors = {  # and none of those that its parents have
    **{TAG + kind: _Loader.core for kind in ("null", "bool", "int", "float", "str")},
    **{TAG + kind: _loader.yaml_constructors[TAG + kind] for kind in ("seq", "map")},
    None: _Loader.unknown,
}


class _Row(dict[str, Any]):
    """A mapping to be written on one line."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _row(dumper: yaml.SafeDumper, row: _Row) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", row, flow_style=True)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Quoted and escaped if there is anything unprintable in it: plain, PyYAML loses some line breaks of Unicode."""
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)  # pyright: ignore[reportUnknownMemberType]


# So that a text which looks like such a number is quoted when written.
for _kind, _first in (("float", "-+0123456789."), ("int", "0")):
    cast(Any, _Dumper).add_implicit_resolver(TAG + _kind, re.compile(f"^(?:{FORMS[_kind].pattern})$"), list(_first))
_Dumper.add_representer(_Row, _row)
_Dumper.add_representer(str, _text)


def load(path: str | os.PathLike[str], what: str = "a scenario") -> dict[str, Any]:
    """The fields in the YAML file of `what`; ScenarioError if it can't be read, is not YAML, or is not a mapping."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not a text file in UTF-8 ({error}); give {what}'s YAML file") from None
    except (OSError, ValueError) as error:  # ValueError: what no path may hold
        reason = getattr(error, "strerror", None) or f"cannot be read, {error}"
        raise ScenarioError(f"{path}: {reason}; give the path of {what}'s YAML file") from None
    fields = parse(text, str(path))
    if not isinstance(fields, dict):
        raise ScenarioError(f"{path}: {fields!r:.80}: must be a mapping, the keys of {what} and their values")
    return cast("dict[str, Any]", fields)


def parse(text: str, source: str) -> Any:
    """The value of a YAML text; ScenarioError, naming `source`, if it is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ScenarioError(f"{source}: {place}not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an integer too long
        raise ScenarioError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ScenarioError(f"{source}: not valid YAML: nested too deeply") from None


def dump(fields: dict[str, Any]) -> str:
    """YAML text of a scenario's fields; `load` reads the same back."""
    rows = {key: [_entry(entry) for entry in value] if key in LISTS else value for key, value in fields.items()}
    return yaml.dump(rows, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _entry(row: dict[str, Any]) -> Any:
    """A bare name for a node that is nothing but that, a row for all else."""
    return row["name"] if list(row) == ["name"] else _Row(row)
