"""What `bench ab` was asked, and what follows: two sides and the cases that both have.

The only module that looks at the code of both before anything is measured.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.ab import variants
from bench.core import units
from bench.core.errors import UserError
from bench.core.protocol import Proof
from bench.core.records import Case
from bench.core.subject import layer_text, parse
from bench.host import environment, probe
from bench.host.probed import Probe, Source
from bench.plan import config, estimate, expand
from bench.verdict.looks import FIRST_PAIRS, FRESH_PAIRS, LEAST_FRESH, MOST_PAIRS, first_pairs

CASE_S = 18.0  # its first stage and its share of the null case, on two cores (experiments/live.py)
# Where one of these is what the sides differ in, these differ as well, or have no meaning.
DEVICES_OWN = ("cudnn_benchmark", "tf32", "threads", "allocator")


class AbError(UserError):
    """A comparison that cannot be begun or gone on with."""


def refuse_pairs(pairs: int | None) -> None:
    """Raises AbError where a decision cannot rest on so many."""
    if pairs is not None and not LEAST_FRESH <= pairs <= MOST_PAIRS:
        raise AbError(
            f"--pairs {pairs}: expected {LEAST_FRESH} to {MOST_PAIRS} fresh pairs; fewer decide "
            "nothing"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The words and flags of `bench ab`."""

    a: str | None = None
    b: str | None = None
    config: Path | None = None
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    threshold: float = 0.05
    own_threshold: bool = False  # --threshold was given
    options: Mapping[str, Any] = field(default_factory=dict)  # of config.RunOptions
    strict: bool = False
    out: Path | None = None
    resume: Path | None = None
    pairs: int | None = None  # fresh ones of a suspect, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is compared, as ab.json keeps it."""

    sides: tuple[variants.Side, variants.Side]
    cases: Mapping[str, Mapping[str, Case]]  # key → side → case
    missing: Mapping[str, str]  # key of a case that one side lacks → why
    run: config.RunOptions
    threshold: float
    thresholds: Mapping[str, float]  # by key, where its sweep has one of its own
    machine_id: str
    versions: Mapping[str, str]  # side → torch
    proof: Mapping[str, Mapping[str, str | None]]  # side → subject → file, inside its tree
    facts: Mapping[str, Any]  # what side A's torch knows of its build
    sources: Mapping[str, Mapping[str, Source]]  # side → module → its file as it was then
    source: str = ""  # what says which cases
    lacking: Mapping[str, Case] = field(default_factory=dict)  # those that one side lacks, by key
    brought: tuple[str, ...] = ()  # files that git ignores: those of the working tree
    pairs: int = FRESH_PAIRS  # of a suspect, at most


def make(asked: Asked, a: variants.Side, b: variants.Side) -> Planned:
    """The cases of both sides; each side's code is looked at where it lies."""
    looked = {side.name: _look(asked, side) for side in (a, b)}
    found = {name: one for name, (one, _) in looked.items()}
    broken = {side.name: _broken(side, found[side.name]) for side in (a, b)}
    for name, why in broken["A"].items():
        if name in broken["B"]:
            raise AbError(why)
    layerless = {side.name: _layerless(asked, side, found[side.name]) for side in (a, b)}
    for name, why in layerless["A"].items():
        if name in layerless["B"]:
            raise AbError(why)
    lost = {name: {**broken[name], **layerless[name]} for name in ("A", "B")}
    plans = {side.name: _plan(asked, side, found[side.name], lost[side.name]) for side in (a, b)}
    changed = set(a.settings)
    by_key = {
        name: {_key(case, changed): case for case in one.cases} for name, one in plans.items()
    }
    cases: dict[str, dict[str, Case]] = {}
    missing: dict[str, str] = {}
    lacking: dict[str, Case] = {}
    for key in dict.fromkeys((*by_key["A"], *by_key["B"])):
        own = {name: by_key[name][key] for name in ("A", "B") if key in by_key[name]}
        shown = next(iter(own.values())).case_id
        if len(own) == 2:
            cases[shown] = own
        else:
            has, lacks = ("A", "B") if "A" in own else ("B", "A")
            whys = {_shown(name, found[has]): why for name, why in lost[lacks].items()}
            lacking[shown] = own[has]
            subject = own[has].subject
            none = f"side {lacks} has no such case"
            missing[shown] = whys.get(subject, whys.get(parse(subject).whole, none))
    if not cases and (every := [*lost["A"].values(), *lost["B"].values()]):
        raise AbError(every[0])
    settings = _config(asked, a)
    accelerators = {name: one.shown for name, one in found["A"].devices.items() if name != "cpu"}
    return Planned(
        sides=(a, b),
        cases=cases,
        missing=missing,
        run=_seeded(settings.run),
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
        source=settings.source,
        lacking=lacking,
        brought=tuple(dict.fromkeys(file for _, files in looked.values() for file in files)),
        pairs=asked.pairs or FRESH_PAIRS,
    )


def begins(planned: Planned) -> str:
    """What is compared, and about how long that takes, in one line."""
    a, b = planned.sides
    torch = " and ".join(dict.fromkeys(planned.versions.values()))
    count = len(planned.cases)
    brought = ""
    if planned.brought:
        files = ", ".join(planned.brought)
        brought = f"; git ignores {files}: every revision gets what lies in the working tree"
    return (
        f"A: {a.shown}; B: {b.shown}; {count} case{'' if count == 1 else 's'} of {planned.source}, "
        f"about {units.duration(estimate_s(planned))} (min:s) where none is slower; torch {torch}"
        f"{brought}"
    )


def estimate_s(planned: Planned) -> float:
    """Of the first stage: what may be slower is measured again, and takes longer.

    A budget bounds it.
    """
    firsts = first_pairs(planned.pairs)
    total_s = len(planned.cases) * CASE_S * firsts / FIRST_PAIRS
    total_s += 2 * sum(estimate.compile_s(one["A"], firsts) for one in planned.cases.values())
    return min(total_s, planned.run.budget_s) if planned.run.budget_s else total_s


def _files(side: variants.Side, found: Probe, broken: Mapping[str, str]) -> dict[str, str | None]:
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


def _config(asked: Asked, side: variants.Side) -> config.Config:
    axes = {**asked.axes, **{name: (value,) for name, value in side.settings.items()}}
    given = {name: value for name, value in asked.options.items() if value is not None}
    found = config.load(
        asked.config, default=config.AB, flags=axes, subjects=asked.subjects, **given
    )
    if "budget_s" in given or config.file_of(asked.config, config.AB) != config.LOCAL:
        return found
    # That of ./bench.toml is for `bench run`: here it would leave cases without their pairs.
    return dataclasses.replace(found, run=found.run.model_copy(update={"budget_s": None}))


def _seeded(run: config.RunOptions) -> config.RunOptions:
    """With a seed that is drawn where none was given.

    The same orders in every comparison would favour the same side each time.
    """
    if "seed" in run.model_fields_set:
        return run
    return run.model_copy(update={"seed": random.randrange(2**32)})


def _look(asked: Asked, side: variants.Side) -> tuple[Probe, list[str]]:
    """What the probe found, and the files that the side was given for it (`variants.bring`).

    Raises AbError where nothing can be looked at.
    """
    settings = _config(asked, side)
    brought: list[str] = []
    while True:
        try:
            found = probe.look(
                settings.subjects(),
                settings.inputs(),
                settings.run.timeout_s,
                side.place,
                settings.run.weights_file,
            )
        except probe.ProbeError as error:
            raise AbError(f"{_which(side)}: {error}") from None
        missing = [one.missing for one in found.subjects.values() if one.missing]
        new = variants.bring(side, missing)
        if not new:
            return found, brought
        brought += new


def _broken(side: variants.Side, found: Probe) -> dict[str, str]:
    """By subject that cannot be built on this side, why.

    Raises SideError where one is not the side's own code.
    """
    whys = {}
    for name, subject in found.subjects.items():
        why = subject.error or (subject.layers_error if subject.parameters is None else None)
        if why:
            why += variants.lacks(side, subject.missing) if subject.missing else ""
            modules = side.asked != variants.WORKING_TREE and side.tree is not None
            if modules and (Path(str(side.tree)) / ".gitmodules").is_file():
                why += " (its submodules are not checked out: such a revision cannot be compared)"
            whys[name] = f"{_which(side)}: subject {why}"
        elif side.tree is not None:
            file = str(Path(subject.file).resolve()) if subject.file else None
            if not_own := variants.unproven(side, side, Proof(subject=file, files=())):
                raise variants.SideError(not_own)
    return whys


def _layerless(asked: Asked, side: variants.Side, found: Probe) -> dict[str, str]:
    """By subject that names a layer which this side's network does not call, why."""
    whys = {}
    for name in _config(asked, side).subjects():
        ref = parse(name)
        one = found.subjects[ref.whole]
        known = one.error is None and not one.layers_error and ref.layer not in (None, "*")
        if known and expand.layer_named(str(ref.layer), one) is None:
            whys[name] = f"{_which(side)}: {expand.no_layer(ref.whole, str(ref.layer), one)}"
    return whys


def _shown(name: str, found: Probe) -> str:
    """A subject as its cases call it: a layer may have several names."""
    ref = parse(name)
    layer = expand.layer_named(ref.layer, found.subjects[ref.whole]) if ref.layer else None
    return f"{ref.whole}/{layer_text(layer.shown)}" if layer else name


def _plan(asked: Asked, side: variants.Side, found: Probe, lost: Mapping[str, str]) -> expand.Plan:
    """Of what can be built and has the layers.  Raises AbError."""
    settings = _config(asked, side)
    sweeps = [
        sweep.model_copy(
            update={
                "subjects": tuple(
                    one
                    for one in sweep.subjects
                    if one not in lost and parse(one).whole not in lost
                )
            }
        )
        for sweep in settings.sweeps
    ]
    left = tuple(sweep for sweep in sweeps if sweep.subjects)
    if not left:
        return expand.Plan((), ())
    try:
        return expand.make(dataclasses.replace(settings, sweeps=left), found)
    except expand.PlanError as error:
        raise AbError(f"{_which(side)}: {error}") from None


def _which(side: variants.Side) -> str:
    return f"side {side.name} ({side.shown})"
