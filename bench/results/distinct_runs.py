"""Several runs at once, each with a name of its own.

A run is named after its directory, and two machines or two CI jobs may well choose the same name;
taken for one run, their replicates would be paired with each other.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.results.csv_files import MEASUREMENTS
from bench.results.load import ReadError, RunData


def apart(runs: Sequence[RunData]) -> list[RunData]:
    """The runs; those of one name are called by the path that each was read from.

    Raises ReadError where one is given twice: it would be compared with itself.
    """
    places = Counter(_place(run) for run in runs)
    for run in runs:
        if places[_place(run)] > 1:
            raise ReadError(f"{run.path}: is given twice; give another run to put beside it")
    ids = Counter(one for run in runs for one in _ids(run))
    return [_called(run, str(run.path)) if _shared(run, ids) else run for run in runs]


def _place(run: RunData) -> Path:
    """The run's directory, given as such or by the table in it."""
    path = run.path.resolve()
    return path.parent if path.name == MEASUREMENTS else path


def _ids(run: RunData) -> set[str]:
    return {str(one) for one in run.rows["run_id"] if one}


def _shared(run: RunData, ids: Counter[str]) -> bool:
    return any(ids[one] > 1 for one in _ids(run))


def _called(run: RunData, name: str) -> RunData:
    return replace(run, rows=run.rows.assign(run_id=name), samples=run.samples.assign(run_id=name))
