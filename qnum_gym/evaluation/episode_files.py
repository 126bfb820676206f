"""An episode on record as files: every q-datagram and every interval, in memory that does not grow with it. [ours]"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from qnum_gym import files
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Telemetry, recording

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

WAITING = 2**18  # rows of a table that are written together
LAST = 2**20  # q-datagrams kept for pictures


class EpisodeFiles:
    """Writes `pairs`, `sessions` and `links`, each as NAME.parquet and NAME.csv, and `scenario.yaml`.

    To be used as `with EpisodeFiles(folder, scenario) as episode:`; the files are there, as a whole, once it is left
    without an exception. `pairs` has the columns of `recording.pairs`, in some order; the other two have those of
    `recording.series`. Nothing stands for NaN.

    Args:
        folder: of the files; it is there.
        scenario: that is simulated.

    Attributes:
        last: the `pairs` of the last million q-datagrams or so.

    Raises:
        ImportError: pandas or pyarrow is not installed.
    """

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self._scenario, self._stack = scenario, ExitStack()
        recording.pandas()
        import pyarrow  # noqa: F401 # pyright: ignore[reportMissingTypeStubs, reportUnusedImport]

        tables = (_Table(folder, name, self._stack) for name in ("pairs", "sessions", "links"))
        self._pairs, self._sessions, self._links = tables
        self._records: list[np.ndarray] = []  # these two are still to be written
        self._telemetries: list[Telemetry] = []
        self._last: deque[np.ndarray] = deque()
        files.write(folder / "scenario.yaml", scenario.to_yaml())

    @property
    def last(self) -> DataFrame:
        """See the class."""
        return recording.pairs(np.concatenate(self._last), self._scenario)

    def add(self, telemetry: Telemetry, records: np.ndarray) -> None:
        """One more interval is over, and with it these q-datagrams; at the end also those still in flight.

        Args:
            telemetry: of the interval.
            records: [n] of `state.RECORD`.
        """
        self._telemetries.append(telemetry)
        self._records.append(records)
        rows = len(self._telemetries) * max(len(telemetry.sessions), len(telemetry.links))
        if max(rows, sum(map(len, self._records))) >= WAITING:
            self._write()

    def _write(self) -> None:
        """Write what waits."""
        records = np.concatenate(self._records)
        sessions, links = recording.series(self._telemetries)
        self._records, self._telemetries = [], []
        self._pairs.write(recording.pairs(records, self._scenario))
        self._sessions.write(sessions)
        self._links.write(links)
        self._last.append(records)
        while sum(map(len, self._last)) - len(self._last[0]) >= LAST:
            self._last.popleft()

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is None and self._telemetries:
            self._write()
        self._stack.__exit__(*exception)


class _Table:
    """NAME.parquet and NAME.csv in a folder, written bit by bit until the stack ends."""

    def __init__(self, folder: Path, name: str, stack: ExitStack) -> None:
        self._paths, self._stack = [folder / f"{name}.{suffix}" for suffix in ("parquet", "csv")], stack
        self._writers: list[Any] = []

    def write(self, rows: DataFrame) -> None:
        """Add rows."""
        import pyarrow  # pyright: ignore[reportMissingTypeStubs]
        from pyarrow import csv, parquet  # pyright: ignore[reportMissingTypeStubs]

        arrow: Any = pyarrow
        of_csv: Any = csv
        table = arrow.Table.from_pandas(rows, preserve_index=False)
        kinds = [arrow.string() if arrow.types.is_dictionary(kind) else kind for kind in table.schema.types]
        table = table.cast(arrow.schema(list(zip(table.schema.names, kinds, strict=True))))
        if not self._writers:
            drafts = [self._stack.enter_context(files.draft(path)) for path in self._paths]
            plain = of_csv.WriteOptions(quoting_style="none")
            self._writers = [
                self._stack.enter_context(parquet.ParquetWriter(drafts[0], table.schema)),
                self._stack.enter_context(of_csv.CSVWriter(drafts[1], table.schema, write_options=plain)),
            ]
        for writer in self._writers:
            writer.write_table(table)
