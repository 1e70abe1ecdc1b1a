"""The tables of `bench compare` and of a report for a terminal, at most 100 columns wide."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from bench.compare.speedup import ALONE, SHARED, Speedup, is_of_shared, legend_of, verdicts
from bench.core import units
from bench.core.records import Row
from bench.core.row_names import case_names, settings
from bench.core.text import printable
from bench.verdict.comparison import AnyReport
from bench.verdict.text_table import WIDTH, Cell, Column, TextTable

__all__ = ["WIDTH", "report_table", "safe", "speedup_tables", "style_of"]

WRAPPED = ("case", "figure", "verdict")
STYLES = {
    "faster": "green",
    "slower": "red",
    "no difference found": "dim",
    "no difference shown": "dim",
    "no interval": "dim",
    "IMPROVED": "green",
    "REGRESSED": "bold red",
    "FAILED": "bold red",
    "MISSING": "red",
    "SUSPECT": "yellow",
    "UNTRUSTED": "yellow",
    "DIFFERS": "yellow",
    "INCONCLUSIVE": "dim",
    "UNMEASURED": "dim",
}


def style_of(verdict: str) -> str:
    """Return rich's style for a verdict of `compare` (words) or `check` and `ab` (capitals)."""
    return "" if verdict.endswith(ALONE) else STYLES.get(verdict, "")


def safe(text: str) -> Text:
    """Return the text without control characters; square brackets are not read as markup."""
    return Text(printable(text))


def say(console: Console, text: str) -> None:
    """Print a text on a line of its own, which only the terminal breaks."""
    console.print(safe(text), soft_wrap=True)


def speedup_tables(speedups: Iterable[Speedup], rows: Iterable[Row]) -> list[TextTable]:
    """Return a table for each pair of values, in the order of the speedups.

    The verdicts are corrected for the number of lines of their table.

    rows: the rows that were compared; the cases are named by them.
    """
    by_id = {str(row.case_id): row for row in rows}
    groups: dict[tuple[str, str, str], list[Speedup]] = {}
    for speedup in speedups:
        groups.setdefault((speedup.axis, speedup.base, speedup.value), []).append(speedup)
    return [_speedup_table(key, group, by_id) for key, group in groups.items()]


def _speedup_table(
    key: tuple[str, str, str], speedups: Sequence[Speedup], by_id: Mapping[str, Row]
) -> TextTable:
    axis, base, value = key
    what = "images per second" if axis == "batch" else "speed"
    names = case_names(by_id[speedup.base_case_id] for speedup in speedups)
    phases = {speedup.phase for speedup in speedups}
    words = verdicts(speedups)
    quantities = ", ".join(dict.fromkeys(speedup.quantity for speedup in speedups))
    methods = ", ".join(dict.fromkeys(speedup.method for speedup in speedups))
    legend = legend_of(words)
    above = [names.above, f"phase {speedups[0].phase}" if len(phases) == 1 else ""]
    shared = any(
        is_of_shared(one.ratio / factor, one.base_s, one.value_s)
        for one, factor in zip(speedups, _factors(speedups, by_id), strict=True)
    )
    table = TextTable(
        f"{axis}: {what} of {value} as a multiple of {base}",
        (
            Column("case", wraps=True),
            Column("phase"),
            Column("base", right=True),
            Column("value", right=True),
            Column("speedup (95 %)", right=True),
            Column("verdict", wraps=True),
        ),
        above="; ".join(filter(None, above)),
        caption=f"compared: {quantities}; method: {methods}{_runs(speedups)}"
        f"{f'; {legend}' if legend else ''}{f'; {SHARED}' if shared else ''}",
    )
    if any(units.TOO_WIDE in _interval(speedup) for speedup in speedups):
        table.caption += f"; {units.WHY_TOO_WIDE}"
    for speedup, verdict in zip(speedups, words, strict=True):
        style = style_of(verdict)
        table.add(
            names.of(by_id[speedup.base_case_id], without=axis) + _chosen(speedup, by_id),
            speedup.phase if len(phases) > 1 else "",
            units.seconds(speedup.base_s),
            units.seconds(speedup.value_s),
            Cell(_interval(speedup), style),
            Cell(verdict, style),
        )
    return table


def _interval(one: Speedup) -> str:
    return units.speedup_with_interval(one.ratio, one.low, one.high, one.replicates)


def _factors(speedups: Sequence[Speedup], by_id: Mapping[str, Row]) -> list[float]:
    """Return images of value / images of base per call, the factor of speedups of batch sizes."""
    return [
        (by_id[one.value_case_id].batch or 1) / (by_id[one.base_case_id].batch or 1)
        if one.axis == "batch"
        else 1.0
        for one in speedups
    ]


def _runs(speedups: Sequence[Speedup]) -> str:
    """Return the between-run SDs that the intervals include, as the end of the caption."""
    texts = list(dict.fromkeys(speedup.between for speedup in speedups if speedup.between))
    return f", with {' or '.join(texts[:2])}" if texts else ""


def _chosen(speedup: Speedup, by_id: Mapping[str, Row]) -> str:
    """Return which row was chosen if several rows matched; the fastest is chosen."""
    sides = (
        ("base", speedup.base_of, speedup.base_case_id),
        ("value", speedup.value_of, speedup.value_case_id),
    )
    return "".join(
        f" ({side}: fastest of {count}, {settings(by_id[case_id], apart=speedup.axis)})"
        for side, count, case_id in sides
        if count > 1
    )


def report_table(report: AnyReport) -> TextTable:
    """Return the table of a check's changes, or of all times of a comparison in pairs."""
    of = report.comparison
    lines, caption = of.shown(report)
    shown = dict.fromkeys(one.case_id for one in lines)
    names = case_names((report.cases[one] for one in shown if one in report.cases), short=of.short)
    table = TextTable(
        report.headline,
        [
            Column(head, right=part in ("base", "value", "ratio"), wraps=part in WRAPPED)
            for part, head in of.columns.items()
        ],
        above=names.above,
        caption=caption,
    )
    before = ""
    for one in lines:
        case = report.cases.get(one.case_id)
        name = one.case_id if case is None else names.of(case)
        cells = asdict(one) | {
            # Counted figures have no columns of values; their line always names the case.
            "case": "" if one.case_id == before and one.base else name,
            "figure": one.figure or one.note,
            "verdict": Cell(
                f"{one.verdict}{one.reach and f', {one.reach}'}", style_of(one.verdict)
            ),
        }
        table.add(*(cells[part] for part in of.columns))
        before = one.case_id
    return table
