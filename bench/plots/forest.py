"""The forest plot of a comparison: every time with its interval, and the band of the threshold."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.core import units
from bench.plots.draw import save, style
from bench.plots.marks import point
from bench.plots.sheet import Words, sheet, text_in
from bench.plots.style import BLACK, BLUE, FAINT, GREY, INK, PURPLE, VERMILION, Look, plain, ruler
from bench.verdict import ab_report

NAME = "forest.png"
MOST_ROWS = 60  # more cannot be read on one page
MOST_RATIO = 2.0  # a wider interval ends in an arrow at the panel's edge
LOOKS = {
    "REGRESSED": Look(VERMILION, ">", "-"),
    "UNTRUSTED": Look(PURPLE, "X", "-"),
    "INCONCLUSIVE": Look(GREY, "o", "-"),
    "IMPROVED": Look(BLUE, "<", "-"),
    "SAME": Look(BLACK, "s", "-"),
}


def draw(folder: Path, report: ab_report.Report) -> Path | None:
    """Write forest.png and .svg; None where nothing was timed on both sides."""
    with style():
        figure = forest(report)
    return save(figure, folder / NAME) if figure else None


def forest(report: ab_report.Report) -> Figure | None:
    """A line a phase, the phases of a case together, the largest slowdown first."""
    timed = [row for row in report.rows if row.figure in ab_report.TIMES and row.ratio]
    if not timed:
        return None
    by_case: dict[str, list[ab_report.Row]] = {}
    for row in timed:
        by_case.setdefault(row.case_id, []).append(row)
    cases = sorted(by_case, key=lambda name: -max(row.ratio or 0.0 for row in by_case[name]))
    shown, left_out = _fitting([by_case[name] for name in cases])
    names = [plain(name, 48) for name in _told_apart(cases)]
    more = f" · {left_out} more cases in ab.csv" if left_out else ""
    bands = [report.thresholds.get(rows[0].case_id, report.threshold) for rows in shown]
    own = ", or the case's own threshold" if set(bands) - {report.threshold} else ""
    used = [verdict for verdict in LOOKS if any(row.verdict == verdict for row in timed)]
    height = sum(len(rows) for rows in shown) + len(shown)
    page = sheet(
        Words(
            plain(report.headline, 110),
            f"time of B / time of A, 95 % interval over pairs; the band is ± "
            f"{units.percent(report.threshold)}{own}{more}",
            plain(f"A: {report.a} · B: {report.b}", 160),
        ),
        [0.75 + 0.22 * height],
        1,
        panel_in=5.4,
        label_in=text_in(names),
        legend=[
            Line2D([], [], label=verdict.lower(), **point(LOOKS[verdict], hollow=False))
            for verdict in used
        ],
    )
    _panel(page.panels[0][0], shown, names, bands)
    return page.figure


def _told_apart(names: Sequence[str]) -> list[str]:
    """Case ids without the end that all of them share."""
    parts = [name.split(":") for name in names]
    common = 0
    while len(parts) > 1 and all(len(one) > common + 1 for one in parts):
        if len({one[-1 - common] for one in parts}) > 1:
            break
        common += 1
    return [":".join(one[: len(one) - common]) for one in parts]


def _fitting(cases: Sequence[list[ab_report.Row]]) -> tuple[list[list[ab_report.Row]], int]:
    shown: list[list[ab_report.Row]] = []
    lines = 0
    for rows in cases:
        lines += len(rows) + 1
        if shown and lines > MOST_ROWS:
            break
        shown.append(rows)
    return shown, len(cases) - len(shown)


def _panel(
    axes: Axes,
    cases: Sequence[Sequence[ab_report.Row]],
    names: Sequence[str],
    bands: Sequence[float],
) -> None:
    """bands: the threshold of each case."""
    ends = [
        end
        for rows in cases
        for row in rows
        for end in (row.ratio, row.ratio_low, row.ratio_high)
        if end and math.isfinite(end)
    ]
    reach = max(1 + 2 * max(bands), *(max(end, 1 / end) for end in ends)) ** 1.08
    reach = min(reach, MOST_RATIO)
    axes.set_xscale("log")
    axes.set_xlim(1 / reach, reach)
    ruler(axes.xaxis, 1 / reach, reach, _percent)
    axes.axvline(1, color=FAINT, linewidth=1.2)
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("◀ B is faster        change of the time        B is slower ▶")
    ticks, labels, heads = [], [], []
    at = -1
    for name, rows, band in zip(names, cases, bands, strict=False):
        ends_at = [at + 0.5, at + len(rows) + 1.5]
        axes.fill_betweenx(ends_at, 1 / (1 + band), 1 + band, color="#f0f0f0", zorder=0, lw=0)
        at += 1
        heads.append(at)
        ticks.append(at)
        labels.append(name)
        for row in rows:
            at += 1
            ticks.append(at)
            labels.append(f"{row.phase}{ab_report.named(row)}")
            _mark(axes, row, at, reach)
    axes.set_yticks(ticks, labels)
    for tick, place in zip(axes.yaxis.get_major_ticks(), ticks, strict=False):
        if place in heads:
            tick.label1.set(fontweight="bold", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(at + 0.8, -0.8)


def _percent(ratio: float) -> str:
    rounded = round(100 * (ratio - 1))
    return f"{rounded:+d} %" if rounded else "0 %"


def _mark(axes: Axes, row: ab_report.Row, at: int, reach: float) -> None:
    look, ratio = LOOKS[row.verdict], row.ratio or 1.0
    low, high = row.ratio_low, row.ratio_high
    if low is not None and high is not None:
        axes.hlines(at, max(low, 1 / reach), min(high, reach), color=look.color, linewidth=1.4)
        for end, edge, marker in ((1 / low, 1 / reach, "<"), (high, reach, ">")):
            if end > reach:
                axes.plot(edge, at, marker=marker, color=look.color, markersize=4, clip_on=False)
    axes.plot(min(max(ratio, 1 / reach), reach), at, **point(look, hollow=False))
    axes.annotate(
        f"{100 * (ratio - 1):+.1f} %",
        (1.02, at),
        xycoords=("axes fraction", "data"),
        va="center",
        color=look.color if look.color != GREY else FAINT,
        annotation_clip=False,
    )
