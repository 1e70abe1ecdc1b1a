"""Make the files that follow from run.json and the journal, at any time again."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.core import decode
from bench.core.records import Entry, Row
from bench.plots import draw
from bench.results import aggregate, csv_files, history, journal, quiet
from bench.results.loading import description
from bench.results.results import Results, samples_of
from bench.results.run_json import Description
from bench.stats import control_rule


class Derived(NamedTuple):
    """A run as its directory has it now, with what its journal says beyond the rows."""

    results: Results
    entries: Sequence[Entry]
    plots: Sequence[Path]


def write_all(path: Path) -> Derived:
    """Write measurements.csv, samples.csv and plots/ of a run directory."""
    run = description(path)
    entries = journal.read(path / journal.NAME)
    kept = quiet.counted(entries, run.config.replicates)
    before = history.before(path, run)
    made = aggregate.rows(
        kept,
        run=run,
        earlier=history.centres(before),
        learnt=control_rule.learn(history.series(before)),
    )
    rows = _in_order_of_plan(made, run)
    results = Results(path, tuple(rows), run, samples_of(kept, run.run_id))
    try:
        plots = draw.draw(results)
    finally:  # whatever a plot trips over: the figures are written
        csv_files.write_measurements(path / csv_files.MEASUREMENTS, rows)
        csv_files.write_samples(path / csv_files.SAMPLES, results.sample_frame)
    return Derived(results, entries, plots)


def _in_order_of_plan(rows: Iterable[Row], run: Description) -> list[Row]:
    """Sort the rows as the plan lists them: layers come in the order of the network."""
    places = {decode.case(fields).case_id: place for place, fields in enumerate(run.cases)}
    return sorted(rows, key=lambda row: places.get(row.case_id or "", len(places)))
