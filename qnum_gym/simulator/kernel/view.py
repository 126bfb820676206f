# pyright: basic
"""The arrays of one network as compiled code sees them, and how functions of the kernel are compiled."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
from numba import njit

from qnum_gym.simulator.pointers import at_address
from qnum_gym.simulator.state import (
    ANSWER,
    CHANNEL,
    CLOCK,
    COLUMNS,
    DATAGRAM,
    FLUID_HOP,
    FLUID_LINK,
    FLUID_SESSION,
    GAME,
    HOP,
    LINK,
    NODE,
    RECORD,
    SCHEDULE,
    SESSION,
    TANK,
)

inner = njit(nogil=True, error_model="numpy")
merged = njit(nogil=True, error_model="numpy", inline="always")  # for what every q-datagram passes: one body, no calls

View = namedtuple(
    "View",
    "clock links channels sessions hops nodes datagrams schedule drops tree log records "
    "fluid_links fluid_hops fluid_sessions tanks answers "
    "n_links n_sessions n_hops n_datagrams n_schedule n_leaves n_log n_records formulas rules row",
)
_clock, _links, _channels, _sessions, _hops, _nodes, _datagrams, _schedule, _tree, _records = (
    at_address(dtype) for dtype in (CLOCK, LINK, CHANNEL, SESSION, HOP, NODE, DATAGRAM, SCHEDULE, GAME, RECORD)
)
_fluid_links, _fluid_hops, _fluid_sessions, _tanks, _answers = (
    at_address(dtype) for dtype in (FLUID_LINK, FLUID_HOP, FLUID_SESSION, TANK, ANSWER)
)
_integers = at_address(np.dtype(np.int64))


@inner
def view(table, i):
    """The arrays of network i, from row i of a table made by `state.address_row`."""
    return view_at(table.ctypes.data + i * COLUMNS * 8)


@inner
def view_at(address):
    """The arrays of the network whose row is at an address."""
    row = _integers(address)
    return View(
        _clock(row[0]),
        _links(row[1]),
        _channels(row[2]),
        _sessions(row[3]),
        _hops(row[4]),
        _nodes(row[5]),
        _datagrams(row[6]),
        _schedule(row[7]),
        _integers(row[8]),
        _tree(row[9]),
        _integers(row[10]),
        _records(row[11]),
        _fluid_links(row[12]),
        _fluid_hops(row[13]),
        _fluid_sessions(row[14]),
        _tanks(row[15]),
        _answers(row[16]),
        row[17],
        row[18],
        row[19],
        row[20],
        row[21],
        row[22],
        row[23],
        row[24],
        _integers(row[25]),
        _integers(row[26]),
        address,
    )
