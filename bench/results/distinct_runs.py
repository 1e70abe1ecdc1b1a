"""Several runs at once, each with a name of its own.

A run is named after its directory, and two machines or two CI jobs may well choose the same name;
taken for one run, their replicates would be paired with each other.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.results.csv_files import MEASUREMENTS
from bench.results.load import ReadError
from bench.results.results import Results


def apart(runs: Sequence[Results]) -> list[Results]:
    """The runs; those of one name are called by the path that each was read from.

    Raises ReadError where one is given twice: it would be compared with itself.
    """
    places = Counter(_place(run) for run in runs)
    for run in runs:
        if places[_place(run)] > 1:
            raise ReadError(f"{run.path}: is given twice; give another run to put beside it")
    ids = Counter(one for run in runs for one in run.run_ids)
    return [
        run.renamed(str(run.path)) if any(ids[one] > 1 for one in run.run_ids) else run
        for run in runs
    ]


def _place(run: Results) -> Path:
    """The run's directory, given as such or by the table in it."""
    path = run.path.resolve()
    return path.parent if path.name == MEASUREMENTS else path
