"""`Stream`: another network for each episode, drawn from families, from a function, or from a list. [ours]"""

from __future__ import annotations

import copy
import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any, TypeAlias, cast

import numpy as np

from qnum_gym import families
from qnum_gym.digests import of_text
from qnum_gym.registry import suggest
from qnum_gym.scenarios import Scenario, ScenarioError
from qnum_gym.scenarios.sizes import Sizes
from qnum_gym.scenarios.sources import Source, check_overrides, resolve
from qnum_gym.streams.cache import NetworkCache

Rng: TypeAlias = np.random.Generator
Draw: TypeAlias = Callable[[Rng], Scenario]
Origin: TypeAlias = str | Scenario | Draw  # a family or a split, a network, or a function that draws one
Choice: TypeAlias = tuple[int, int]  # which entry, and which of its networks

SIZE = 100  # different networks of a family
MANY = 2**31  # of them, where there is no limit
IN_MEMORY = 1024  # networks


@dataclass(frozen=True, slots=True)
class Entry:
    """What a stream draws from, with a weight.

    Attributes:
        name: a family's or a network's, or a function's; of equal ones the second is "name#2".
        source: the family's name, the network or the function.
        count: how many different networks there are.
    """

    name: str
    source: Origin
    count: int


class Stream:
    """Draws the network of each episode; environments take one as their `scenario`.

    ```python
    stream = qnum_gym.Stream("train", weights={"dumbbell": 3.0})
    env = gym.make("qnum_gym/Scenario-v0", scenario=stream)
    stream.set_weights({"dumbbell": 0.0, "waxman-dynamic": 1.0})  # from the next episode on
    ```

    An environment draws with its own random numbers: equal seeds give equal streams, in scalar, vector and parallel
    environments alike, as long as the weights are the same ones at the same time.

    A network that is new on this machine must be solved, for the score: 50 to 300 ms. What was solved is kept in files
    (`files.cache_folder`), so the first `size` networks of each family cost time once, and after that next to none.

    Args:
        source: one or several of: a family's name (`families.names`), a split ("train": all its families), a
            `Scenario`, or a function that makes one of a random generator.
        size: how many different networks a family or a function has: those with the numbers 0 to size − 1. None: any
            number, so that hardly one comes twice.
        weights: by name; 1 if not given.
        sizes: room for the largest networks that functions draw; that of their networks number 0 if not given.
        overrides: fields of a `Scenario`, which hold for every network.

    Attributes:
        entries: what it draws from. sizes: the room that each network fits into.

    Raises:
        ValueError: an unknown family, or size or weights that cannot be. ScenarioError: an unknown field.
    """

    def __init__(
        self,
        source: Origin | Sequence[Origin] = "train",
        *,
        size: int | None = SIZE,
        weights: Mapping[str, float] | None = None,
        sizes: Sizes | None = None,
        **overrides: Any,
    ) -> None:
        if size is not None and (isinstance(size, bool) or int(size) != size or size < 1):
            raise ValueError(f"size = {size!r}; valid: a positive integer, or None")
        check_overrides(overrides, [*inspect.signature(Stream).parameters, *Scenario.model_fields])
        sources = [source] if isinstance(source, (str, Scenario)) or callable(source) else source
        self.entries = tuple(_entries(sources, MANY if size is None else int(size)))
        self._weights = dict.fromkeys((entry.name for entry in self.entries), 1.0)
        self._overrides = overrides
        self._forget()
        self.sizes = Sizes(*map(max, zip(*self._rooms(sizes), strict=True)))
        if weights is not None:
            self.set_weights(weights)

    def _rooms(self, of_functions: Sizes | None) -> Iterator[Sizes]:
        for which, entry in enumerate(self.entries):
            if isinstance(entry.source, str):
                yield families.family(entry.source).sizes
            elif of_functions and not isinstance(entry.source, Scenario):
                yield of_functions
            else:
                self._drawn[which, 0] = self._draw(which, 0)
                yield Sizes.of([self._drawn[which, 0]])

    def _forget(self) -> None:
        self._networks = NetworkCache()
        self._drawn: dict[Choice, Scenario] = {}

    # --- weights ------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Of the entries."""
        return tuple(self._weights)

    @property
    def weights(self) -> dict[str, float]:
        """How often each entry is drawn from, in proportion (a copy)."""
        return dict(self._weights)

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Draw with other weights from now on; entries that are not named keep theirs.

        Raises:
            ValueError: an unknown name, a weight that is negative or not finite, or all are 0. Nothing is changed then.
        """
        for name, weight in weights.items():
            if name not in self._weights:
                raise ValueError(f"weights: {name!r}: {suggest(name, self.names)}valid: {', '.join(self.names)}")
            if not (math.isfinite(weight) and weight >= 0.0):
                raise ValueError(f"weights: {name} = {weight!r}; valid: 0 and above, finite")
        changed = self._weights | {name: float(weight) for name, weight in weights.items()}
        if not any(changed.values()):
            raise ValueError("weights: all are 0; valid: at least one above")
        self._weights.update(changed)

    # --- networks -----------------------------------------------------------------------------------------------------

    def episode(self, rng: Rng) -> tuple[Scenario, int]:
        """The network of the next episode, and the seed of its simulator, from an environment's random numbers.

        Raises:
            ScenarioError, RuntimeError: what is drawn is impossible, or not worth measuring.
        """
        choice = self._choose(rng)
        seed = int(rng.integers(2**63))
        scenario = self._network(choice)
        self._networks.refer(scenario)
        return scenario, seed

    def sample(self, name: str, index: int) -> Scenario:
        """Network number `index` of an entry.

        Raises:
            ValueError: an unknown name, or an index that the entry has not.
        """
        if name not in self._weights:
            raise ValueError(f"name = {name!r}: {suggest(name, self.names)}valid: {', '.join(self.names)}")
        which = self.names.index(name)
        if not 0 <= index < self.entries[which].count:
            raise ValueError(f"index = {index}; valid: 0 to {self.entries[which].count - 1}")
        return self._network((which, index))

    @property
    def first(self) -> Scenario:
        """A network, for whoever must have one before the first episode."""
        return self._network((0, 0))

    def prepare(self) -> None:
        """Draw and solve all networks now, so that no episode waits.

        Raises:
            ValueError: there is no end of them, as `size` is None.
        """
        if any(entry.count == MANY for entry in self.entries):
            raise ValueError("size = None; valid: a number, as all are to be prepared")
        for which, entry in enumerate(self.entries):
            for index in range(entry.count):
                self._networks.refer(self._network((which, index)))

    def replace(self, **overrides: Any) -> Stream:
        """The same with further fields of every network; weights that are set for one hold for both.

        Raises:
            ScenarioError: an unknown field.
        """
        check_overrides(overrides, list(Scenario.model_fields))
        other = copy.copy(self)
        other._overrides = self._overrides | overrides
        other._forget()
        return other

    def _choose(self, rng: Rng) -> Choice:
        ends = list(accumulate(self._weights.values()))
        which = bisect_right(ends, rng.random() * ends[-1], hi=len(ends) - 1)
        return which, int(rng.integers(self.entries[which].count))

    def _network(self, choice: Choice) -> Scenario:
        if choice not in self._drawn:
            found = self._draw(*choice)
            self.sizes.check(found)
            self._drawn[choice] = found
            for oldest in list(islice(self._drawn, max(len(self._drawn) - IN_MEMORY, 0))):
                del self._drawn[oldest]
        return self._drawn[choice]

    def _draw(self, which: int, index: int) -> Scenario:
        found = self._original(which, index)
        return found.replace(**self._overrides) if self._overrides else found

    def _original(self, which: int, index: int) -> Scenario:
        name, source = self.entries[which].name, self.entries[which].source
        if isinstance(source, str):
            return self._networks.draw(source, index)
        if isinstance(source, Scenario):
            return source
        key = int(of_text(name)[:16], 16)
        made: Any = source(np.random.default_rng(np.random.SeedSequence([key, index])))
        if not isinstance(made, Scenario):
            raise ValueError(f"{name}: gives {made!r:.80}; valid: a function that gives a Scenario")
        return made

    # --- state is data ------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_networks", "_drawn"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __repr__(self) -> str:
        return f"Stream({', '.join(self.names)})"


def resolve_network(
    scenario: Source | Stream, overrides: dict[str, Any], keywords: tuple[str, ...]
) -> Scenario | Stream:
    """As `scenarios.sources.resolve`; also a stream, as it is or as `families` (with `size`) among the overrides.

    Raises:
        ScenarioError: as `resolve`, or there are both a scenario and families.
    """
    given = {key: overrides[key] for key in ("families", "size") if key in overrides}
    fields = {key: value for key, value in overrides.items() if key not in given}
    if "families" not in given and not isinstance(scenario, Stream):
        if "size" in given:
            raise ScenarioError("size: there are no families; valid: with families")
        return resolve(scenario, fields, keywords)
    check_overrides(fields, (*keywords, *Scenario.model_fields))
    if "families" not in given:
        stream = cast(Stream, scenario)
    elif scenario is None:
        stream = Stream(given["families"], size=given.get("size", SIZE))
    else:
        raise ScenarioError("families: there is a scenario too; valid: one of both")
    return stream.replace(**fields) if fields else stream


def _entries(sources: Iterable[Any], size: int) -> list[Entry]:
    found: list[Entry] = []
    for source in sources:
        if isinstance(source, str):
            names = families.names(source) if source in families.SPLITS else (_family(source),)
            found += [Entry(name, name, size) for name in names]
        elif isinstance(source, Scenario):
            found.append(Entry(source.name, source, 1))
        elif callable(source):
            found.append(Entry(getattr(source, "__name__", type(source).__name__), cast(Draw, source), size))
        else:
            raise ValueError(f"source = {source!r:.80}; valid: {VALID}")
    if not found:
        raise ValueError(f"source: empty; valid: {VALID}")
    return [Entry(name, entry.source, entry.count) for name, entry in zip(_unique(found), found, strict=True)]


VALID = "a family, a split, a Scenario, a function that makes one of a random generator, or several of these"


def _family(name: str) -> str:
    if name not in families.names():
        valid = [*families.SPLITS, *families.names()]
        raise ValueError(f"source = {name!r}: {suggest(name, valid)}valid: {', '.join(valid)}")
    return name


def _unique(entries: Sequence[Entry]) -> list[str]:
    """The entries' names, of equal ones each with its number."""
    names: list[str] = []
    for entry in entries:
        before = sum(name == entry.name or name.startswith(f"{entry.name}#") for name in names)
        names.append(f"{entry.name}#{before + 1}" if before else entry.name)
    return names
