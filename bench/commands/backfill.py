"""The command `bench backfill REV..REV`: measure past commits into a store, the newest first.

The suite that measures is the current one for all commits; only the subjects are theirs, as in
`bench ab`.
"""

import contextlib
import dataclasses
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.ab import variants, worktrees
from bench.ab.variants import Side
from bench.commands import provenance
from bench.commands import run as measuring
from bench.core import units
from bench.core.axes import BY_NAME
from bench.core.exit_codes import FAILED, INTERRUPTED, OK
from bench.core.protocol import Proof
from bench.core.records import whole_phase
from bench.core.row_names import case_names
from bench.core.text import command, number_of, plain
from bench.history import commits, past, store
from bench.history.commits import Commit
from bench.history.past import PastError, Shelf
from bench.host import probe
from bench.host.git import git_variables, top_of
from bench.host.interpreter import Place
from bench.plan import config
from bench.results import results_folder
from bench.results.csv_files import MEASUREMENTS
from bench.results.loading import load
from bench.results.results import Results
from bench.terminal.progress import wide_console
from bench.verdict import tables

END_S = 90.0  # for a run that is interrupted to write what it has
WHY_CHARACTERS = 300
MOST_CASES = 3  # in the line of a commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments and flags of `bench backfill`."""

    range: str
    every: int = 1
    config: Path | None = None
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False
    out: Path | None = None  # None: the default store
    retry: bool = False
    list_only: bool = False


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A commit that cannot be measured, and why."""

    why: str


def run(asked: Asked) -> int:
    """Measure what is not measured yet.  Return the exit code."""
    console = wide_console()

    say = partial(tables.say, console)

    here = Path.cwd().resolve()
    wanted = _wanted(asked, here)
    settings = _settings(asked)
    folder = asked.out or store.STORE
    shelf = Shelf(
        folder / provenance.machine_id(settings.run.timeout_s), past.digest_of(_what(settings))
    )
    left, done, skipped = past.left_to_do(wanted, shelf, retry=asked.retry)
    again = f", {skipped} skipped (--retry tries them again)" if skipped else ""
    say(
        f"{number_of(len(wanted), 'commit')}: {done} measured already{again}, "
        f"{len(left)} to measure"
    )
    if asked.list_only:
        for one in left:
            say(f"{one.short} {one.date} {one.subject}")
        return OK
    measured = 0
    try:
        for number, commit in enumerate(left, 1):
            began_s = time.monotonic()
            found = _measure(commit, asked, settings, shelf, here)
            told = found.why if isinstance(found, NotMeasured) else _told(found)
            spent = units.duration(time.monotonic() - began_s)
            say(f"{number} of {len(left)}: {commit.short} ({commit.date}) {told}, {spent} min:s")
            measured += not isinstance(found, NotMeasured)
    except KeyboardInterrupt:
        say("interrupted; the same command measures the rest")
        return INTERRUPTED
    finally:
        shutil.rmtree(shelf.unfinished, ignore_errors=True)
    say(f"to see what changed: {command('bench', 'history', folder)}")
    return OK if measured or done or not left else FAILED


def _settings(asked: Asked) -> config.Config:
    """Return the sweep, as it is here and now: it is the same for all commits."""
    given = {name: value for name, value in asked.options.items() if value is not None}
    return config.load(
        asked.config,
        default=config.AB,
        flags=asked.axes,
        subjects=asked.subjects,
        **{**(measuring.QUICK if asked.quick else {}), **given},
    )


def _what(settings: config.Config) -> dict[str, object]:
    """Return what makes two runs of a commit different; a time limit does not."""
    described = settings.as_dict()
    return {key: value for key, value in described.items() if key not in ("timeout_s", "source")}


def _wanted(asked: Asked, here: Path) -> list[Commit]:
    first, last = past.ends(asked.range)
    for one in (first, last):
        commits.resolved(here, one)
    line = commits.line(here, last)
    begin = commits.resolved(here, first)
    earlier = set(commits.line(here, begin).places)
    found = past.chosen([one for one in line.commits if one.sha not in earlier], asked.every)
    if not found:
        raise PastError(f"{asked.range}: has no commit")
    return found


def _measure(
    commit: Commit,
    asked: Asked,
    settings: config.Config,
    shelf: Shelf,
    here: Path,
) -> Results | NotMeasured:
    """Measure a commit in a worktree of its own, and put the run into the store."""
    top = top_of(here)
    with worktrees.scratch(top) as scratch:
        try:
            side = variants.placed(_side(commit), scratch / commit.sha, here, top)
            if why := _not_built(side, settings):
                raise PastError(why)
            found = _in_process(commit, side.place, asked, settings, shelf, scratch)
        except (PastError, variants.SideError, probe.ProbeError) as error:
            found = NotMeasured(f"cannot be measured: {plain(str(error), WHY_CHARACTERS)}")
    if isinstance(found, NotMeasured):
        shelf.skip(commit, found.why)
    return found


def _side(commit: Commit) -> Side:
    return Side(name=commit.short, asked=commit.short, kind="revision", commit=commit.sha)


def _not_built(side: Side, settings: config.Config) -> str:
    """Return why no subject can be measured; empty if one can.

    The code of each subject has to lie in the tree of the commit: an installed package would give
    every commit the same times.
    """
    found = probe.look(
        settings.subjects(),
        settings.inputs(),
        settings.run.timeout_s,
        side.place,
        settings.run.weights_file,
    )
    reasons = []
    for one in found.subjects.values():
        file = str(Path(one.file).resolve()) if one.file else None
        why = (
            one.error or one.raised or variants.unproven(side, side, Proof(subject=file, files=()))
        )
        if not why:
            return ""
        reasons.append(why)
    return "; ".join(reasons)


def _in_process(
    commit: Commit,
    place: Place,
    asked: Asked,
    settings: config.Config,
    shelf: Shelf,
    scratch: Path,
) -> Results | NotMeasured:
    """Run `bench.commands.past_run` in the tree.  Raises PastError."""
    path = shelf.free_path(commit)
    out = shelf.unfinished.resolve() / path.name
    shutil.rmtree(out, ignore_errors=True)
    results_folder.make_for(shelf.folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    log = scratch / "log.txt"
    code = _child(place, json.dumps(_request(asked, settings, out)), log)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if not (out / MEASUREMENTS).is_file():
        raise PastError(_last_line(log) or f"its run ended with exit code {code}")
    found = load(out, samples=False)
    if all(row.status != "ok" for row in found.rows):
        reasons = dict.fromkeys(f"{row.status}: {row.reason}" for row in found.rows)
        return NotMeasured(f"no case ran ({plain('; '.join(reasons), WHY_CHARACTERS)})")
    shelf.folder.mkdir(parents=True, exist_ok=True)
    out.rename(path)
    return dataclasses.replace(found, path=path)


def _request(asked: Asked, settings: config.Config, out: Path) -> dict[str, Any]:
    """Return what `past_run` is asked for; it runs in another folder, so paths are absolute."""
    options = {key: one for key, one in asked.options.items() if one is not None}
    if weights := settings.run.weights_file:  # by a flag or in the TOML file
        options["weights"] = weights
    return {
        "config": str(config.file_of(asked.config, config.AB).resolve()),
        "axes": {name: list(values) for name, values in asked.axes.items()},
        "subjects": list(asked.subjects),
        "options": options,
        "quick": asked.quick,
        "out": str(out),
        "command": _command(asked),
    }


def _child(place: Place, request: str, log: Path) -> int:
    """Run the process, and return its exit code.  When this one is interrupted, so is the child."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            place.command("bench.commands.past_run"),
            cwd=place.folder,
            env={**git_variables(), **place.environment()},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.communicate(request.encode())
        except BaseException:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.send_signal(signal.SIGINT)
                process.wait(END_S)
            process.kill()
            process.wait()
            raise
    return process.returncode


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _command(asked: Asked) -> list[str]:
    """Return the `bench run` that measures the same cases in the tree of a commit."""
    words = ["bench", "run"]
    if asked.config is not None:
        words += ["--config", str(asked.config)]
    words += ["--quick"] if asked.quick else []
    for one in asked.subjects:
        words += ["--subject", one]
    for name, values in asked.axes.items():
        words += [word for value in values for word in (BY_NAME[name].flag, value)]
    for name, value in asked.options.items():
        if value is not None:
            words += [f"--{name.removesuffix('_s').replace('_', '-')}", str(value)]
    return words


def _told(found: Results) -> str:
    rows = [
        row
        for row in found.rows
        if row.status == "ok" and row.phase == whole_phase(str(row.mode)) and row.latency_median_s
    ]
    names = case_names(rows, short=True)
    parts = [
        f"{names.of(row)} {units.seconds(row.latency_median_s)}".strip()
        for row in rows[:MOST_CASES]
    ]
    more = f" and {len(rows) - MOST_CASES} more" if len(rows) > MOST_CASES else ""
    flags = past.disturbances(store.of_results(found))
    again = f"; flagged {', '.join(flags)}, so --retry measures it again" if flags else ""
    return f"{', '.join(parts)}{more}{again}"
