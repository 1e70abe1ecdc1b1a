"""The forest plot of `bench ab`: each ratio with its interval, and the band of the threshold."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.core import units
from bench.core.text import number_of, plain
from bench.plots import marks
from bench.plots.draw import rc_context, save
from bench.plots.sheet import Captions, sheet
from bench.plots.style import BLACK, BLUE, FAINT, GREY, PURPLE, VERMILION, Style
from bench.verdict.comparison import PairComparison
from bench.verdict.lines import named
from bench.verdict.report import TIMES, Finding, Report, of_cases

NAME = "forest.png"
MOST_ROWS = 60  # more cannot be read on one page
MOST_RATIO = 2.0  # a wider interval ends in an arrow at the panel's edge
STYLES = {
    "REGRESSED": Style(VERMILION, ">"),
    "UNTRUSTED": Style(PURPLE, "X"),
    "INCONCLUSIVE": Style(GREY, "o"),
    "IMPROVED": Style(BLUE, "<"),
    "SAME": Style(BLACK, "s"),
}


def draw(folder: Path, report: Report[PairComparison]) -> Path | None:
    """Write forest.png and .svg; return None if nothing was timed on both sides."""
    with rc_context():
        figure = forest(report)
    return save(figure, folder / NAME) if figure else None


def forest(report: Report[PairComparison]) -> Figure | None:
    """Draw a row for each phase, grouped by case, the largest slowdown first."""
    timed = [one for one in report.findings if one.figure in TIMES and one.ratio]
    if not timed:
        return None
    by_case = of_cases(timed)
    cases = sorted(by_case, key=lambda name: -max(row.ratio or 0.0 for row in by_case[name]))
    shown, left_out = _fitting([by_case[name] for name in cases])
    names = [plain(name, 48) for name in _without_common_end(cases)]
    more = f" · {number_of(left_out, 'more case')} in ab.csv" if left_out else ""
    thresholds = report.comparison.thresholds
    bands = [thresholds.get(rows[0].case_id, report.threshold) for rows in shown]
    own = ", or the case's own threshold" if set(bands) - {report.threshold} else ""
    made = sheet(
        Captions(
            plain(report.headline, 110),
            f"time of B / time of A, bars: 95 % interval over pairs, grey band: threshold ± "
            f"{units.percent(report.threshold)}{own}{more}",
            plain(f"A: {report.base} · B: {report.value}", 160),
        ),
        [marks.rows_height_in(sum(len(rows) + 1 for rows in shown))],
        1,
        width_in=4.5,
        legend=[
            marks.legend_entry(style, verdict.lower())
            for verdict, style in STYLES.items()
            if any(row.verdict == verdict for row in timed)
        ],
    )
    _panel(made.panels[0][0], shown, names, bands)
    return made.fitted()


def _without_common_end(names: Sequence[str]) -> list[str]:
    """Return the case_ids without the end that all of them share."""
    parts = [name.split(":") for name in names]
    common = 0
    while len(parts) > 1 and all(len(one) > common + 1 for one in parts):
        if len({one[-1 - common] for one in parts}) > 1:
            break
        common += 1
    return [":".join(one[: len(one) - common]) for one in parts]


def _fitting(cases: Sequence[list[Finding]]) -> tuple[list[list[Finding]], int]:
    shown: list[list[Finding]] = []
    lines = 0
    for rows in cases:
        lines += len(rows) + 1
        if shown and lines > MOST_ROWS:
            break
        shown.append(rows)
    return shown, len(cases) - len(shown)


def _panel(
    axes: Axes,
    cases: Sequence[Sequence[Finding]],
    names: Sequence[str],
    bands: Sequence[float],
) -> None:
    """Draw the rows into the panel.  bands: the threshold of each case."""
    ends = [
        end
        for rows in cases
        for row in rows
        for end in (row.ratio, row.ratio_low, row.ratio_high)
        if end and math.isfinite(end)
    ]
    reach = max(1 + 2 * max(bands), *(max(end, 1 / end) for end in ends)) ** 1.08
    reach = min(reach, MOST_RATIO)
    lines: list[marks.IntervalRow] = []
    for name, rows, band in zip(names, cases, bands, strict=False):
        above = len(lines) - 0.5
        edges = [above, above + len(rows) + 1]
        axes.fill_betweenx(edges, 1 / (1 + band), 1 + band, color="#f0f0f0", zorder=0, lw=0)
        lines += [marks.IntervalRow(name, heading=True), *map(_row, rows)]
    xlabel = "◀ B is faster        change of the time (%)        B is slower ▶"
    marks.interval_rows(axes, lines, "×", xlabel, (1 / reach, reach))
    digits = max(1, 1 - math.floor(math.log10(100 * max(reach - 1, 1e-6) / 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: _percent(ratio, digits)))
    axes.axvline(1, color=FAINT, linewidth=1.2)


def _percent(ratio: float, digits: int) -> str:
    """`+5 %`, `-0.5 %`, with at most so many digits after the point."""
    text = f"{100 * (ratio - 1):+.{digits}f}".rstrip("0").rstrip(".")
    return "0 %" if text in ("+", "-", "+0", "-0") else f"{text} %"


def _row(one: Finding) -> marks.IntervalRow:
    ratio, label = one.ratio or 1.0, f"{one.phase}{named(str(one.figure))}"
    text, style = f"{100 * (ratio - 1):+.1f} %", STYLES[one.verdict]
    return marks.IntervalRow(label, ratio, one.ratio_low, one.ratio_high, text, style)
