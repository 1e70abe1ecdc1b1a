"""The command `bench report RUN… [PROFILE…]`: it reads results and writes one page."""

import datetime
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.core.errors import UserError, one_line
from bench.explain import matching
from bench.explain.explanation import explain
from bench.history import blessed, commits, confirmed, findings, series, store
from bench.html import page
from bench.html.history import Shown, section
from bench.plots import draw
from bench.results import (
    distinct_runs,
    pair_profiles,
    profile_load,
    results_folder,
    run_directory,
)
from bench.results.csv_files import MEASUREMENTS
from bench.results.directory_kind import FLEET, kind_of
from bench.results.loading import load
from bench.results.results import Results
from bench.terminal.history import headline
from bench.terminal.progress import wide_console
from bench.verdict import tables

NAME = "report.html"
OK = 0


class ReportError(UserError):
    """These results give no page; the message is one line."""


def report(given: Sequence[Path], out: Path | None) -> int:
    """Write the page, its plots, and a CSV if not all rows fit.  Return the exit code.

    given: directories of runs, of profiles, which show the layers inside the network, and of pairs
           of profiles, whose difference is explained.
    out:   a folder; by default that of the run, or a new one in results/ for several runs.
    """
    console = wide_console()
    profiled = [path for path in given if profile_load.is_profile(path)]
    pairs = [path for path in given if pair_profiles.is_pair(path)]
    named = [path for path in given if path not in (*profiled, *pairs)]
    paths = [run for path in named for run in _runs_of(path)]
    if not paths:
        raise ReportError(
            f"{given[0]}: was left by `bench profile`; give the directory of a `bench run` before "
            "it, beside whose layers it is shown"
        )
    profiles = [case for path in profiled for case in profile_load.load(path)]
    runs = distinct_runs.apart([_load(path) for path in paths])
    folder = out or _folder(paths)
    _refuse_foreign(folder, paths)
    explanations = [
        explain(a, b) for path in pairs for a, b in matching.between(*pair_profiles.load(path))
    ]
    past, past_note = _past(runs, named[0]) if len(runs) > 2 else (None, "")
    made = page.build(runs, profiles, past, past_note, explanations)
    own = len(paths) == 1 and folder.resolve() == _directory(paths[0]).resolve()
    try:
        results_folder.make_for(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not (own and any((folder / draw.FOLDER).glob("*.png"))):
            _plots(folder, made)
        if not made.whole and not own:
            _copy_tables(folder, runs)
        run_directory.write_atomically(folder / NAME, made.html)
    except OSError as error:
        raise ReportError(f"{folder}: cannot be written: {error.strerror}") from None
    _tell(console, folder, made)
    return OK


def _runs_of(path: Path) -> list[Path]:
    """Return the finished runs of a store; a path that is no store stays as it is."""
    if not path.is_dir() or kind_of(path) not in (None, FLEET):
        return [path]
    found = [run for run in store.folders_of_runs(path) if (run / MEASUREMENTS).exists()]
    return found or [path]


def _past(runs: Sequence[Results], first: Path) -> tuple[Shown | None, str]:
    """Return the history over the commits of this repository, and a note if there is no history.

    first: the first path of the command: a store, or a run in it.
    """
    here = Path.cwd()
    try:
        line = commits.line(here)
        given = blessed.read(commits.top(here) / blessed.FILE)
        accepted, notes = blessed.placed(given, here, line)
    except UserError as error:
        return None, f"No history over the commits: {one_line(error)}."
    gathered = series.gather(map(store.of_results, runs), line, accepted)
    history = findings.examine(gathered.series)
    is_store = first.is_dir() and not (first / MEASUREMENTS).exists()
    history = confirmed.known(history, first if is_store else _directory(first).parent)
    return section(history, gathered.left, headline(history), notes), ""


def _load(path: Path) -> Results:
    """Load a finished run.  Raises ReportError, and the errors of `load`."""
    found = load(path)
    if not found.rows:
        raise ReportError(f"{path}: its {MEASUREMENTS} has no rows; is the run finished?")
    return found


def _refuse_foreign(folder: Path, paths: Sequence[Path]) -> None:
    """Raise ReportError if the folder has the plots and tables of another run."""
    own = len(paths) == 1 and folder.resolve() == _directory(paths[0]).resolve()
    if not own and run_directory.RunDir(folder).description.exists():
        raise ReportError(f"--out {folder}: is the directory of a run; choose another folder")


def _directory(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _folder(paths: Sequence[Path]) -> Path:
    if len(paths) == 1:
        return _directory(paths[0])
    return run_directory.default_path("report", None, datetime.datetime.now(datetime.UTC))


def _plots(folder: Path, made: page.Page) -> None:
    (folder / draw.FOLDER).mkdir(exist_ok=True)
    for name, figure in made.figures.items():
        draw.save(figure, folder / draw.FOLDER / f"{name}.png")


def _copy_tables(folder: Path, runs: Sequence[Results]) -> None:
    """Copy the full tables, one file for each run."""
    for number, run in enumerate(runs, 1):
        source = run.path / MEASUREMENTS if run.path.is_dir() else run.path
        name = MEASUREMENTS if len(runs) == 1 else f"measurements-{number}.csv"
        shutil.copyfile(source, folder / name)


def _tell(console: Console, folder: Path, made: page.Page) -> None:
    for one in made.first_words:
        tables.say(console, f"- {one}")
    tables.say(console, f"report: {folder / NAME}")
