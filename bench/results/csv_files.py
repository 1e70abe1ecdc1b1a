"""The files of a run, written: measurements.csv and samples.csv.

RFC 4180, UTF-8, `\\r\\n`; an empty cell is an unknown.  A spreadsheet runs a cell that starts
with `= + - @` as a formula, so a text that does gets an apostrophe before it, as does one that
already starts with apostrophes and then such a sign; `text_of` takes that one apostrophe away
again, so that every text comes back as it was.
"""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.records import COLUMNS, Row

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
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def write_measurements(path: Path, rows: Iterable[Row]) -> None:
    """A line per row, a column per field.  Replaces the file at once."""
    write_csv(path, COLUMNS, ([getattr(row, name) for name in COLUMNS] for row in rows))


def write_samples(path: Path, samples: pd.DataFrame) -> None:
    """A line per sample, in seconds per call.  Replaces the file at once."""
    write_csv(path, SAMPLE_COLUMNS, samples.itertuples(index=False, name=None))


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
        return _text(value)
    return repr(value) if math.isfinite(value) else ""


@lru_cache(4096)  # the samples of a case have four texts in common
def _text(value: str) -> str:
    # A lone surrogate (a file name that is no UTF-8) has no place in a UTF-8 file.
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{text}" if _FORMULA.match(text) else text


def text_of(cell: str) -> str:
    """The text that was written into a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
