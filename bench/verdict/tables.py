"""Comparisons and checks as tables for a terminal, at most 100 columns wide."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.compare.speedup import Speedup, told_of, verdicts
from bench.core import units
from bench.core.text import printable
from bench.verdict.markdown import figure, percent_more
from bench.verdict.report import Report

WIDTH = 100  # columns at most; less where the terminal has less
MOST_CASES = 20  # of changed ones; the report has all
QUIET = frozenset({"SAME", "INCONCLUSIVE", "ADVISORY"})


def safe(text: str) -> Text:
    """As it is, but for what a terminal would act on; never markup."""
    return Text(printable(text))


def gain_tables(gains: Iterable[Speedup]) -> list[Table]:
    """A table per pair of values, in the order of the gains; verdicts hold for each table."""
    groups: dict[tuple[str, str, str], list[Speedup]] = {}
    for gain in gains:
        groups.setdefault((gain.axis, gain.base, gain.value), []).append(gain)
    return [_gain_table(key, group) for key, group in groups.items()]


def _gain_table(key: tuple[str, str, str], gains: Sequence[Speedup]) -> Table:
    axis, base, value = key
    what = "images per second" if axis == "batch" else "speed"
    table = blank(f"{axis}: {what} of {value} as a multiple of {base}")
    for name in ("subject", "phase", "settings"):
        table.add_column(name, overflow="fold")
    for name in ("base", "value"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("gain (95 %)", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=8)
    words = verdicts(gains)
    for gain, verdict in zip(gains, words, strict=True):
        cells = (
            gain.subject,
            gain.phase,
            gain.settings + _chosen(gain, gain.base_of, gain.value_of),
            figure("s_s", gain.base_s),
            figure("s_s", gain.value_s),
            _interval(gain),
            verdict,
        )
        table.add_row(*map(safe, cells))
    quantities = ", ".join(dict.fromkeys(gain.quantity for gain in gains))
    methods = ", ".join(dict.fromkeys(gain.method for gain in gains))
    told = told_of(words)
    table.caption = safe(
        f"compared: {quantities}; method: {methods}{_runs(gains)}{f'; {told}' if told else ''}"
    )
    return table


def _runs(gains: Sequence[Speedup]) -> str:
    """What the intervals include of what runs of one code differ by."""
    told = list(dict.fromkeys(gain.between for gain in gains if gain.between))
    return f", with {' or '.join(told[:2])}" if told else ""


def _chosen(gain: Speedup, base_of: int, value_of: int) -> str:
    """Which of several matching rows stands for its side: the fastest."""
    sides = (("base", base_of, gain.base_case_id), ("value", value_of, gain.value_case_id))
    return "".join(
        f" ({side}: fastest of {count}, …{case_id[-20:]})"
        for side, count, case_id in sides
        if count > 1
    )


def check_table(report: Report) -> Table:
    """What changed, at most MOST_CASES cases of it; what is undecided stands in the report."""
    table = blank(report.headline)
    table.add_column("case", overflow="fold", min_width=36)
    table.add_column("figure", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for name in ("baseline", "now"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("worse by", justify="right", overflow="fold", min_width=10)
    changed = [case for case in report.worst_first if case.changed]
    for case in changed[:MOST_CASES]:
        if not case.findings:
            table.add_row(*map(safe, (case.case_id, case.note, case.verdict, "", "", "")))
        for one in case.findings:
            if one.verdict not in QUIET:
                cells = (
                    case.case_id,
                    f"{one.phase} {one.figure}",
                    one.verdict,
                    figure(one.figure, one.base),
                    figure(one.figure, one.value),
                    percent_more(one.worse, one.low, one.high),
                )
                table.add_row(*map(safe, cells))
    if len(changed) > MOST_CASES:
        table.caption = f"{len(changed) - MOST_CASES} more changed cases in the report"
    return table


def blank(title: str) -> Table:
    """A table without columns yet, as all of them look."""
    # Text, not str: rich would take brackets in a subject's name for markup.
    return Table(
        title=safe(title),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )


def _interval(gain: Speedup) -> str:
    text = units.speedup(gain.ratio)
    if gain.low is not None and gain.high is not None:
        ends = [units.speedup(end).removesuffix("×") for end in (gain.low, gain.high)]
        text += f" ({'–'.join(ends)})"
    return text
