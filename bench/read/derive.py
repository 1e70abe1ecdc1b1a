"""The files that follow from run.json and the journal: made anew at any time."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import journal
from bench.read import aggregate, described, history, plot, write
from bench.read.result import Result
from bench.records import Case, Row


def write_all(path: Path) -> Result:
    """measurements.csv, samples.csv and plots/ of a run directory."""
    document = json.loads((path / "run.json").read_text(encoding="utf-8"))
    run = described.sound(document)
    entries = journal.read(path / journal.NAME)
    earlier = history.centres(history.before(path, run))
    rows = _in_order_of_plan(aggregate.rows(entries, run=run, earlier=earlier), run)
    write.write_measurements(path / "measurements.csv", rows)
    write.write_samples(path / "samples.csv", entries, document["run_id"])
    drawn, reasons = plot.draw(path)
    return Result(path, run, entries, rows, drawn, reasons)


def _in_order_of_plan(rows: Sequence[Row], run: dict[str, Any]) -> list[Row]:
    """As the plan lists them: layers in the order of the network, not as they were shuffled."""
    places = {Case.of(fields).case_id: place for place, fields in enumerate(run["cases"])}
    return sorted(rows, key=lambda row: places.get(row.case_id or "", len(places)))
