"""Make the files that follow from run.json and the journal, at any time again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.core import decode
from bench.core.records import Row
from bench.plots import draw
from bench.results import aggregate, csv_files, history, journal, quiet, run_json
from bench.results.result import Result
from bench.stats import control_rule


def write_all(path: Path) -> Result:
    """Write measurements.csv, samples.csv and plots/ of a run directory."""
    document = json.loads((path / "run.json").read_text(encoding="utf-8"))
    run = run_json.sound(document)
    entries = journal.read(path / journal.NAME)
    kept = quiet.counted(entries, int(run.get("config", {}).get("replicates", 5)))
    before = history.before(path, run)
    made = aggregate.rows(
        kept,
        run=run,
        earlier=history.centres(before),
        learnt=control_rule.learn(history.series(before)),
    )
    rows = _in_order_of_plan(made, run)
    csv_files.write_measurements(path / "measurements.csv", rows)
    csv_files.write_samples(path / "samples.csv", kept, document["run_id"])
    drawn, reasons = draw.draw(path)
    return Result(path, run, entries, rows, drawn, reasons)


def _in_order_of_plan(rows: Sequence[Row], run: dict[str, Any]) -> list[Row]:
    """As the plan lists them: layers in the order of the network, not as they were shuffled."""
    places = {decode.case(fields).case_id: place for place, fields in enumerate(run["cases"])}
    return sorted(rows, key=lambda row: places.get(row.case_id or "", len(places)))
