"""The command `bench profile`: plan, one profiled process for each case, tables, plots.

`run` reads as the table of contents.  Times under a profiler are no measurements: a process that
measures never runs a profiler.
"""

import contextlib
import dataclasses
import datetime
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.commands import provenance
from bench.core.errors import UserError
from bench.core.exit_codes import FAILED, INTERRUPTED, OK
from bench.core.records import Case, Failure
from bench.core.text import number_of
from bench.engine.requests import request
from bench.engine.workers import Experience, WorkerPool
from bench.host import environment, gpu_driver
from bench.host.probed import Probe
from bench.plan import config, expand
from bench.plots.draw import rc_context, save
from bench.plots.style import NothingToDraw
from bench.results import profile_parts, profile_tables, run_directory
from bench.results.journal import Journal
from bench.terminal import profile_summary
from bench.terminal.progress import wide_console
from bench.verdict import tables

ROUNDS = 3  # the least that give an interval
HARMLESS = ("unsupported", "oom")  # what a setting cannot do here is no failure of the command


class ProfileError(UserError):
    """The profile cannot be made; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags of `bench profile`."""

    config: Path | None = None
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    timeout_s: float | None = None
    weights: str | None = None  # file for the subjects
    out: Path | None = None
    rounds: int | None = None


def run(asked: Asked) -> int:
    """Profile, and write a directory.  Return the exit code."""
    console = wide_console()
    settings = config.load(
        asked.config or config.PROFILE,
        flags=asked.axes,
        subjects=asked.subjects,
        timeout_s=asked.timeout_s,
        weights=asked.weights,
    )
    if asked.out:
        run_directory.refuse_existing(asked.out)
    found = provenance.look(settings)
    planned = expand.make(settings, found)
    directory = _begin(asked, settings, found, planned)
    for note in planned.notes:
        tables.say(console, f"note: {note}")
    tables.say(console, f"{number_of(len(planned.cases), 'case')}; torch {found.torch}")
    profiles: list[profile_tables.Profile] = []
    failures: list[Failure] = []
    try:
        say = partial(tables.say, console)

        with gpu_driver.kept_loaded(case.device for case in planned.cases):
            for made in _profiles(planned.cases, settings.run, directory, say, asked.rounds):
                match made:
                    case Failure():
                        failures.append(made)
                        say(f"{made.status}: {made.case.case_id}: {made.told}")
                    case _:
                        profiles.append(made)
                        profile_summary.show(made, console)
        return _end(profiles, failures, directory, console)
    except KeyboardInterrupt:
        said = f"interrupted; the results so far are in {directory.path}"
        tables.say(console, said)
        return INTERRUPTED
    finally:
        shutil.rmtree(directory.folders.scratch, ignore_errors=True)


def _begin(
    asked: Asked, settings: config.Config, found: Probe, planned: expand.Plan
) -> run_directory.RunDir:
    now = datetime.datetime.now(datetime.UTC)
    around = environment.environment()
    return run_directory.create(
        asked.out or run_directory.default_path("profile", around["git_commit"], now),
        {
            "command": ["bench", *sys.argv[1:]],
            "started": now.isoformat(timespec="seconds"),
            "config": settings.as_dict(),
            "machine": provenance.machine(found),
            "environment": provenance.software(found, around),
            "devices": found.names,
            "cases": [case.as_dict() for case in planned.cases],
            "left_out": [dataclasses.asdict(one) for one in planned.left_out],
        },
    )


def _profiles(
    cases: Sequence[Case],
    options: config.RunOptions,
    directory: run_directory.RunDir,
    say: Callable[[str], None],
    rounds: int | None,
) -> Iterator[profile_tables.Profile | Failure]:
    """Profile each case in workers of its own; a crash in one does not affect the others.

    The first round is the whole profile; the others find the parts of the step alone.
    """
    log = Journal(directory.journal)
    pool = WorkerPool(
        cases=cases,
        folders=directory.folders,
        log=directory.folders.scratch / "replicate.log",
        timeout_s=options.timeout_s,
        experience=Experience(tell=say),
    )
    try:
        for case in cases:
            entry = pool.ask(request("profile", case, 0, options, directory.folders))
            log.append(entry)
            if isinstance(entry, Failure):
                yield entry
                continue
            more: list[dict[str, Any]] = []
            for number in range(1, ROUNDS if rounds is None else rounds):
                again = pool.ask(request("parts", case, number, options, directory.folders))
                if isinstance(again, Failure):
                    say(f"round {number + 1} failed: {again.status}: {again.told}")
                else:
                    more.append(_further(case, directory))
            yield _kept(case, directory, more)
    finally:
        pool.close()
        log.close()


def _further(case: Case, directory: run_directory.RunDir) -> dict[str, Any]:
    left = profile_tables.folder_of_worker(directory.folders, case, "parts")
    found = profile_tables.found(left)
    shutil.rmtree(left, ignore_errors=True)
    return found


def _kept(
    case: Case, directory: run_directory.RunDir, more: Sequence[Mapping[str, Any]]
) -> profile_tables.Profile:
    """Move the worker's files to their place, and add tables and a plot.

    more: what further rounds found.
    """
    kept = directory.path / directory.folders.of(case)
    try:
        shutil.move(profile_tables.folder_of_worker(directory.folders, case, "profile"), kept)
        profile = profile_tables.load(kept)
        profile_parts.write(kept, profile_parts.of_found(profile_tables.found(kept), more))
        profile_tables.write_case(profile)
        _draw(profile)
    except profile_tables.ProfileReadError as error:
        raise ProfileError(str(error)) from None
    except OSError as error:
        raise ProfileError(f"{kept}: cannot be written: {error.strerror or error}") from None
    return profile


def _draw(profile: profile_tables.Profile) -> None:
    from bench.plots import memory_of_step  # matplotlib takes two seconds: after the first case

    with contextlib.suppress(NothingToDraw):
        with rc_context():
            figure = memory_of_step.memory(profile)
        save(figure, profile.folder / "memory.png")


def _end(
    profiles: Sequence[profile_tables.Profile],
    failures: Sequence[Failure],
    directory: run_directory.RunDir,
    console: Console,
) -> int:
    profile_tables.write_all(directory.path, profiles)
    console.print()
    names = f"{profile_tables.LAYERS}, {profile_tables.OPERATORS}"
    tables.say(console, f"{directory.path}/: {names} over all cases")
    traces = f"{directory.path}/*/{profile_summary.TRACE}"
    tables.say(console, f"open a trace ({traces}) in ui.perfetto.dev or chrome://tracing")
    if any((one.folder / profile_summary.SNAPSHOT).is_file() for one in profiles):
        snapshots = f"{directory.path}/*/{profile_summary.SNAPSHOT}"
        tables.say(
            console,
            f"open what the allocator did in a step ({snapshots}) at pytorch.org/memory_viz",
        )
    return exit_code(len(profiles), failures)


def exit_code(profiled: int, failures: Sequence[Failure]) -> int:
    """Return the exit code for a number of profiled cases and the failures."""
    bad = [one for one in failures if one.status not in HARMLESS]
    return FAILED if bad or not profiled else OK
