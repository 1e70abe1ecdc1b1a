"""The table that fills while a run measures: one row for each case of a whole network.

It holds numbers only; `progress.Bar` draws it, between the cases.
"""

import statistics
from collections.abc import Iterable, Mapping
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


# All that a case has in common with its plain one: subject, mode, batch, input, device.
_Alike = tuple[str, str, int, str, str]


@dataclass(slots=True, eq=False)
class LiveRow:
    """A case and its medians so far, by replicate, in seconds."""

    case: Case
    is_plain: bool
    latency_s: dict[int, float] = field(default_factory=dict)
    pipelined_s: dict[int, float] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of a row.  speedup: time of plain / time, over the replicates that both have."""

    times_s: Mapping[int, float]
    speedup: ratios.Estimate | None


class LiveTable:
    """The rows of a run as far as they are measured.

    Nothing is measured while it is drawn.  So the work of a drawing grows with the number of rows,
    and not with its square.
    """

    def __init__(self, cases: Iterable[Case] = ()) -> None:
        self._rows: dict[str, LiveRow] = {}
        self._plain: dict[_Alike, LiveRow] = {}
        self._latest: LiveRow | None = None
        self._known: dict[str, _Figures] | None = None  # None: to be found anew
        for one in cases:
            if _is_whole(one):
                self._row(one)

    def add(self, outcome: Outcome) -> None:
        """Take an outcome of a whole network; others are passed over."""
        case = outcome.case
        if not _is_whole(case):
            return
        row = self._latest = self._row(case)
        self._known = None
        if isinstance(outcome, Failure):
            row.failure = outcome.status
            return
        for one in outcome.samples:
            if one.phase == whole_phase(case.mode) and one.times_s:
                own = {"latency": row.latency_s, "pipelined": row.pipelined_s}.get(one.kind)
                if own is not None and (median_s := statistics.median(one.times_s)) > 0:
                    own[outcome.replicate] = median_s

    def _row(self, case: Case) -> LiveRow:
        case_id = case.case_id
        if case_id not in self._rows:
            row = LiveRow(case, settings(case, apart="device") == "plain")
            self._rows[case_id] = row
            if row.is_plain:
                self._plain.setdefault(_alike(case), row)
        return self._rows[case_id]

    def table(self, title: str, most: int) -> TextTable:
        """Return the table with at most `most` rows, the most useful ones, in their order."""
        names = case_names(row.case for row in self._rows.values())
        columns = (
            Column("case", wraps=True),
            Column("a call", right=True),
            Column("±", right=True),
            Column("speedup (95 %)", right=True),
        )
        figures = self._figures()
        shown = self._useful(figures, most)
        table = TextTable(title, columns, above=names.above)
        for case_id in shown:
            row = self._rows[case_id]
            table.add(names.of(row.case), *_cells(row, figures[case_id]))
        notes = [SPEEDUP_OF] if any(one.speedup for one in figures.values()) else []
        if len(shown) < len(figures):
            left = len(figures) - len(shown)
            come = "comes" if left == 1 else "come"
            notes.append(f"{number_of(left, 'more row')} {come} with the summary")
        table.caption = "; ".join(notes)
        return table

    def _useful(self, figures: Mapping[str, _Figures], most: int) -> list[str]:
        """The last outcome, plain rows, the largest speedups; those not yet measured come last."""

        def rank(case_id: str) -> tuple[bool, bool, bool, float]:
            row, speedup = self._rows[case_id], figures[case_id].speedup
            return (
                row is not self._latest,
                not (row.latency_s or row.pipelined_s),
                not row.is_plain,
                -abs(speedup.log) if speedup else 0.0,
            )

        kept = set(sorted(figures, key=rank)[: max(most, 1)])
        return [case_id for case_id in figures if case_id in kept]

    def _figures(self) -> Mapping[str, _Figures]:
        """Return the figures by case id.

        The times are of one kind in all rows of a mode and device.  Calls back to back give the
        throughput; some have single calls alone, as steps on a CPU.
        """
        if self._known is not None:
            return self._known
        back_to_back: dict[tuple[str, str], bool] = {}
        for row in self._rows.values():
            if row.latency_s or row.pipelined_s:
                of = (row.case.mode, row.case.device)
                back_to_back[of] = back_to_back.get(of, True) and bool(row.pipelined_s)

        def times_s(row: LiveRow) -> Mapping[int, float]:
            of = (row.case.mode, row.case.device)
            return row.pipelined_s if back_to_back.get(of, True) else row.latency_s

        self._known = {}
        for case_id, row in self._rows.items():
            plain = self._plain.get(_alike(row.case))
            own_s, speedup = times_s(row), None
            if plain is not None and plain is not row:
                speedup = ratios.paired(times_s(plain), own_s)
            self._known[case_id] = _Figures(own_s, speedup)
        return self._known


def _cells(row: LiveRow, figures: _Figures) -> tuple[str, str, Cell]:
    medians = list(figures.times_s.values())
    count = len(medians)
    if not count:
        return row.failure or "–", "", Cell("")
    width = intervals.relative_half_width(medians)
    enough = count >= intervals.LEAST_REPLICATES and width is not None
    spread = units.half_width(width) if enough else units.number_of_replicates(count)
    return units.seconds(intervals.centre(medians)), spread, _speedup_cell(figures.speedup)


def _speedup_cell(found: ratios.Estimate | None) -> Cell:
    if found is None:
        return Cell("")
    enough = found.n >= intervals.LEAST_REPLICATES
    low, high = (found.interval() if enough else None) or (None, None)
    text = units.speedup_with_interval(found.ratio, low, high, found.n)
    if low is None or high is None or low <= 1 <= high:
        return Cell(text)
    return Cell(text, style_of("faster" if low > 1 else "slower"))


def _is_whole(case: Case) -> bool:
    return split(case.subject)[1] is None


def _alike(case: Case) -> _Alike:
    return case.subject, case.mode, case.batch, case.input, case.device
