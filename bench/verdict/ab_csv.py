"""The file ab.csv: a line for each finding of `bench ab`."""

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.results.csv_files import text_of, write_csv
from bench.verdict.report import TIME, Finding, PairEvidence

FILE = "ab.csv"
EVIDENCE = tuple(one.name for one in dataclasses.fields(PairEvidence))
COLUMNS = (
    *("case_id", "phase", "figure", "a", "b", "ratio", "ratio_low", "ratio_high", "verdict"),
    *EVIDENCE,
    "note",
)
FIELDS = {"a": "base", "b": "value"}  # of a finding, where the column has another name
TEXTS = ("case_id", "phase", "figure", "verdict", "outlook", "note")
COUNTS = ("pairs", "pairs_needed")


class NoTimeError(LookupError):
    """The phase has no such time; the message is the note of the first failure."""


def write(path: Path, findings: Iterable[Finding]) -> None:
    """Write the table; an existing one is replaced atomically."""
    write_csv(path, COLUMNS, ([_cell(one, column) for column in COLUMNS] for one in findings))


def _cell(one: Finding, column: str) -> object:
    return getattr(one.evidence if column in EVIDENCE else one, FIELDS.get(column, column))


def read(path: Path) -> list[Finding]:
    """Return the findings of a table, of this or an earlier version.

    Raises OSError, and ValueError if a cell is not a number but should be.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return [_finding(one) for one in csv.DictReader(file) if one.get("verdict")]


def time_of(path: Path, phase: str, figure: str = TIME) -> Finding:
    """Return the finding of a table about a time of a phase.

    Raises NoTimeError, and what `read` raises.
    """
    findings = read(path)
    for one in findings:
        if (one.phase, one.figure) == (phase, figure):
            return one
    raise NoTimeError(next((one.note for one in findings if one.note), "nothing was measured"))


def _finding(cells: Mapping[str, str | None]) -> Finding:
    values = {name: _value(name, cell) for name in COLUMNS if (cell := cells.get(name))}
    evidence = {name: values.pop(name) for name in EVIDENCE if name in values}
    own = {FIELDS.get(name, name): value for name, value in values.items()}
    return Finding(**{"case_id": "", **own}, evidence=PairEvidence(**evidence))


def _value(column: str, cell: str) -> Any:
    if column in TEXTS:
        return text_of(cell)
    return int(cell) if column in COUNTS else float(cell)
