"""What `bench ab` was asked, and what follows: two sides and the cases that both have.

The only module that looks at the code of both before anything is measured.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import config, environment, plan, probe, sides
from bench.errors import UserError
from bench.records import Case
from bench.subject import parse

DEFAULT = Path(__file__).with_name("ab.toml")
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
    sources: Mapping[str, Mapping[str, probe.Source]]  # side → module → its file as it was then


def make(asked: Asked, a: sides.Side, b: sides.Side) -> Planned:
    """The cases of both sides; each side's code is looked at where it lies."""
    found = {side.name: _look(asked, side) for side in (a, b)}
    broken = {side.name: _broken(side, found[side.name]) for side in (a, b)}
    for name, why in broken["A"].items():
        if name in broken["B"]:
            raise AbError(why)
    plans = {side.name: _plan(asked, side, found[side.name], broken[side.name]) for side in (a, b)}
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
            lacks = "B" if "A" in own else "A"
            whole = parse(next(iter(own.values())).subject).whole
            missing[shown] = broken[lacks].get(whole, f"side {lacks} has no such case")
    if not cases and (whys := [*broken["A"].values(), *broken["B"].values()]):
        raise AbError(whys[0])
    accelerators = {name: one.shown for name, one in found["A"].devices.items() if name != "cpu"}
    return Planned(
        sides=(a, b),
        cases=cases,
        missing=missing,
        run=_seeded(_config(asked, a).run),
        threshold=asked.threshold,
        thresholds={
            key: plans["A"].thresholds[one["A"].case_id]
            for key, one in cases.items()
            if one["A"].case_id in plans["A"].thresholds
        },
        machine_id=environment.machine(accelerators)["machine_id"],
        versions={name: one.torch for name, one in found.items()},
        proof={side.name: _files(side, found[side.name], broken[side.name]) for side in (a, b)},
        facts=found["A"].facts,
        sources={name: one.sources for name, one in found.items()},
    )


def _files(
    side: sides.Side, found: probe.Probe, broken: Mapping[str, str]
) -> dict[str, str | None]:
    """Where the code of each subject lies; a folder of this machine is nobody's business."""
    if side.tree is None:
        return {}
    return {
        subject: str(Path(one.file).resolve().relative_to(side.tree)) if one.file else None
        for subject, one in found.subjects.items()
        if subject not in broken
    }


def _key(case: Case, changed: set[str]) -> tuple[Any, ...]:
    """What a case has in common with that of the other side."""
    left_out = changed | (set(DEVICES_OWN) if "device" in changed else set())
    return tuple(value for name, value in case.as_dict().items() if name not in left_out)


def _config(asked: Asked, side: sides.Side) -> config.Config:
    axes = {**asked.axes, **{name: (value,) for name, value in side.settings.items()}}
    given = {name: value for name, value in asked.options.items() if value is not None}
    return config.load(asked.config or DEFAULT, flags=axes, subjects=asked.subjects, **given)


def _seeded(run: config.RunOptions) -> config.RunOptions:
    """With a seed that is drawn where none was given.

    The same orders in every comparison would favour the same side each time.
    """
    if "seed" in run.model_fields_set:
        return run
    return run.model_copy(update={"seed": random.randrange(2**32)})


def _look(asked: Asked, side: sides.Side) -> probe.Probe:
    """Raises AbError where nothing can be looked at."""
    settings = _config(asked, side)
    try:
        return probe.look(
            settings.subjects(), settings.inputs(), settings.run.timeout_s, side.place
        )
    except probe.ProbeError as error:
        raise AbError(f"{_which(side)}: {error}") from None


def _broken(side: sides.Side, found: probe.Probe) -> dict[str, str]:
    """By subject that cannot be built on this side, why.

    Raises SideError where one is not the side's own code.
    """
    whys = {}
    for name, subject in found.subjects.items():
        why = subject.error or (subject.layers_error if subject.parameters is None else None)
        if why:
            modules = side.asked != sides.WORKING_TREE and side.tree is not None
            if modules and (Path(str(side.tree)) / ".gitmodules").is_file():
                why += " (its submodules are not checked out: such a revision cannot be compared)"
            whys[name] = f"{_which(side)}: subject {why}"
        elif side.tree is not None:
            file = str(Path(subject.file).resolve()) if subject.file else None
            if not_own := sides.unproven(side, side, {"subject": file, "files": ()}):
                raise sides.SideError(not_own)
    return whys


def _plan(
    asked: Asked, side: sides.Side, found: probe.Probe, broken: Mapping[str, str]
) -> plan.Plan:
    """Of what can be built.  Raises AbError."""
    settings = _config(asked, side)
    sweeps = [
        dataclasses.replace(
            sweep, subjects=tuple(one for one in sweep.subjects if parse(one).whole not in broken)
        )
        for sweep in settings.sweeps
    ]
    left = tuple(sweep for sweep in sweeps if sweep.subjects)
    if not left:
        return plan.Plan((), ())
    try:
        return plan.make(dataclasses.replace(settings, sweeps=left), found)
    except plan.PlanError as error:
        raise AbError(f"{_which(side)}: {error}") from None


def _which(side: sides.Side) -> str:
    return f"side {side.name} ({side.shown})"
