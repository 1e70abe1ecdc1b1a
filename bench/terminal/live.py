"""The table that fills while a run measures: one row for each case of a whole network.

It holds numbers only; `progress.Bar` draws it, between the cases.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.compare.groups import split
from bench.core import units
from bench.core.records import Case, Failure, Outcome, whole_phase
from bench.core.row_names import case_names, settings
from bench.core.text import number_of
from bench.stats import intervals, ratios
from bench.verdict.tables import style_of
from bench.verdict.text_table import Cell, Column, TextTable

SPEEDUP_OF = (
    "calls back to back where measured, else single ones; speedup: time of plain / time, over the "
    "replicates that both have"
)


@dataclass(slots=True)
class LiveRow:
    """A case and its medians so far, by replicate, in seconds."""

    case: Case
    latency_s: dict[int, float] = field(default_factory=dict)
    pipelined_s: dict[int, float] = field(default_factory=dict)
    failure: str = ""


class LiveTable:
    """The rows of a run as far as they are measured."""

    def __init__(self, cases: Iterable[Case] = ()) -> None:
        self._rows = {one.case_id: LiveRow(one) for one in cases if _is_whole(one)}
        self._latest = ""

    def add(self, outcome: Outcome) -> None:
        """Take an outcome of a whole network; others are passed over."""
        case = outcome.case
        if not _is_whole(case):
            return
        row = self._rows.setdefault(case.case_id, LiveRow(case))
        self._latest = case.case_id
        if isinstance(outcome, Failure):
            row.failure = outcome.status
            return
        for one in outcome.samples:
            if one.phase == whole_phase(case.mode) and one.times_s:
                own = {"latency": row.latency_s, "pipelined": row.pipelined_s}.get(one.kind)
                if own is not None and (median_s := statistics.median(one.times_s)) > 0:
                    own[outcome.replicate] = median_s

    def table(self, title: str, most: int) -> TextTable:
        """Return the table with at most `most` rows, the most useful ones, in their order."""
        rows = list(self._rows.values())
        names = case_names(row.case for row in rows)
        columns = (
            Column("case", wraps=True),
            Column("a call", right=True),
            Column("±", right=True),
            Column("speedup (95 %)", right=True),
        )
        shown = self._useful(rows, most)
        table = TextTable(title, columns, above=names.above)
        for row in shown:
            table.add(names.of(row.case), *self._cells(row))
        notes = [SPEEDUP_OF] if any(map(self._speedup, rows)) else []
        if len(shown) < len(rows):
            left = len(rows) - len(shown)
            come = "comes" if left == 1 else "come"
            notes.append(f"{number_of(left, 'more row')} {come} with the summary")
        table.caption = "; ".join(notes)
        return table

    def _useful(self, rows: list[LiveRow], most: int) -> list[LiveRow]:
        """Return the last outcome, plain rows, the largest speedups; unmeasured rows come last."""

        def rank(row: LiveRow) -> tuple[bool, bool, bool, float]:
            speedup = self._speedup(row)
            return (
                row.case.case_id != self._latest,
                not (row.latency_s or row.pipelined_s),
                settings(row.case, apart="device") != "plain",
                -abs(speedup.log) if speedup else 0.0,
            )

        kept = {row.case.case_id for row in sorted(rows, key=rank)[: max(most, 1)]}
        return [row for row in rows if row.case.case_id in kept]

    def _cells(self, row: LiveRow) -> tuple[str, str, Cell]:
        medians = list(self._times_s(row).values())
        count = len(medians)
        if not count:
            return row.failure or "–", "", Cell("")
        width = intervals.relative_half_width(medians)
        enough = count >= intervals.LEAST_REPLICATES and width is not None
        spread = units.percent(width) if enough else units.number_of_replicates(count)
        return units.seconds(intervals.centre(medians)), spread, self._speedup_cell(row)

    def _speedup_cell(self, row: LiveRow) -> Cell:
        found = self._speedup(row)
        if found is None:
            return Cell("")
        enough = found.n >= intervals.LEAST_REPLICATES
        low, high = (found.interval() if enough else None) or (None, None)
        text = units.speedup_with_interval(found.ratio, low, high, found.n)
        if low is None or high is None or low <= 1 <= high:
            return Cell(text)
        return Cell(text, style_of("faster" if low > 1 else "slower"))

    def _speedup(self, row: LiveRow) -> ratios.Estimate | None:
        """time of plain / time, over the replicates that both have."""
        plain = next((one for one in self._rows.values() if _is_plain_of(one.case, row.case)), None)
        if plain is None or plain is row:
            return None
        return ratios.paired(self._times_s(plain), self._times_s(row))

    def _times_s(self, row: LiveRow) -> dict[int, float]:
        """Return the times to show and compare: of one kind in all rows of a mode and device.

        Calls back to back give the throughput; some have single calls alone, as steps on a CPU.
        """
        alike = [
            one
            for one in self._rows.values()
            if (one.case.mode, one.case.device) == (row.case.mode, row.case.device)
            and (one.latency_s or one.pipelined_s)
        ]
        return row.pipelined_s if all(one.pipelined_s for one in alike) else row.latency_s


def _is_whole(case: Case) -> bool:
    return split(case.subject)[1] is None


def _is_plain_of(plain: Case, case: Case) -> bool:
    same = ("subject", "mode", "batch", "input", "device")
    return settings(plain, apart="device") == "plain" and all(
        getattr(plain, name) == getattr(case, name) for name in same
    )
