"""The report: one self-contained HTML page of one run or several.

Names from files stay text: the template escapes them, and characters on which a terminal or a page
could act are replaced before.
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from bench.compare.groups import split
from bench.core.records import FLAGS, Row, whole_phase
from bench.core.text import printable, shortened
from bench.html import (
    findings,
    layers,
    recipe,
    speedup_tables,
    svg,
    table_data,
    table_rows,
    time_spent,
)
from bench.html import runs as page_runs
from bench.insights import headline as headlines
from bench.plots import draw
from bench.results import corrected
from bench.results.profile_load import Profiled
from bench.results.results import Results
from bench.results.run_json import Description

PARTS = Path(__file__).with_name("parts")
PAGE_BYTES = 5_000_000  # beyond, fewer rows or none, and the CSV beside the page
MOST_LINES = 4000  # of the table; beyond, the whole phases alone
MOST_FAILURES = 200
MOST_TABLES = 4  # of speedups that are not folded
MOST_RECIPES = 6
MOST_CHARS = 600  # of a reason or a fact of the environment
CONFIG_CHARS = 100_000  # of all runs' configurations together
MOST_WORDS = 5  # on the terminal
MOST_SUBJECTS = 2  # whose plots are drawn
PLOTS_BYTES = 1_500_000  # of all pictures together
_NOT_SHOWN = ("peaks",)


@dataclass(frozen=True, slots=True)
class Page:
    """The HTML, and the facts that the caller tells or stores."""

    html: str
    figures: Mapping[str, Figure]  # by file name without its ending
    first_words: tuple[str, ...]  # its most important sentences
    whole: bool  # every row is in the table


def build(runs: Sequence[Results], profiles: Sequence[Profiled] = ()) -> Page:
    """The page of runs, in the order given.

    profiles: of cases of the runs; their layers are shown inside the network as well as alone.
    """
    several = len(runs) > 1
    rows = [row for run in runs for row in run.rows]
    figures = _figures(runs)
    pictures, plots_note = _pictures(figures, runs)
    cases = _wholes(rows)
    inside, not_inside = layers.sections([(page_runs.name(r), r) for r in runs], profiles)
    columns = table_rows.columns(several=several)
    headline = headlines.of_runs(runs)
    told = findings.of_runs([(page_runs.name(run) if several else "", run) for run in runs])
    context: dict[str, Any] = {
        "css": Markup((PARTS / "page.css").read_text(encoding="utf-8") + table_rows.css(columns)),
        "js": Markup((PARTS / "page.js").read_text(encoding="utf-8")),
        "title": _title(runs),
        "headline": headline,
        **_speedups(runs),
        "recipes": recipe.recipes(runs[-1], MOST_RECIPES),
        "subtitle": _subtitle(runs),
        "facts": list(_facts(runs, cases)),
        "findings": told.first,
        "more_findings": told.more,
        "more_count": told.more_count,
        "changes": page_runs.changes(*runs) if len(runs) == 2 else None,
        "history": page_runs.history(runs) if len(runs) > 2 else None,
        "inside": inside,
        "inside_head": layers.HEAD,
        "inside_notes": not_inside,
        "plots": pictures,
        "plots_note": plots_note,
        "failures": _failures(cases),
        "failures_note": _more(
            [row for row in cases if row.status != "ok"], MOST_FAILURES, " in measurements.csv"
        ),
        "flags": _flags(cases),
        "several": several,
        "columns": columns,
        "runs": [_described(run, CONFIG_CHARS // len(runs)) for run in runs],
    }
    html, shown = _rendered(context, rows, several=several)
    words = (headline, *(one.text for one in told.first))
    return Page(html, figures, words[:MOST_WORDS], shown is rows)


def _speedups(runs: Sequence[Results]) -> dict[str, Any]:
    tables, note = speedup_tables.of_runs(runs)
    return {
        "tables": tables[:MOST_TABLES],
        "more_tables": tables[MOST_TABLES:],
        "tables_note": note,
    }


def _rendered(
    context: Mapping[str, Any], rows: Sequence[Row], *, several: bool
) -> tuple[str, Sequence[Row]]:
    """The HTML with as many rows in its table as PAGE_BYTES hold, and those rows."""
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    ).from_string((PARTS / "page.html").read_text(encoding="utf-8"))
    wholes = _wholes(rows)[:MOST_LINES]
    html, shown = "", rows
    for shown in (rows, wholes, ()) if len(rows) <= MOST_LINES else (wholes, ()):
        html = template.render(
            context,
            rows=table_rows.lines(shown, several=several),
            rows_note=_rows_note(rows, shown, several=several),
            selects=table_rows.selects(shown, several=several),
            data=Markup(table_data.data(shown)),
        )
        if len(html.encode()) <= PAGE_BYTES:
            break
    return html, shown


def _wholes(rows: Sequence[Row]) -> list[Row]:
    """The row of the whole phase of each case."""
    return [row for row in rows if row.phase in (None, whole_phase(str(row.mode)))]


def _title(runs: Sequence[Results]) -> str:
    wholes = (split(row.subject)[0] for run in runs for row in run.rows if row.subject)
    names = [_short(one, table_rows.NAME) for one in dict.fromkeys(wholes)]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if len(runs) == 1:
        return f"Speed and memory of {shown or 'no subject'}"
    return f"{shown}: {'two' if len(runs) == 2 else len(runs)} runs"


def _subtitle(runs: Sequence[Results]) -> str:
    return " · ".join(page_runs.name(run) for run in runs[:4]) + (" · …" if len(runs) > 4 else "")


def _devices(cases: Sequence[Row]) -> Iterator[str]:
    """The names that drivers report; numbers tell several accelerators apart."""
    numbers: dict[str, dict[str, None]] = {}
    for row in cases:
        if name := row.device_name or row.device:
            numbers.setdefault(name, {})[str(row.device)] = None
    several = len({one for own in numbers.values() for one in own} - {"cpu"}) > 1
    for name, own in numbers.items():
        which = ", ".join(one for one in own if one not in ("cpu", name))
        yield f"{name} ({which})" if several and which else name


def _facts(runs: Sequence[Results], cases: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Devices, versions, time, number of cases and disturbances: a label and a value each."""
    yield "on", _short(", ".join(_devices(cases)) or "unknown", MOST_CHARS)
    torches = dict.fromkeys(row.torch_version for row in cases if row.torch_version)
    yield "torch", _short(", ".join(torches) or "unknown", MOST_CHARS)
    started = [run.description.started for run in runs if run.description.started]
    if started:
        yield "measured", printable(min(started)[:16].replace("T", " "))
    good = sum(row.status == "ok" for row in cases)
    yield "cases", f"{good}" + (f" of {len(cases)}" if good < len(cases) else "")
    replicates = [int(row.replicates) for row in cases if row.replicates]
    if replicates:
        low, high = min(replicates), max(replicates)
        yield "replicates", f"{high}" if low == high else f"{low} to {high}"
    told = corrected.told(cases)
    if told:
        yield "controls", told
    contended = sum("contended" in row.flag_names for row in cases)
    yield "disturbed by other work", f"{contended} of {good}" if contended else "none"


def _figures(runs: Sequence[Results]) -> dict[str, Figure]:
    """Of each run where there are three at most, else of the first three."""
    found: dict[str, Figure] = {}
    for number, run in enumerate(runs[:3]):
        own, _ = draw.build(_first_subjects(run))
        found |= {name if not number else f"{name}-{number + 1}": one for name, one in own.items()}
    return found


def _first_subjects(run: Results) -> Results:
    """Of a run with many subjects the first ones: a figure takes a second."""
    wholes = [split(row.subject or "")[0] for row in run.rows]
    kept = list(dict.fromkeys(wholes))[:MOST_SUBJECTS]
    rows = (row for row, whole in zip(run.rows, wholes, strict=True) if whole in kept)
    return replace(run, rows=tuple(rows))


def _pictures(
    figures: Mapping[str, Figure], runs: Sequence[Results]
) -> tuple[list[dict[str, str]], str]:
    found: list[dict[str, str]] = []
    left_bytes = PLOTS_BYTES
    for name, figure in figures.items():
        source = svg.picture(figure)
        left_bytes -= len(source)
        if left_bytes < 0:
            break
        found.append({"name": name.replace("-", " "), "source": source})
    left = len(figures) - len(found)
    notes = [f"{left} more plots lie in the folder beside this page."] if left else []
    subjects = {split(row.subject or "")[0] for run in runs for row in run.rows}
    if len(subjects) > MOST_SUBJECTS:
        notes.append(
            f"Plots are of the first {MOST_SUBJECTS} of {len(subjects)} subjects; those of all lie "
            "in the run's own folder plots/."
        )
    return found, " ".join(notes)


def _failures(cases: Sequence[Row]) -> list[dict[str, str]]:
    return [
        {
            "run": _short(row.run_id or "", table_rows.NAME),
            "case": _short(row.case_id or "", 2 * table_rows.NAME),
            "status": str(row.status),
            "reason": _short(row.reason or "", MOST_CHARS),
        }
        for row in cases
        if row.status != "ok"
    ][:MOST_FAILURES]


def _more(all_: Sequence[object], most: int, where: str) -> str:
    return f"{len(all_) - most} more{where}." if len(all_) > most else ""


def _flags(cases: Sequence[Row]) -> list[dict[str, Any]]:
    counts = Counter(flag for row in cases for flag in row.flag_names)
    return [
        {"name": flag, "count": counts[flag], "meaning": meaning}
        for flag, meaning in FLAGS.items()
        if counts[flag]
    ]


def _rows_note(rows: Sequence[Row], shown: Sequence[Row], *, several: bool) -> str:
    if len(rows) == len(shown):
        return ""
    where = "measurements-1.csv and so on, which lie" if several else "measurements.csv, which lies"
    if not shown:
        return f"{len(rows):,} rows, too much for this page. All are in {where} beside it."
    first = "the first " if len(shown) == MOST_LINES else ""
    return (
        f"{len(shown):,} of {len(rows):,} rows: {first}those of whole cases. All are in {where} "
        "beside this page."
    )


def _short(text: str, most: int) -> str:
    return shortened(printable(text), most)


def _described(run: Results, config_characters: int) -> dict[str, Any]:
    described = run.description
    machine, around = described.machine.written(), described.environment.written()
    environment = [
        (_short(str(name).replace("_", " "), table_rows.NAME), _short(_shown(value), MOST_CHARS))
        for name, value in (*machine.items(), *around.items())
        if name not in _NOT_SHOWN and value not in (None, "", [], {})
    ]
    config = shortened(json.dumps(described.config.written(), indent=1), config_characters)
    return {
        "name": page_runs.name(run),
        "repeat": _short(repeat(described), CONFIG_CHARS // 10)
        if described.is_known
        else "unknown",
        "environment": environment,
        "spent": time_spent.parts(run),
        "config": "\n".join(map(printable, config.split("\n"))),
    }


def repeat(described: Description) -> str:
    """The command line, in the state of the repository that it was run in."""
    if not described.is_known:
        return "unknown"
    kept: list[str] = []
    skip = False
    for part in described.command:
        if skip or part.startswith(("--out=", "--resume=")):
            skip = False
            continue
        skip = part in ("--out", "--resume")
        if not skip:
            kept.append(part)
    around = described.environment
    first = f"git checkout {shlex.quote(around.git_commit)} && " if around.git_commit else ""
    changed = "  # and with the changes that were not committed" if around.git_dirty else ""
    return f"{first}{shlex.join(kept)}{changed}"


def _shown(value: Any) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{key} {_shown(one)}" for key, one in value.items())
        case list() | tuple():
            return ", ".join(map(_shown, value))
        case bool():
            return "yes" if value else "no"
    return str(value)
