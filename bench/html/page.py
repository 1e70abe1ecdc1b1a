"""The report: one self-contained HTML page of one run or several.

Names from files are shown as text: the template escapes them, and control characters are replaced
before.
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
from bench.core.text import number_of, printable, shortened
from bench.explain.explanation import Explanation
from bench.html import (
    findings,
    layer_tables,
    recipe,
    run_tables,
    speedup_tables,
    svg,
    table_data,
    table_rows,
    why,
)
from bench.html.history import Shown
from bench.insights import headlines
from bench.plots import draw
from bench.results import corrected, time_spent
from bench.results.csv_files import MEASUREMENTS
from bench.results.profile_load import Profiled
from bench.results.results import Results
from bench.results.run_json import Description

PARTS = Path(__file__).with_name("parts")
PAGE_BYTES = 5_000_000  # a larger page has fewer rows or none; the CSV beside it has all
MOST_LINES = 4000  # lines of the table; with more rows, it has only the whole phases
MOST_FAILURES = 200
MOST_TABLES = 4  # tables of speedups that are not folded
MOST_RECIPES = 6
MOST_CHARS = 600  # characters of a reason or of a detail of the environment
CONFIG_CHARS = 100_000  # characters of all runs' configurations together
MOST_WORDS = 5  # sentences of the page that the terminal shows
MOST_SUBJECTS = 2  # subjects of a run with plots
MOST_DRAWN = 3  # runs with plots
PLOTS_BYTES = 1_500_000  # size of all pictures together
_NOT_SHOWN = ("peaks",)


@dataclass(frozen=True, slots=True)
class Page:
    """The HTML, and the parts of it that the caller prints or stores.

    whole: no text points to the tables beside the page.
    """

    html: str
    figures: Mapping[str, Figure]  # by file name without its ending
    first_words: tuple[str, ...]  # its most important sentences
    whole: bool


def build(
    runs: Sequence[Results],
    profiles: Sequence[Profiled] = (),
    past: Shown | None = None,
    past_note: str = "",
    explanations: Sequence[Explanation] = (),
    notes: Sequence[str] = (),
) -> Page:
    """Return the page of runs, which stand in the given order.

    past:         the history over the commits, of three or more runs.
    past_note:    why there is no history.
    profiles:     profiles of cases of the runs; the page shows their layers inside the network and
                  alone.
    explanations: of the difference of two variants of cases.
    notes:        lines below the details, such as runs that are left out.
    """
    several = len(runs) > 1
    rows = [row for run in runs for row in run.rows]
    figures = _figures(runs)
    pictures, plots_note = _pictures(figures, runs)
    cases = _wholes(rows)
    columns = table_rows.columns(several=several)
    where = _tables_beside(runs)
    headline = f"{past.headline}." if past and past.claims else headlines.of_runs(runs)
    page_findings = findings.of_runs(
        [(run_tables.name(run) if several else "", run) for run in runs]
    )
    context: dict[str, Any] = {
        "css": Markup((PARTS / "page.css").read_text(encoding="utf-8") + table_rows.css(columns)),
        "js": Markup((PARTS / "page.js").read_text(encoding="utf-8")),
        "title": _title(runs),
        "headline": headline,
        **_speedups(runs, where),
        "recipes": recipe.recipes(_newest(runs), MOST_RECIPES),
        "subtitle": _subtitle(runs),
        "details": list(_details(runs, cases)),
        "notes": [_short(one, MOST_CHARS) for one in notes],
        "findings": page_findings.first,
        "more_findings": page_findings.more,
        "more_count": number_of(page_findings.more_count, "more finding"),
        "changes": run_tables.changes(*runs) if len(runs) == 2 else None,
        "history": run_tables.history(runs) if len(runs) > 2 else None,
        "past": past,
        "past_note": past_note,
        "why": why.sections(explanations),
        **_layers_inside(runs, profiles),
        "plots": pictures,
        "plots_note": plots_note,
        "failures": _failures(cases),
        "failures_note": _more(
            [row for row in cases if row.status != "ok"],
            MOST_FAILURES,
            f" in {where} beside this page",
        ),
        "flags": _flags(cases),
        "several": several,
        "columns": columns,
        "runs": [_described(run, CONFIG_CHARS // len(runs)) for run in runs],
    }
    html, shown = _rendered(context, rows, where, several=several)
    claims = () if past is None else tuple(one.text for one in past.claims)
    words = (headline, *claims, *(one.text for one in page_findings.first))
    told = context["tables_note"], context["failures_note"]
    whole = shown is rows and not any(where in note for note in told)
    return Page(html, figures, words[:MOST_WORDS], whole)


def _tables_beside(runs: Sequence[Results]) -> str:
    """Return the name of the table with all figures, as it lies beside the page."""
    if len(runs) > 1:
        return "measurements-1.csv and so on"
    return MEASUREMENTS if runs[0].path.is_dir() else printable(runs[0].path.name)


def _newest(runs: Sequence[Results]) -> Results:
    """Return the run after the change: of two the second, of more the one that began last."""
    if len(runs) <= 2:
        return runs[-1]
    return sorted(runs, key=lambda run: run.description.started or "")[-1]


def _layers_inside(runs: Sequence[Results], profiles: Sequence[Profiled]) -> dict[str, Any]:
    named = [(run_tables.name(run), run) for run in runs]
    inside, notes = layer_tables.sections(named, profiles)
    return {"inside": inside, "inside_head": layer_tables.HEAD, "inside_notes": notes}


def _speedups(runs: Sequence[Results], where: str) -> dict[str, Any]:
    tables, note = speedup_tables.of_runs(runs, where)
    return {
        "tables": tables[:MOST_TABLES],
        "more_tables": tables[MOST_TABLES:],
        "more_tables_count": number_of(len(tables[MOST_TABLES:]), "more table"),
        "tables_note": note,
    }


def _rendered(
    context: Mapping[str, Any], rows: Sequence[Row], where: str, *, several: bool
) -> tuple[str, Sequence[Row]]:
    """Return the HTML with as many rows in its table as PAGE_BYTES allow, and these rows."""
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    ).from_string((PARTS / "page.html").read_text(encoding="utf-8"))
    wholes = _wholes(rows)[:MOST_LINES]
    html, shown = "", rows
    for shown in (rows, wholes, ()) if len(rows) <= MOST_LINES else (wholes, ()):
        html = template.render(
            context,
            rows=table_rows.lines(shown, several=several),
            rows_note=_rows_note(rows, shown, where),
            selects=table_rows.selects(shown, several=several),
            data=Markup(table_data.data(shown)),
        )
        if len(html.encode()) <= PAGE_BYTES:
            break
    return html, shown


def _wholes(rows: Sequence[Row]) -> list[Row]:
    """Return the row of the whole phase of each case."""
    return [row for row in rows if row.phase in (None, whole_phase(str(row.mode)))]


def _title(runs: Sequence[Results]) -> str:
    wholes = (split(row.subject)[0] for run in runs for row in run.rows if row.subject)
    names = [_short(one, table_rows.NAME) for one in dict.fromkeys(wholes)]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if len(runs) == 1:
        return f"Speed and memory of {shown or 'no subject'}"
    return f"{shown}: {'two' if len(runs) == 2 else len(runs)} runs"


def _subtitle(runs: Sequence[Results]) -> str:
    return " · ".join(run_tables.name(run) for run in runs[:4]) + (" · …" if len(runs) > 4 else "")


def _devices(cases: Sequence[Row]) -> Iterator[str]:
    """Yield the names that drivers report; numbers tell several accelerators apart."""
    numbers: dict[str, dict[str, None]] = {}
    for row in cases:
        if name := row.device_name or row.device:
            numbers.setdefault(name, {})[str(row.device)] = None
    several = len({one for own in numbers.values() for one in own} - {"cpu"}) > 1
    for name, own in numbers.items():
        which = ", ".join(one for one in own if one not in ("cpu", name))
        yield f"{name} ({which})" if several and which else name


def _details(runs: Sequence[Results], cases: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield labels and values: devices, versions, time, number of cases, contended cases."""
    yield "on", _short(", ".join(_devices(cases)) or "unknown", MOST_CHARS)
    torches = dict.fromkeys(row.torch_version for row in cases if row.torch_version)
    yield "torch", _short(", ".join(torches) or "unknown", MOST_CHARS)
    started = [run.description.started for run in runs if run.description.started]
    if started:
        yield "measured", f"{printable(min(started)[:16].replace('T', ' '))} UTC"
    good = sum(row.status == "ok" for row in cases)
    yield "cases", f"{good}" + (f" of {len(cases)}" if good < len(cases) else "")
    replicates = [int(row.replicates) for row in cases if row.replicates]
    if replicates:
        low, high = min(replicates), max(replicates)
        yield "replicates", f"{high}" if low == high else f"{low} to {high}"
    correction = corrected.told(cases)
    if correction:
        yield "reference work", correction
    contended = sum("contended" in row.flag_names for row in cases)
    yield "disturbed by other work", f"{contended} of {good}" if contended else "none"


def _figures(runs: Sequence[Results]) -> dict[str, Figure]:
    """Return the plots of the first runs."""
    found: dict[str, Figure] = {}
    for number, run in enumerate(runs[:MOST_DRAWN]):
        own, _ = draw.build(_first_subjects(run))
        found |= {name if not number else f"{name}-{number + 1}": one for name, one in own.items()}
    return found


def _first_subjects(run: Results) -> Results:
    """Return the run with only its first subjects, because drawing a figure takes a second."""
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
    verb = "is" if left == 1 else "are"
    plots = number_of(left, "more plot")
    notes = [f"{plots} {verb} in the folder beside this page."] if left else []
    if len(runs) > MOST_DRAWN:
        notes.append(f"The plots are those of the first {MOST_DRAWN} of {len(runs)} runs.")
    subjects = max(
        len({split(row.subject or "")[0] for row in run.rows}) for run in runs[:MOST_DRAWN]
    )
    if subjects > MOST_SUBJECTS:
        of = f"{subjects} subjects" if len(runs) == 1 else f"up to {subjects} subjects of each run"
        notes.append(
            f"The plots show the first {MOST_SUBJECTS} of {of}; those of all subjects are in the "
            "folder plots/ of the run."
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


def _rows_note(rows: Sequence[Row], shown: Sequence[Row], where: str) -> str:
    if len(rows) == len(shown):
        return ""
    if not shown:
        return (
            f"{number_of(len(rows), 'row')} are too many for this page. All are in {where} beside "
            "it."
        )
    first = "the first " if len(shown) == MOST_LINES else ""
    return (
        f"{len(shown):,} of {number_of(len(rows), 'row')}: {first}those of whole cases. All "
        f"are in {where} "
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
        "name": run_tables.name(run),
        "repeat": _short(repeat(described), CONFIG_CHARS // 10)
        if described.is_known
        else "unknown",
        "environment": environment,
        "spent": time_spent.parts(described),
        "config": "\n".join(map(printable, config.split("\n"))),
    }


def repeat(described: Description) -> str:
    """Return the command that repeats a run, with the checkout of its commit."""
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
    environment = described.environment
    commit = environment.git_commit
    first = f"git checkout {shlex.quote(commit)} && " if commit else ""
    changed = "  # and with the uncommitted changes" if environment.git_dirty else ""
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
