"""`bench ab A B` from beginning to end: sides, plan, pairs, decision, report.

`run` reads as the table of contents of a comparison.
"""

import contextlib
import dataclasses
import datetime
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import config, environment, judge, pair_journal, plan, probe, quiet, rundir, sides
from bench.arena import Interpreters
from bench.errors import UserError
from bench.journal import Journal
from bench.pairs import Pairs, phase_key, values
from bench.progress import wide_console
from bench.read import ab_report, ci, decide, plot_forest, show
from bench.read.junit import junit
from bench.records import SCHEMA_VERSION, Case, whole_phase

DEFAULT = Path(__file__).with_name("ab.toml")
DESCRIPTION, REPORT, TABLE = "ab.json", "report.md", "ab.csv"
INTERRUPTED = 130
# Where one of these is what the sides differ in, these differ as well, or have no meaning.
DEVICES_OWN = ("cudnn_benchmark", "tf32", "threads", "allocator")


class AbError(UserError):
    """A comparison that cannot be begun or gone on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The words and flags of `bench ab`."""

    a: str | None = None
    b: str | None = None
    config: Path | None = None
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    threshold: float = 0.05
    options: Mapping[str, Any] = field(default_factory=dict)  # of config.RunOptions
    strict: bool = False
    out: Path | None = None
    resume: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is compared, as ab.json keeps it."""

    sides: tuple[sides.Side, sides.Side]
    cases: Mapping[str, Mapping[str, Case]]  # key → side → case
    missing: Mapping[str, str]  # key of a case that one side lacks → why
    run: config.RunOptions
    threshold: float
    thresholds: Mapping[str, float]  # by key, where its sweep has one of its own
    machine_id: str
    versions: Mapping[str, str]  # side → torch
    proof: Mapping[str, Mapping[str, str | None]]  # side → subject → file, inside its tree
    facts: Mapping[str, Any]  # what side A's torch knows of its build


def run(asked: Asked) -> int:
    """Compare, and leave a directory.  The exit code."""
    console = wide_console()
    asked, stored = _stored(asked) if asked.resume else (asked, None)
    if not asked.threshold > 0:
        raise AbError(f"--threshold {asked.threshold}: is no slowdown; write e.g. 0.05 for 5 %")
    if asked.a is None or asked.b is None:
        raise AbError("two sides are needed: bench ab A B, e.g. bench ab main .")
    a, b = sides.parse(asked.a, asked.b)
    if asked.out and stored is None:
        rundir.refuse_existing(asked.out)
    with sides.opened(a, b) as both:
        planned = _plan(asked, *both)
        path = _create(asked, planned) if stored is None else _reopen(asked, planned, stored)
        console.print(show.safe(_said(planned)), soft_wrap=True)
        for warning in quiet.warnings():
            console.print(show.safe(f"note: {warning}"), soft_wrap=True)
        return _measure(path, planned, console, strict=asked.strict)


def _said(planned: Planned) -> str:
    a, b = planned.sides
    torch = " and ".join(dict.fromkeys(planned.versions.values()))
    return f"A: {a.shown}; B: {b.shown}; {len(planned.cases)} cases; torch {torch}"


def _plan(asked: Asked, a: sides.Side, b: sides.Side) -> Planned:
    """The cases of both sides; each side's code is looked at where it lies."""
    found = {side.name: _look(asked, side) for side in (a, b)}
    plans = {side.name: plan.make(_config(asked, side), found[side.name]) for side in (a, b)}
    changed = set(a.settings)
    by_key = {
        name: {_key(case, changed): case for case in one.cases} for name, one in plans.items()
    }
    cases, missing = {}, {}
    for key in dict.fromkeys((*by_key["A"], *by_key["B"])):
        own = {name: by_key[name][key] for name in ("A", "B") if key in by_key[name]}
        shown = next(iter(own.values())).case_id
        if len(own) == 2:
            cases[shown] = own
        else:
            missing[shown] = f"side {'B' if 'A' in own else 'A'} has no such case"
    accelerators = {name: one.shown for name, one in found["A"].devices.items() if name != "cpu"}
    return Planned(
        sides=(a, b),
        cases=cases,
        missing=missing,
        run=_config(asked, a).run,
        threshold=asked.threshold,
        thresholds={
            key: plans["A"].thresholds[one["A"].case_id]
            for key, one in cases.items()
            if one["A"].case_id in plans["A"].thresholds
        },
        machine_id=environment.machine(accelerators)["machine_id"],
        versions={name: one.torch for name, one in found.items()},
        proof={side.name: _files(side, found[side.name]) for side in (a, b)},
        facts=found["A"].facts,
    )


def _files(side: sides.Side, found: probe.Probe) -> dict[str, str | None]:
    """Where the code of each subject lies; a folder of this machine is nobody's business."""
    if side.tree is None:
        return {}
    return {
        subject: str(Path(one.file).resolve().relative_to(side.tree)) if one.file else None
        for subject, one in found.subjects.items()
    }


def _key(case: Case, changed: set[str]) -> tuple[Any, ...]:
    """What a case has in common with that of the other side."""
    left_out = changed | (set(DEVICES_OWN) if "device" in changed else set())
    return tuple(value for name, value in case.as_dict().items() if name not in left_out)


def _config(asked: Asked, side: sides.Side) -> config.Config:
    axes = {**asked.axes, **{name: (value,) for name, value in side.settings.items()}}
    given = {name: value for name, value in asked.options.items() if value is not None}
    return config.load(asked.config or DEFAULT, flags=axes, subjects=asked.subjects, **given)


def _look(asked: Asked, side: sides.Side) -> probe.Probe:
    """Raises AbError or SideError where a subject is not the side's own, or cannot be built."""
    settings = _config(asked, side)
    found = probe.look(settings.subjects(), settings.inputs(), settings.run.timeout_s, side.place)
    for subject in found.subjects.values():
        if subject.error:
            raise AbError(f"side {side.name} ({side.shown}): subject {subject.error}")
        if side.tree is not None:
            file = str(Path(subject.file).resolve()) if subject.file else None
            proof = {"subject": file, "files": ()}
            if why := sides.unproven(side, side, proof):
                raise sides.SideError(why)
    return found


def _create(asked: Asked, planned: Planned) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    commit = planned.sides[1].commit
    path = asked.out or rundir.default_path("ab", commit, now)
    rundir.refuse_existing(path)
    document = {
        "schema": SCHEMA_VERSION,
        "run_id": path.name,
        "command": ["bench", *sys.argv[1:]],
        "started": now.isoformat(timespec="seconds"),
        **_description(asked, planned),
        "environment": {**planned.facts, **environment.environment()},
    }
    try:
        (path / ".scratch").mkdir(parents=True)
        (path / pair_journal.NAME).touch()
        rundir.write_atomically(path / DESCRIPTION, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise AbError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _description(asked: Asked, planned: Planned) -> dict[str, Any]:
    """What has to be the same for a resume."""
    return {
        "sides": {side.name: side.as_dict() for side in planned.sides},
        "asked": {
            "config": str(asked.config) if asked.config else None,
            "axes": {name: list(values) for name, values in asked.axes.items()},
            "subjects": list(asked.subjects),
            "threshold": asked.threshold,
            "seed": planned.run.seed,
        },
        "torch": dict(planned.versions),
        "proof": {name: dict(files) for name, files in planned.proof.items()},
        "machine_id": planned.machine_id,
        "cases": list(planned.cases),
        "missing": dict(planned.missing),
        "thresholds": dict(planned.thresholds),
    }


def _stored(asked: Asked) -> tuple[Asked, dict[str, Any]]:
    """What that comparison was asked; of all flags only those of time may stand beside it."""
    path = asked.resume
    assert path is not None
    others = asked.a or asked.b or asked.axes or asked.subjects or asked.config or asked.out
    if others or asked.options.get("seed") is not None:
        raise AbError(
            f"--resume {path}: goes on with what that comparison was; only --budget, --timeout "
            "and --strict may stand beside it"
        )
    try:
        stored = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        before, commits = stored["asked"], {}
        for name, side in stored["sides"].items():
            moves = side["kind"] == "revision" and side["asked"] != sides.WORKING_TREE
            commits[name] = side["commit"] if moves else side["asked"]
        again = dataclasses.replace(
            asked,
            a=commits["A"],
            b=commits["B"],
            config=Path(before["config"]) if before["config"] else None,
            axes={name: tuple(given) for name, given in before["axes"].items()},
            subjects=tuple(before["subjects"]),
            threshold=before["threshold"],
            options={**asked.options, "seed": before["seed"]},
        )
    except OSError as error:
        raise AbError(f"--resume {path}: is no comparison: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AbError(f"--resume {path}: its {DESCRIPTION} is damaged ({error})") from None
    return again, stored


def _reopen(asked: Asked, planned: Planned, stored: Mapping[str, Any]) -> Path:
    """Refused where the figures would not belong together."""
    path = asked.resume
    assert path is not None
    now = _description(asked, planned)
    now["sides"] = {
        name: {**side, "asked": stored["sides"][name]["asked"]}
        for name, side in now["sides"].items()
    }
    differs = [name for name, value in now.items() if stored.get(name) != value]
    if differs:
        raise AbError(
            f"--resume {path}: not the same any more: {', '.join(differs)}; start a new comparison"
        )
    (path / ".scratch").mkdir(exist_ok=True)
    return path


def _measure(path: Path, planned: Planned, console: Console, *, strict: bool) -> int:
    directory = rundir.RunDir(path)
    holder = rundir.lock(directory)
    journal = Journal(path / pair_journal.NAME)
    seen = pair_journal.read(path / pair_journal.NAME)
    by_side = {side.name: side for side in planned.sides}
    history = _null_history(path, planned.machine_id)
    pairs = Pairs(
        cases={key: one["A"] for key, one in planned.cases.items()},
        seed=planned.run.seed,
        threshold=max(planned.threshold, decide.bias(history)),
        thresholds=planned.thresholds,
        budget_s=planned.run.budget_s,
        journal=journal,
        seen=seen,
        open_arena=lambda stage, number: Interpreters(
            sides=by_side,
            cases=planned.cases,
            run=planned.run,
            directory=path,
            stage=stage,
            number=number,
        ),
        tell=lambda text: console.print(show.safe(text), soft_wrap=True),
    )
    complete = False
    try:
        complete = pairs.measure() if planned.cases else True
    except KeyboardInterrupt:
        console.print(f"interrupted; go on with: bench ab --resume {path}", soft_wrap=True)
        return INTERRUPTED
    finally:
        journal.close()
        rundir.release(holder)
    report = _decide(planned, pairs, history, complete=complete)
    code = _write(path, report, seen, pairs, strict=strict)
    rundir.finish(directory, complete=complete)
    if not complete:
        console.print(f"to measure the rest: bench ab --resume {path}", soft_wrap=True)
    _show(report, console, path)
    return code


def _decide(
    planned: Planned, pairs: Pairs, history: Sequence[float], *, complete: bool
) -> ab_report.Report:
    seen, keys = pairs.seen, [key for key in planned.cases if not pairs.given_up(key)]
    null = pairs.null_key()
    nulls = values(seen, [null], null=True, again=()) if null else []
    found = decide.decide(
        pairs.values(keys, again=pairs.suspects()),
        nulls,
        planned.threshold,
        history,
    )
    decisions = {one.key: one for one in found}
    rows = [
        ab_report.Row(case_id=key, verdict="FAILED", note=why)
        for key, why in planned.missing.items()
    ]
    for key in planned.cases:
        rows += _rows_of(key, planned, pairs, decisions)
    a, b = planned.sides
    notes = [] if nulls else ["A was not measured against itself: nothing guards these figures."]
    notes += [] if complete else ["The comparison is not complete: its budget was used up."]
    return ab_report.Report(
        a=a.shown, b=b.shown, threshold=planned.threshold, rows=tuple(rows), notes=tuple(notes)
    )


def _rows_of(
    key: str, planned: Planned, pairs: Pairs, decisions: Mapping[str, decide.Decision]
) -> list[ab_report.Row]:
    """Times by phase, then what is counted; a case that failed is one row."""
    seen = pairs.seen
    failures = seen.failures(key)
    measured = [*seen.of(key, "first"), *seen.of(key, "fresh")]
    if pairs.given_up(key) or (failures and not measured):
        side, why = next(iter(failures[0].failed.items()))
        return [ab_report.Row(case_id=key, verdict="FAILED", note=f"side {side}: {why}")]
    if not measured:
        why = "not measured: the budget was used up"
        return [ab_report.Row(case_id=key, verdict="FAILED", note=why)]
    rows = []
    for phase in measured[0].samples:
        times = [one.samples[phase] for one in measured if phase in one.samples]
        a_s, b_s = (
            statistics.median(statistics.median(pair[side]) for pair in times) for side in (0, 1)
        )
        rows.append(ab_report.time_row(key, phase, a_s, b_s, decisions[phase_key(key, phase)]))
    counted = {}
    for side in ("A", "B"):
        facts = seen.facts.get((key, side))
        counted[side] = {**(facts.facts if facts else {}), **measured[0].facts.get(side, {})}
    gated = planned.sides[0].kind == "revision"
    whole = whole_phase(planned.cases[key]["A"].mode)
    return rows + ab_report.counted_rows(key, whole, counted["A"], counted["B"], gated=gated)


def _null_history(path: Path, machine_id: str) -> list[float]:
    """What A against A came to in earlier comparisons beside this one, on this machine: logs.

    In the order of time.
    """
    found = []
    for file in path.absolute().parent.glob(f"*/{DESCRIPTION}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = json.loads(file.read_text(encoding="utf-8"))
            if stored["machine_id"] == machine_id and file.parent.name != path.name:
                found.append((str(stored["started"]), float(stored["null_log_ratio"])))
    return [value for _, value in sorted(found)]


def _write(
    path: Path, report: ab_report.Report, seen: pair_journal.Seen, pairs: Pairs, *, strict: bool
) -> int:
    """The files.  Raises AbError."""
    key, code = pairs.null_key(), report.exit_code(strict=strict)
    text = ab_report.markdown(report)
    try:
        ab_report.write_rows(path / TABLE, report.rows)
        (path / REPORT).write_text(text, encoding="utf-8")
        suite = f"bench ab {report.a} {report.b}"
        (path / judge.JUNIT).write_text(junit(suite, ci.of_ab(report)), encoding="utf-8")
        plot_forest.draw(path, report)
        stored = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        whole = phase_key(key, whole_phase(pairs.cases[key].mode)) if key else ""
        logs = [
            value
            for one in (values(seen, [key], null=True) if key else [])
            for value in one.first
            if one.key == whole
        ]
        stored |= {"headline": report.headline, "exit_code": code, "null_case": key}
        if logs:
            stored["null_log_ratio"] = statistics.fmean(logs)
        rundir.write_atomically(path / DESCRIPTION, json.dumps(stored, indent=1) + "\n")
    except OSError as error:
        raise AbError(f"{path}: the report cannot be written: {error.strerror}") from None
    judge.step_summary(text)
    return code


def _show(report: ab_report.Report, console: Console, path: Path) -> None:
    with contextlib.suppress(BrokenPipeError):  # the verdict is the exit code, read or not
        console.print(ab_report.table(report), width=min(show.WIDTH, console.width))
        for note in report.notes:
            console.print(show.safe(note), soft_wrap=True)
        console.print(show.safe(f"report: {path / REPORT}"), soft_wrap=True)
        judge.annotate(ci.of_ab(report), console)
