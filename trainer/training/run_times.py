# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run's steps take, kept over all of its sittings [Heindl2019, Table I]."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.step_times import RunTimes, StepTimes
from .engine import Engine
from .sample_stream import SampleStream


class TimeRecord:
    """Adds up what the workers and the engine have measured, and writes it into the run's folder."""

    def __init__(self, folder: Path, stream: SampleStream, engine: Engine, *, resumed: bool) -> None:
        """Go on from what an earlier sitting wrote, where it can be read."""
        self._path = folder / run_folder.TIMINGS
        self._stream, self._engine = stream, engine
        self._updates = StepTimes()
        self._earlier = _read(self._path) if resumed else RunTimes()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Around what happens once in an epoch: see :data:`.step_times.UPDATE`."""
        begin = time.perf_counter()
        yield
        self._updates.add({part: time.perf_counter() - begin})

    def now(self, stall_fraction: float) -> RunTimes:
        """All sittings together."""
        training = self._earlier.training + self._engine.times + self._updates
        return RunTimes(self._earlier.simulation + self._stream.times(), training, min(1.0, stall_fraction))

    def write(self, stall_fraction: float) -> RunTimes:
        """:meth:`now`, also into the run's folder."""
        found = self.now(stall_fraction)
        files.write_json(self._path, found.sums())
        return found


def _read(path: Path) -> RunTimes:
    if not path.exists():
        return RunTimes()  # of a release that measured nothing
    try:
        return RunTimes.read(read_json(path, "the times begin anew"))
    except (UserError, ValueError) as problem:
        print(f"warning: {path} is damaged ({problem}): the times begin anew", file=sys.stderr, flush=True)
        return RunTimes()
