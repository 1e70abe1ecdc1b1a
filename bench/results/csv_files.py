"""The files of a run, written: measurements.csv and samples.csv.

RFC 4180, UTF-8, `\\r\\n`; an empty cell is an unknown.  A spreadsheet runs a cell that starts
with `= + - @` as a formula, so a text that does gets an apostrophe before it, as does one that
already starts with apostrophes and then such a sign; `load.load` takes that one apostrophe
away again, so that every text comes back as it was.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.core.records import COLUMNS, Entry, Measurement, Row

MEASUREMENTS = "measurements.csv"
SAMPLES = "samples.csv"
RUN = "run.json"

SAMPLE_COLUMNS = (
    "run_id",
    "case_id",
    "replicate",
    "phase",
    "kind",
    "sample",
    "calls_per_sample",
    "seconds",  # per call
)

# What a spreadsheet runs (OWASP, "CSV injection"), with the apostrophes of an earlier escape.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def write_measurements(path: Path, rows: Iterable[Row]) -> None:
    """A line per row, a column per field.  Replaces the file at once."""
    write_csv(path, COLUMNS, ([getattr(row, name) for name in COLUMNS] for row in rows))


def write_samples(path: Path, entries: Iterable[Entry], run_id: str | None) -> None:
    """A line per sample, in seconds per call.  Replaces the file at once."""
    write_csv(path, SAMPLE_COLUMNS, sample_lines(entries, run_id))


def sample_lines(entries: Iterable[Entry], run_id: str | None) -> Iterator[list[Any]]:
    """The samples of a journal, in the columns of `SAMPLE_COLUMNS`."""
    for one in entries:
        if isinstance(one, Measurement):
            head = [run_id, one.case.case_id, one.replicate]
            for taken in one.samples:
                for number, time_s in enumerate(taken.times_s):
                    yield [
                        *head,
                        taken.phase,
                        taken.kind,
                        number,
                        taken.calls_per_sample,
                        time_s,
                    ]


def write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """Replaces the file at once."""
    scratch = path.with_name(f".{path.name}.part")
    with scratch.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([_cell(value) for value in line] for line in lines)
    scratch.replace(path)


def _cell(value: Any) -> str:
    """A number in full precision, a text that no spreadsheet runs, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        # A lone surrogate (a file name that is no UTF-8) has no place in a UTF-8 file.
        text = value.encode("utf-8", "backslashreplace").decode("utf-8")
        return f"'{text}" if FORMULA.match(text) else text
    if not math.isfinite(value):
        return ""
    return repr(value)
