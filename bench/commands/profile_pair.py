"""The command `bench profile A B`: profile two variants in turns, and explain the difference."""

import dataclasses
import datetime
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench.ab import ab_plan as planning
from bench.ab import profiles, variants
from bench.ab.ab_plan import Planned
from bench.commands.profile import exit_code
from bench.core.errors import UserError
from bench.core.exit_codes import INTERRUPTED
from bench.core.records import Case, Failure
from bench.core.text import number_of
from bench.explain import text
from bench.explain.explanation import Explanation, explain
from bench.host import environment, gpu_driver, preflight
from bench.plan import config
from bench.results import run_directory
from bench.results.profile_parts import StepParts
from bench.results.profile_tables import ProfileReadError
from bench.terminal.progress import wide_console
from bench.verdict import github, tables
from bench.verdict.markdown import MOST_SENTENCE, code, escape

REPORT = "report.md"
NAME = "profile-ab"


class PairError(UserError):
    """The two profiles cannot be made or stored; the message is one line."""


def run(asked: planning.Asked, rounds: int | None = None) -> int:
    """Profile, and write a directory.  Return the exit code."""
    console = wide_console()
    a, b = variants.parse(str(asked.a), str(asked.b))
    if asked.out:
        run_directory.refuse_existing(asked.out)
    asked = dataclasses.replace(asked, config=asked.config or config.PROFILE)
    with variants.opened(a, b) as both:
        planned = planning.make(asked, *both)
        directory = _begin(asked, planned)
        tables.say(console, _begins(planned))
        for warning in preflight.warnings(threads=planning.most_threads(planned)):
            tables.say(console, f"note: {warning}")
        devices = (case.device for sides in planned.cases.values() for case in sides.values())
        try:
            with gpu_driver.kept_loaded(devices):
                return _profile(planned, directory, console, rounds or profiles.ROUNDS)
        except KeyboardInterrupt:
            said = f"interrupted; the results so far are in {directory.path}"
            tables.say(console, said)
            return INTERRUPTED
        finally:
            shutil.rmtree(directory.folders.scratch, ignore_errors=True)


def _begins(planned: Planned) -> str:
    a, b = planned.sides
    return f"A: {a.shown}; B: {b.shown}; {number_of(len(planned.cases), 'case')}"


def _begin(asked: planning.Asked, planned: Planned) -> run_directory.RunDir:
    now = datetime.datetime.now(datetime.UTC)
    return run_directory.create(
        asked.out or run_directory.default_path(NAME, planned.sides[1].commit, now),
        {
            "command": ["bench", *sys.argv[1:]],
            "started": now.isoformat(timespec="seconds"),
            "sides": {side.name: side.as_dict() for side in planned.sides},
            "machine": {"machine_id": planned.machine_id},
            "environment": {**planned.torch_details, **environment.environment()},
            "cases": list(planned.cases),
            "missing": dict(planned.missing),
        },
    )


def _profile(
    planned: Planned, directory: run_directory.RunDir, console: Console, rounds: int
) -> int:
    say = partial(tables.say, console)

    profiler = profiles.PairProfiler(
        sides={side.name: side for side in planned.sides},
        run=planned.run,
        directory=directory.path,
        scratch=directory.folders.scratch,
        tell=say,
        rounds=rounds,
    )
    for key, why in planned.missing.items():
        say(f"{key}: {why}")
    found: list[Explanation] = []
    failed: list[Failure] = []
    with profiler.open(list(planned.cases.values())):
        for sides in planned.cases.values():
            match _both(profiler, sides):
                case Failure() as failure:
                    failed.append(failure)
                    say(f"{failure.status}: {failure.case.case_id}: {failure.told}")
                case both:
                    found.append(explain(both["A"], both["B"]))
                    for line in text.lines(found[-1:]):
                        say(line)
    return _end(found, failed, planned, directory.path, console)


def _both(
    profiler: profiles.PairProfiler, sides: Mapping[str, Case]
) -> Mapping[str, StepParts] | Failure:
    """Profile one case.  Raises PairError."""
    try:
        return profiler.profile(sides)
    except (ProfileReadError, OSError) as error:
        raise PairError(f"the profile of {sides['A'].case_id}: {error}") from None


def _end(
    found: Sequence[Explanation],
    failed: Sequence[Failure],
    planned: Planned,
    path: Path,
    console: Console,
) -> int:
    report = _report(found, failed, planned)
    try:
        text.write_table(path, found)
        (path / REPORT).write_text(report, encoding="utf-8")
    except OSError as error:
        raise PairError(f"{path}: cannot be written: {error.strerror or error}") from None
    problem = github.step_summary(report)
    lines = [
        *([problem] if problem else []),
        f"{path}/: {text.TABLE} has every part, {REPORT} the sentences",
        f"open the traces ({path}/A/*/trace.json.gz, {path}/B/…) in ui.perfetto.dev",
    ]
    for line in lines:
        tables.say(console, line)
    return exit_code(len(found), failed)


def _report(found: Sequence[Explanation], failed: Sequence[Failure], planned: Planned) -> str:
    a, b = planned.sides
    sides = f"A is {code(a.shown)}, B is {code(b.shown)}."
    head = f"{sides} Times are those of a step without the profiler.\n"
    without = [
        *((one.case.case_id, f"{one.status}: {one.told}") for one in failed),
        *planned.missing.items(),
    ]
    lines = [f"- {escape(key)}: {escape(why, MOST_SENTENCE)}\n" for key, why in without]
    lost = f"\nWithout a profile:\n\n{''.join(lines)}" if lines else ""
    return head + text.markdown(found, "Where the difference is") + lost
