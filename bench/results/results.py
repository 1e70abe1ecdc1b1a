"""The results of a run in memory.  Tables, plots, insights and the page are made from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.records import Entry, Measurement, Row
from bench.results.csv_files import SAMPLE_COLUMNS
from bench.results.run_json import Description, Identity

# (run_id, case_id, phase, kind) → replicate → median of its samples in seconds
Medians = Mapping[tuple[str | None, str, str, str], Mapping[int, float]]

WHOLE_SAMPLE_COLUMNS = frozenset({"replicate", "sample", "calls_per_sample"})
NUMBERS = frozenset(one.name for one in fields(Row) if one.type in (int | None, float | None))


@dataclass(frozen=True, eq=False)
class Results:
    """The results of one run, or the joined rows of several (`beside`).

    path:         the run directory, or the single measurements.csv.
    description:  run.json; without any field if it is missing.
    sample_frame: a line for each sample, with the columns of `SAMPLE_COLUMNS`; empty if the
                  samples are missing.
    """

    path: Path
    rows: tuple[Row, ...]
    description: Description
    sample_frame: pd.DataFrame

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a data frame: a line for each phase of a case, a column for each field.

        Texts are objects (None = unknown), batch is Int64, the other numbers are float64 (NaN =
        unknown; exact up to 2**53).
        """
        return pd.DataFrame(
            {
                one.name: pd.Series(
                    [getattr(row, one.name) for row in self.rows], dtype=_dtype(one.name)
                )
                for one in fields(Row)
            }
        )

    @cached_property
    def medians(self) -> Medians:
        """The medians of the samples of each replicate.  Ratios are computed from them."""
        found: dict[tuple[str | None, str, str, str], dict[int, float]] = {}
        keys = ["run_id", "case_id", "phase", "kind", "replicate"]
        groups = self.sample_frame.groupby(keys, dropna=False, sort=False)["seconds"]
        for run_id, case_id, phase, kind, replicate, median_s in (
            groups.median().reset_index().itertuples(index=False, name=None)
        ):
            of = (run_id if isinstance(run_id, str) else None, case_id, phase, kind)
            found.setdefault(of, {})[replicate] = median_s
        return found

    @cached_property
    def run_ids(self) -> frozenset[str]:
        return frozenset(row.run_id for row in self.rows if row.run_id)

    @property
    def identity(self) -> Identity:
        """The details that tell the run from others; without a run.json, those in its rows."""
        own = self.description.identity
        return replace(
            own,
            run_id=own.run_id or min(self.run_ids, default=None),
            machine=own.machine or min(self.machines, default=None),
        )

    @cached_property
    def machines(self) -> frozenset[str]:
        return frozenset(row.machine_id for row in self.rows if row.machine_id)

    def renamed(self, run_id: str) -> "Results":
        """Return the results under another name."""
        return replace(
            self,
            rows=tuple(replace(row, run_id=run_id) for row in self.rows),
            sample_frame=self.sample_frame.assign(run_id=run_id),
        )

    def beside(self, other: "Results") -> "Results":
        """Return the rows and samples of both runs, for a comparison by an axis such as device."""
        return Results(
            path=self.path,
            rows=self.rows + other.rows,
            description=Description(),
            sample_frame=pd.concat([self.sample_frame, other.sample_frame], ignore_index=True),
        )


def _dtype(column: str) -> str:
    return "Int64" if column == "batch" else "float64" if column in NUMBERS else "object"


def sample_frame(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Make the frame of samples from the values by column; a missing column is empty."""
    kinds = dict.fromkeys(WHOLE_SAMPLE_COLUMNS, "int64") | {"seconds": "float64"}
    return pd.DataFrame(
        {
            name: pd.Series(columns.get(name, []), dtype=kinds.get(name, "object"))
            for name in SAMPLE_COLUMNS
        }
    )


def samples_of(entries: Iterable[Entry], run_id: str | None) -> pd.DataFrame:
    """Return the frame of the samples in a journal."""
    columns: dict[str, list[Any]] = {name: [] for name in SAMPLE_COLUMNS}
    for one in (entry for entry in entries if isinstance(entry, Measurement)):
        for taken in one.samples:
            count = len(taken.times_s)
            columns["run_id"] += [run_id] * count
            columns["case_id"] += [one.case.case_id] * count
            columns["replicate"] += [one.replicate] * count
            columns["phase"] += [taken.phase] * count
            columns["kind"] += [taken.kind] * count
            columns["sample"] += range(count)
            columns["calls_per_sample"] += [taken.calls_per_sample] * count
            columns["seconds"] += taken.times_s
    return sample_frame(columns)
