"""Lists of kinds: each stands once, and everything else is derived from it."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

Kind = TypeVar("Kind")
K = TypeVar("K")
T = TypeVar("T")


def suggest(word: object, valid: Iterable[object]) -> str:
    """'did you mean "x"? ' if one of `valid` is close to `word`, else ''."""
    by_text = {str(candidate): candidate for candidate in valid}
    close = difflib.get_close_matches(str(word), by_text, n=1)
    return f"did you mean {by_text[close[0]]!r}? " if close else ""


class UnknownKind(ValueError):
    """A name that no registry has. The message names the field, the value and what would be valid."""


class Registry(Generic[Kind]):
    """Kinds by name, in the order in which they were registered; a kind's place is its code in arrays.

    Args:
        field: what holds a kind's name, as messages call it: "measure", "policy".
        group: entry points of other packages that add kinds, such as "qnum_gym.policies"; none if not given.
        made: the kind of a name and of what `file.py:Name` or an entry point gives; without it kinds have no
            `file.py:Name`, and an entry point gives the kind itself.
    """

    def __init__(self, field: str, group: str | None = None, made: Callable[[str, Any], Kind] | None = None) -> None:
        self.field, self.group, self._made = field, group, made
        self._kinds: dict[str, Kind] = {}

    def register(self, name: str, kind: Kind) -> Kind:
        """Add a kind, and give it back.

        Raises:
            ValueError: the name is taken, or is none.
        """
        if not name or name in self._kinds:
            raise ValueError(f"{self.field} = {name!r}: {'registered already' if name else 'not a name'}")
        self._kinds[name] = kind
        return kind

    def registers(self, name: str) -> Callable[[K], K]:
        """`register` as a decorator: `@POLICIES.registers("mine")`."""

        def add(kind: K) -> K:
            self.register(name, cast(Kind, kind))
            return kind

        return add

    def remove(self, name: str) -> None:
        """Take away the last kind registered, if that is its name: the others keep their codes.

        Raises:
            ValueError: another kind came after it, or there is no such kind.
        """
        if not self._kinds or name != next(reversed(self._kinds)):
            raise ValueError(f"{self.field} = {name!r}: valid: the last one registered")
        del self._kinds[name]

    def __getitem__(self, name: str) -> Kind:
        """The kind of that name.

        Raises:
            UnknownKind: there is none.
        """
        try:
            return self._kinds[name]
        except (KeyError, TypeError):
            raise self.unknown(name) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def values(self) -> tuple[Kind, ...]:
        """All kinds, in the order of the codes."""
        return tuple(self._kinds.values())

    def names(self) -> tuple[str, ...]:
        """All names, in the order of the codes."""
        return tuple(self._kinds)

    def code(self, name: str) -> int:
        """Place of a kind; raises as `find`."""
        self.find(name)
        return list(self._kinds).index(name)

    def at(self, code: int) -> Kind:
        """The kind at a place.

        Raises:
            UnknownKind: there is none.
        """
        if not 0 <= code < len(self._kinds):
            raise UnknownKind(f"{self.field} = code {code}: valid: 0 to {len(self._kinds) - 1}")
        return list(self._kinds.values())[code]

    def unknown(self, name: object, also: str = "") -> UnknownKind:
        """The error for a name that is not there; `also` says what else would be valid."""
        valid = ", ".join(self._kinds)
        return UnknownKind(f"{self.field} = {name!r}: {suggest(name, self._kinds)}valid: {valid}{also}")

    def find(self, name: str, also: str | None = None) -> Kind:
        """The kind of that name; what another package offers, or `file.py:Name` names, is registered by asking for it.

        Args:
            name: of the kind.
            also: what else would be valid, for the message.

        Raises:
            ValueError: there is none; the message says what would be valid.
        """
        if name not in self._kinds:
            self.discover()
        if name not in self._kinds:
            if self._made is None or ":" not in name:
                places = "" if self._made is None else ", file.py:Name"
                raise self.unknown(name, places if also is None else also)
            self.register(name, self._made(name, from_source(name, self.field)))
        return self._kinds[name]

    def instance(self, source: Any, base: type[T]) -> T:
        """An object of `base`: by a registered name, "file.py:Class" or "module:Class", by its class, or as it is.

        Raises:
            ValueError: no such name, code that fails, or something that is no `base`.
        """
        also = f", or a subclass of {base.__name__}, also as file.py:Class or module:Class"
        made: Any = source
        if isinstance(source, str) and ":" in source:
            made = from_source(source, self.field)
        elif isinstance(source, str):
            made = self.find(source, also)
        if isinstance(made, type) and issubclass(made, base):
            made = made()
        if not isinstance(made, base):
            raise ValueError(f"{self.field} = {source!r}: valid: {', '.join(self._kinds)}{also}")
        return made

    def discover(self) -> None:
        """Register what other installed packages offer as entry points of `group`, where it is not there yet.

        Warns:
            RuntimeWarning: one cannot be loaded; it is left out.
        """
        for point in metadata.entry_points(group=self.group) if self.group else ():
            if point.name not in self._kinds:
                try:
                    given: Any = point.load()
                    if point.name not in self._kinds:  # its module may have registered it
                        self.register(point.name, self._made(point.name, given) if self._made else given)
                except Exception as error:  # whatever that code raises
                    why = f"{type(error).__name__}: {error}"
                    warnings.warn(
                        f"{self.field} {point.name!r}: {point.value} fails: {why}", RuntimeWarning, stacklevel=2
                    )


def from_source(text: str, field: str) -> Any:
    """What `file.py:Name` or `module:Name` names: a class, a function or an object of somebody else's code.

    Raises:
        ValueError: no such file, module or name, or code that fails when it is imported.
    """
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError(f"{field} = {text!r}: valid: file.py:Name or module:Name")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # whatever that code raises
        raise ValueError(f"{field} = {text!r}: {place} fails: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        public = [known for known in vars(module) if not known.startswith("_")]
        raise ValueError(
            f"{field} = {text!r}: {place} has no {name}; {suggest(name, public)}valid: a name that it defines"
        ) from None


def _from_file(path: Path) -> Any:
    """The module in a file, imported once as it is: what it defines can then be pickled within this process.

    A file that has changed since is another module, as what is kept of its results is under its content.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    source, path = path.read_bytes(), path.resolve()
    name = f"qnum_gym_file:{path}:{hashlib.sha256(source).hexdigest():.16}"
    name = name.replace(".", ":")  # no package: pickle looks for what is before a dot
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module
        try:
            exec(compile(source, path, "exec", dont_inherit=True), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
