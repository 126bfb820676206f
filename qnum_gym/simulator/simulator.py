"""`Simulator`: the packet-level network behind one small interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.caching import announce
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import formulas
from qnum_gym.simulator import kernel as compiled
from qnum_gym.simulator import recording as of_records
from qnum_gym.simulator.kernel import rules, swapping
from qnum_gym.simulator.sealing import check_version, open_seal, physics, seal
from qnum_gym.simulator.state import (
    CLOCK_END,
    CODED,
    COLUMNS,
    RECORD,
    SECOND,
    State,
    address_row,
    build,
    grow_datagrams,
    unseeded,
    zeros,
)
from qnum_gym.simulator.telemetry import Controls, Telemetry
from qnum_gym.simulator.turn import Turn, in_turn

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

kernel: Any = compiled  # numba has no types

BUFFER = 2**14  # records of q-datagrams, 1 MB
LARGEST_SIGNAL = 1e100  # of either sign: sums along routes and over an interval stay finite

Floats = NDArray[np.float64]
Bounds = tuple[tuple[Floats, Floats], tuple[Floats, Floats]]  # lowest and highest rates, Werner parameters


def real(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """`values` as a float array of `shape`, or a ValueError: another shape, or no plain array of real numbers."""
    given: Any = values
    array: NDArray[Any] = given if type(given) is np.ndarray else _plain(name, given, shape)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} is of {array.dtype}; valid: real numbers of shape {shape}")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; valid: {shape}")
    return np.asarray(array, dtype=np.float64, order="C")  # which leaves no axis an axis


def _plain(name: str, given: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Whatever it is as an array without a mask."""
    parts: list[Any] = [given, *cast("list[Any]", given)] if isinstance(given, (list, tuple)) else [given]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise ValueError(f"{name} is a masked array; valid: real numbers of shape {shape}")
    try:
        return np.asarray(cast("ArrayLike", given))
    except Exception as error:  # whatever the object's own conversion raises
        raise ValueError(f"{name} is no array ({error}); valid: real numbers of shape {shape}") from None


def checked(name: str, values: ArrayLike, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` as a float array within [low, high], or a ValueError that names the first entry that is not."""
    array = real(name, values, low.shape)
    valid = (array >= low) & (array <= high)
    if not valid.all():
        i = tuple(int(k) for k in np.argwhere(~valid)[0])
        where = ", ".join(map(str, i))
        raise ValueError(f"{name}[{where}] = {array[i]}; valid: {low[i]:g} to {high[i]:g}")
    return array


def positive(seconds: ArrayLike, count: int) -> Floats:
    """[count] times to advance, s, or a ValueError that names the first that is none."""
    spans = np.ascontiguousarray(np.broadcast_to(np.asarray(seconds, dtype=np.float64), (count,)))
    valid = (spans > 0.0) & (spans <= CLOCK_END / SECOND)
    if not valid.all():
        raise ValueError(f"seconds = {spans[~valid][0]}; valid: more than 0, and at most {CLOCK_END / SECOND:g} in all")
    return spans


def past_the_end(simulator: Simulator, seconds: float) -> ValueError:
    """The error of an advance beyond the end of the clock."""
    return ValueError(
        f"seconds = {seconds:g} after {simulator.time:g} s; valid: at most {CLOCK_END / SECOND:g} s of simulated time"
    )


def _finite(like: tuple[Floats, Floats], values: ArrayLike | None) -> tuple[Floats, Floats]:
    """Bounds of the shape of `like` for signals."""
    if values is None:
        return like
    largest = np.full_like(like[0], LARGEST_SIGNAL)
    return -largest, largest


def check_ready(ready: NDArray[np.bool_]) -> None:
    """Raise a RuntimeError unless all simulators are `ready` [n]: no call of theirs was interrupted."""
    if not ready.all():
        raise RuntimeError("an earlier call was interrupted: call reset() first")


def put_controls(
    table: NDArray[np.int64],
    ready: NDArray[np.bool_],
    bounds: Bounds,
    rates: ArrayLike | None,
    werner: ArrayLike | None,
    session_signals: ArrayLike | None,
    link_signals: ArrayLike | None,
) -> None:
    """Check all controls of the networks of `table`, then put them in force: nothing is changed if one is refused."""
    given = (
        ("rates", rates, *bounds[0], kernel.set_rates),
        ("werner", werner, *bounds[1], kernel.set_werner),
        ("session_signals", session_signals, *_finite(bounds[0], session_signals), kernel.set_session_signals),
        ("link_signals", link_signals, *_finite(bounds[1], link_signals), kernel.set_link_signals),
    )
    orders = [(put, checked(name, x, low, high)) for name, x, low, high, put in given if x is not None]
    check_ready(ready)
    ready[:] = False
    for put, values in orders:
        put(table, 0, len(table), values.reshape(len(table), -1))
    ready[:] = True


class Simulator:
    """A packet-level quantum network that runs a scenario (model.md §4).

    Args:
        scenario: what to simulate.
        seed: of every random stream; equal seeds and equal controls give equal bits.
        trace: keep a log of every event, see `events_log`.
        recording: keep what became of every q-datagram, see `pairs` and `take_records`. Also an attribute, which
            holds from the next reset on.

    Before the first `set_controls` the scenario's `initial_rate` and `initial_werner` are in force. Threads that use
    one simulator take turns. After a call that was interrupted (Ctrl-C) it asks for `reset` or `set_state`
    (RuntimeError).
    """

    def __init__(self, scenario: Scenario, seed: int = 0, *, trace: bool = False, recording: bool = False) -> None:
        self.scenario = scenario
        self.trace = trace
        self.recording = recording
        self._prepare()
        self.reset(seed)

    def _prepare(self) -> None:
        a = self.scenario.arrays(0.0)
        self._rate_bounds = np.asarray(a.rate_min, float), np.asarray(a.rate_max, float)
        self._werner_bounds = np.asarray(a.werner_min, float), np.asarray(a.werner_max, float)
        self._table = np.zeros((1, COLUMNS), np.int64)
        self._ready = np.zeros(1, np.bool_)  # not while anything is half done
        self._turn = Turn()
        self._records: list[np.ndarray] = []  # moved out of the buffer

    def _adopt(self, state: State) -> None:
        self._state = state
        formulas.prepare(state.sessions["measure"], state.links["model"], state.sessions["pacing"])
        rules.prepare(state.links)
        swapping.prepare(state.clock)
        self._table[0] = address_row(state, formulas.TABLE, rules.TABLE)

    @in_turn
    def reset(self, seed: int = 0) -> None:
        """Back to time 0 with the random streams of `seed`."""
        if self.scenario.simulator == "fluid" and (self.trace or self.recording):
            raise ValueError("simulator = 'fluid' has neither events nor q-datagrams to record; valid: 'packet'")
        state = self._buffered(build(self.scenario, seed, log=1024 if self.trace else 0))
        self._records = []
        self._ready[0] = False
        self._adopt(state)
        announce(kernel.start)
        kernel.start(self._table, 0, 1)
        self._ready[0] = True

    @property
    def time(self) -> float:
        """Simulated seconds since the start."""
        return float(self._state.clock["now"][0]) / SECOND

    @property
    def controls(self) -> Controls:
        """The controls in force (copies)."""
        sessions, links = self._state.sessions, self._state.links
        return Controls(
            sessions["rate"].copy(), links["werner"].copy(), sessions["signal"].copy(), links["signal"].copy()
        )

    @in_turn
    def set_controls(
        self,
        rates: ArrayLike | None = None,
        werner: ArrayLike | None = None,
        session_signals: ArrayLike | None = None,
        link_signals: ArrayLike | None = None,
    ) -> None:
        """Put controls in force at once; None leaves one as it is.

        Args:
            rates: [R] injection rates, 1/s, within the sessions' `rate_range`.
            werner: [L] Werner parameters of fresh pairs, within the links' `werner_range`.
            session_signals: [R] what headers carry, within ±1e100.
            link_signals: [L] likewise.

        Raises:
            ValueError: a wrong shape, NaN, or a value outside its range.
        """
        put_controls(self._table, self._ready, self.bounds, rates, werner, session_signals, link_signals)

    @in_turn
    def advance(self, seconds: float) -> Telemetry:
        """Simulate the next `seconds` and return what was measured in them.

        Raises:
            ValueError: `seconds` is not a positive number, or leads past the end of the clock, 1e8 s after the start.
        """
        spans, status = positive(seconds, 1), np.zeros(1, np.int64)
        check_ready(self._ready)
        self._ready[0] = False
        kernel.advance(self._table, 0, 1, spans, True, status)
        if status[0] == kernel.CLOCK_FULL:
            self._ready[0] = True  # nothing was simulated
            raise past_the_end(self, float(spans[0]))
        while status[0] != kernel.DONE:
            self.make_room(int(status[0]))
            kernel.advance(self._table, 0, 1, spans, False, status)
        self._ready[0] = True
        return self.telemetry()

    def telemetry(self) -> Telemetry:
        """What was measured in the last advance (nothing before the first)."""
        return Telemetry(self._state, self.in_flight())

    def in_flight(self) -> NDArray[np.int64]:
        """[R] q-datagrams neither delivered nor dropped now, counted one by one."""
        if len(self._state.fluid_sessions):
            return self._state.fluid_sessions["in_flight"].copy()
        datagrams = self._state.datagrams
        unsettled = (datagrams["place"] != 0) & (datagrams["settled"] == 0)
        return np.bincount(datagrams["session"][unsettled], minlength=len(self._state.sessions))

    def events_log(self) -> NDArray[np.int64]:
        """[n, 4] time (ns), kind, entity and sequence number of every event so far; empty unless `trace`."""
        return self._state.log[: int(self._state.clock["logged"][0])].copy()

    # ---- records of q-datagrams -------------------------------------------------------------------------------------

    @in_turn
    def pairs(self) -> DataFrame:
        """What became of every q-datagram injected so far, those that `take_records` took apart, as a table.

        See `recording.pairs` for its columns; those still in flight stand in it as such.

        Raises:
            RuntimeError: the simulator does not record, or a call was interrupted.
            ImportError: pandas is not installed; it names the extra that has it.
        """
        self._drain()
        kernel.record_unfinished(self._table, 0, 1)
        unfinished = self._filled()
        return of_records.pairs(np.concatenate([*self._records, unfinished]), self.scenario)

    @in_turn
    def take_records(self, *, unfinished: bool = False) -> np.ndarray:
        """[n] `state.RECORD` of the q-datagrams that came to be over since the last call, which are then forgotten.

        Whoever calls it after each `advance` needs no more memory than one interval fills.

        Args:
            unfinished: those that are not over too, as they are now, and without forgetting them.

        Raises:
            RuntimeError: the simulator does not record, or a call was interrupted.
        """
        self._drain()
        taken, self._records = self._records, []
        if unfinished:
            kernel.record_unfinished(self._table, 0, 1)
            taken.append(self._filled())
        return np.concatenate([*taken, zeros(0, RECORD)])

    def _drain(self) -> None:
        """Move the records out of the buffer."""
        check_ready(self._ready)
        if not len(self._state.records):
            raise RuntimeError("this simulator keeps no records; valid: Simulator(…, recording=True)")
        if len(filled := self._filled()):
            self._records.append(filled)

    def _filled(self) -> np.ndarray:
        """The records in the buffer, which is empty then."""
        filled = self._state.records[: int(self._state.clock["recorded"][0])].copy()
        self._state.clock["recorded"] = 0
        return filled

    def _buffered(self, state: State) -> State:
        """The state with an empty buffer for records, large enough for all q-datagrams there is room for."""
        size = max(BUFFER, len(state.datagrams)) if self.recording else 0
        state.clock["recorded"] = 0
        return state if len(state.records) == size else state._replace(records=zeros(size, RECORD))

    # ---- for whoever drives several at once (`Batch`) ----------------------------------------------------------------

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest rates [R], lowest and highest Werner parameters [L]."""
        return self._rate_bounds, self._werner_bounds

    @property
    def state(self) -> State:
        """The arrays themselves, to be read only."""
        return self._state

    def share(self, row: NDArray[np.int64], ready: NDArray[np.bool_], turn: Turn) -> None:
        """Keep the addresses of the arrays in `row` [1, COLUMNS] from now on, and take turns with the others."""
        row[:], ready[:] = self._table, self._ready
        self._table, self._ready, self._turn = row, ready, turn

    def make_room(self, status: int) -> None:
        """Twice the room for what the kernel ran out of; records make room for others."""
        state = self._state
        if self.recording and status in (kernel.POOL_EMPTY, kernel.RECORDS_FULL):
            self._records.append(self._filled())
        if status == kernel.POOL_EMPTY:
            self._adopt(self._buffered(grow_datagrams(state, len(state.datagrams))))
        elif status == kernel.LOG_FULL:
            self._adopt(state._replace(log=np.concatenate([state.log, np.zeros_like(state.log)])))

    # ---- state is data ----------------------------------------------------------------------------------------------

    @in_turn
    def get_state(self) -> dict[str, Any]:
        """Everything that a continuation needs, as copied arrays by name; of one that records, its records too."""
        check_ready(self._ready)
        state = self._state
        if self.recording:
            self._drain()
            self._records = [np.concatenate([*self._records, zeros(0, RECORD)])]
            state = state._replace(records=self._records[0])
        return seal({"arrays": {name: array.copy() for name, array in state._asdict().items()}}, self._owner)

    @in_turn
    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from a simulator of a scenario with the same physics.

        Raises:
            StateError: the state is damaged, or of another scenario; nothing is changed then.
        """
        arrays = open_seal(state, self._owner)["arrays"]
        own, start = State(**{name: array.copy() for name, array in arrays.items()}), unseeded(self.scenario)
        for table, column in CODED:
            getattr(own, table)[column] = getattr(start, table)[column]
        self._ready[0] = False
        self._records = [own.records] if self.recording else []
        self._adopt(self._buffered(own))
        self._ready[0] = True

    @property
    def _owner(self) -> str:
        return f"Simulator {physics(self.scenario)}"

    def __getstate__(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "trace": self.trace,
            "recording": self.recording,
            "state": self.get_state(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        check_version(state["state"])
        self.scenario, self.trace, self.recording = state["scenario"], state["trace"], state["recording"]
        self._prepare()
        self.set_state(state["state"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = type(self).__new__(type(self))
        copy.__setstate__(self.__getstate__())
        return copy
