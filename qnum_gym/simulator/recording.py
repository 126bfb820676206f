"""What became of every q-datagram, and what happened in every interval, as pandas tables. [ours]"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from qnum_gym.scenarios import Scenario
from qnum_gym.simulator.state import FATES, NEVER, SECOND
from qnum_gym.simulator.telemetry import Telemetry

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

EXTRA = "tables"  # of pyproject.toml: has pandas and pyarrow
TIMES = {"injected": "injected", "first_pair": "first", "delivered": "completed", "acked": "acked"}  # column: field
SESSIONS = {  # column of `series`: where it stands in Telemetry
    **{name: f"sessions.{name}" for name in ("rate", "signal")},
    "price": "sessions.mean_price",
    **{name: f"sessions.{name}" for name in ("injected", "delivered", "dropped", "unacked")},
    **{name: f"sessions.mean_{name}" for name in ("werner", "latency", "rtt")},
    "in_flight": "truth.in_flight",
}
LINKS = {
    **{name: f"links.{name}" for name in ("werner", "signal", "capacity", "arrivals", "generated", "dropped")},
    **{name: f"links.{name}" for name in ("queue", "mean_queue", "utilisation")},
    "sojourn": "links.mean_sojourn",
}


def pandas() -> Any:
    """The library, imported when it is first needed.

    Raises:
        ImportError: it is not installed; the message names the extra that has it.
    """
    try:
        import pandas  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise ImportError(f"pandas is not installed; tables need: pip install 'qnum-gym[{EXTRA}]'") from None
    return pandas


def pairs(records: np.ndarray, scenario: Scenario) -> DataFrame:
    """A table with a row for each of `records` [n] of `state.RECORD`, by session and sequence number.

    Columns:
        session, sequence: whose q-datagram, and its number.
        injected, first_pair, delivered, acked: when it was injected, its first pair was made, the destination knew
            that its pair is complete, the source knew, s; NaN: did not happen (in time, for `acked`).
        werner: of the delivered pair when the ends ceased to store it (model.md §4.4); NaN if it was not delivered.
        hops: links of the session's route.
        fate: `delivered`, `in_flight`, or why it was lost (model.md §4.10).
        lost_at: position on the route, 0 for the first link, of where it was then; missing if it was not lost.
    """
    records = records[np.lexsort((records["sequence"], records["session"]))]
    table = {"session": records["session"], "sequence": records["sequence"]}
    for name, field in TIMES.items():
        times = records[field]
        table[name] = np.where(times == NEVER, np.nan, times / SECOND)
    hops = np.array([len(route) for route in scenario.routes], np.int16)
    frames = pandas()
    return frames.DataFrame(
        {
            **table,
            "werner": records["werner"],
            "hops": hops[records["session"]],
            "fate": frames.Categorical.from_codes(records["fate"], list(FATES)),
            "lost_at": frames.arrays.IntegerArray(records["hop"].copy(), records["hop"] < 0),
        }
    )


def series(telemetries: Sequence[Telemetry]) -> tuple[DataFrame, DataFrame]:
    """What happened in each interval: tables with a row per interval and session, and per interval and link.

    Columns of both: time, s, at the interval's end, and whose row it is. Of sessions, of what their sources knew:
    the controls `rate` (1/s) and `signal`; `price`, the mean sum of the links' signals that ACKs brought; `injected`,
    `delivered`, `dropped`, `unacked`; the means `werner`, `latency` and `rtt` (s) of pairs delivered; `in_flight`. Of
    links: the controls `werner` and `signal` (QPrimalDual: λ_l), `capacity` (1/s), `arrivals`, `generated`, `dropped`,
    `queue` now and `mean_queue`, `utilisation`, `sojourn` (mean, s).
    """
    return _rows("session", SESSIONS, telemetries), _rows("link", LINKS, telemetries)


def _rows(entity: str, columns: dict[str, str], telemetries: Sequence[Telemetry]) -> DataFrame:
    arrays = {name: [attrgetter(place)(t) for t in telemetries] for name, place in columns.items()}
    count = len(next(iter(arrays.values()))[0]) if telemetries else 0
    times = [t.time for t in telemetries]
    table = {"time": np.repeat(times, count), entity: np.tile(np.arange(count), len(times))}
    flat = {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in arrays.items()}
    return pandas().DataFrame(table | flat)
