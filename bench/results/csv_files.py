"""Write measurements.csv and samples.csv.

The format is RFC 4180 in UTF-8 with `\\r\\n`; an empty cell is unknown.  A spreadsheet runs a cell
that starts with `= + - @` as a formula, so such a text gets an apostrophe in front.  So does a text
that starts with apostrophes and then such a character.  `text_of` removes one apostrophe again, so
every text is read as it was written.
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
from bench.results import directory_kind

RUN, MEASUREMENTS = directory_kind.RUN, directory_kind.MEASUREMENTS
SAMPLES = "samples.csv"

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

# The start of a formula (OWASP, "CSV injection"), with the apostrophes of an earlier escape.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def write_measurements(path: Path, rows: Iterable[Row]) -> None:
    """Write a line for each row and a column for each field; the file is replaced atomically."""
    write_csv(path, COLUMNS, ([getattr(row, name) for name in COLUMNS] for row in rows))


def write_samples(path: Path, samples: pd.DataFrame) -> None:
    """Write a line for each sample, in seconds per call; the file is replaced atomically."""
    write_csv(path, SAMPLE_COLUMNS, samples.itertuples(index=False, name=None))


def write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file; an existing file is replaced atomically."""
    scratch = path.with_name(f".{path.name}.part")
    with scratch.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([_cell(value) for value in line] for line in lines)
    scratch.replace(path)


def _cell(value: Any) -> str:
    """Return a number in full precision, an escaped text, or "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _text(value)
    return repr(value) if math.isfinite(value) else ""


@lru_cache(4096)  # all samples of a case have the same four texts
def _text(value: str) -> str:
    # A lone surrogate (from a file name that is not UTF-8) cannot be encoded.
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{text}" if _FORMULA.match(text) else text


def text_of(cell: str) -> str:
    """Return the text that was written into a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
