"""Give each of several runs a distinct name.

A run is named after its directory.  Two machines or two CI jobs can choose the same name, and then
the replicates of two runs would be paired as if they were one run.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.results.csv_files import MEASUREMENTS
from bench.results.loading import ReadError
from bench.results.results import Results


def apart(runs: Sequence[Results]) -> list[Results]:
    """Return the runs; those with the same name are named by the path of their directory.

    Raises ReadError if a run is given twice, since it would be compared with itself.
    """
    places = Counter(_place(run) for run in runs)
    for run in runs:
        if places[_place(run)] > 1:
            raise ReadError(f"{run.path}: is given twice; give another run to compare it with")
    ids = Counter(one for run in runs for one in run.run_ids)
    return [
        run.renamed(str(run.path)) if any(ids[one] > 1 for one in run.run_ids) else run
        for run in runs
    ]


def _place(run: Results) -> Path:
    """Return the run's directory, if its path is the directory or the table in it."""
    path = run.path.resolve()
    return path.parent if path.name == MEASUREMENTS else path
