"""The plan of `bench ab`: the two variants, and the cases that both have.

Only this module inspects the code of both variants before the measurement.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.ab import variants
from bench.core import units
from bench.core.axes import AXES
from bench.core.errors import UserError
from bench.core.protocol import Proof
from bench.core.records import Case
from bench.core.row_names import case_names
from bench.core.subject import layer_text, parse
from bench.core.text import number_of
from bench.host import environment, preflight, probe
from bench.host.probed import Probe, Source
from bench.plan import case_costs, config, expand
from bench.verdict.looks import FIRST_PAIRS, FRESH_PAIRS, LEAST_FRESH, MOST_PAIRS, first_pairs

# Seconds of a case's first stage and its share of the null case, on two cores
# (experiments/live.py).
CASE_S = 18.0
# If the variants differ in the device, these axes may differ as well, or have no meaning.
DEVICES_OWN = tuple(axis.name for axis in AXES if axis.of_device)


class AbError(UserError):
    """A comparison cannot be started or resumed."""


def refuse_pairs(pairs: int | None) -> None:
    """Raise AbError if the number of pairs is out of range."""
    if pairs is not None and not LEAST_FRESH <= pairs <= MOST_PAIRS:
        raise AbError(
            f"--pairs {pairs}: expected {LEAST_FRESH} to {MOST_PAIRS} fresh pairs; fewer decide "
            "nothing"
        )


THRESHOLD = 0.05  # as a share of the time of side A


def threshold_for(change: float) -> float:
    """Return the threshold of a comparison that confirms a change; half of it, if it is small.

    change: its size as a share, above 0.
    """
    return min(THRESHOLD, change / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments and flags of `bench ab`."""

    a: str | None = None
    b: str | None = None
    config: Path | None = None
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    threshold: float = THRESHOLD
    own_threshold: bool = False  # --threshold was given
    for_all: bool = False  # the threshold is also that of sweeps which have their own
    options: Mapping[str, Any] = field(default_factory=dict)  # of config.RunOptions
    strict: bool = False
    out: Path | None = None
    resume: Path | None = None
    pairs: int | None = None  # the most fresh pairs of a suspect
    explain: bool | None = None  # find the causes; None: of what is REGRESSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The variants, the cases and the conditions of a comparison, as ab.json stores them."""

    sides: tuple[variants.Side, variants.Side]
    cases: Mapping[str, Mapping[str, Case]]  # key → side → case
    missing: Mapping[str, str]  # key of a case that one side lacks → reason
    run: config.RunOptions
    threshold: float
    thresholds: Mapping[str, float]  # by key, if its sweep has its own threshold
    machine_id: str
    versions: Mapping[str, str]  # side → torch
    proof: Mapping[str, Mapping[str, str | None]]  # side → subject → file, inside its tree
    torch_details: Mapping[str, Any]  # details of the torch build of side A
    sources: Mapping[str, Mapping[str, Source]]  # side → module → its file at the start
    source: str = ""  # the origin of the list of cases, for messages
    lacking: Mapping[str, Case] = field(default_factory=dict)  # cases that one side lacks, by key
    brought: tuple[str, ...] = ()  # files that git ignores, copied from the working tree
    pairs: int = FRESH_PAIRS  # the most fresh pairs of a suspect


Look = tuple[Probe, list[str]]  # of one side: the probe, and the files that were copied for it


def make(
    asked: Asked, a: variants.Side, b: variants.Side, *, known: Mapping[str, Look] | None = None
) -> Planned:
    """Return the plan; the code of each side is inspected in its own place.

    known: by side, what `look` found before.

    Raises AbError or SideError.
    """
    known = known or {}
    looked = {side.name: known.get(side.name) or look(asked, side) for side in (a, b)}
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
    cases, missing, lacking = _matched(by_key, lost, found)
    if not cases and (every := [*lost["A"].values(), *lost["B"].values()]):
        raise AbError(every[0])
    settings = _config(asked, a)
    return Planned(
        sides=(a, b),
        cases=cases,
        missing=missing,
        run=_seeded(settings.run),
        threshold=asked.threshold,
        thresholds={} if asked.for_all else _own_thresholds(cases, plans["A"]),
        machine_id=environment.machine(found["A"].accelerators)["machine_id"],
        versions={name: one.torch for name, one in found.items()},
        proof={side.name: _files(side, found[side.name], broken[side.name]) for side in (a, b)},
        torch_details=found["A"].torch_details,
        sources={name: one.sources for name, one in found.items()},
        source=settings.source,
        lacking=lacking,
        brought=tuple(dict.fromkeys(file for _, files in looked.values() for file in files)),
        pairs=asked.pairs or FRESH_PAIRS,
    )


def _own_thresholds(cases: Mapping[str, Mapping[str, Case]], plan: expand.Plan) -> dict[str, float]:
    """Return the thresholds of the cases whose sweep has its own.  plan: of side A."""
    found = {key: plan.thresholds.get(one["A"].case_id) for key, one in cases.items()}
    return {key: one for key, one in found.items() if one is not None}


def _matched(
    by_key: Mapping[str, Mapping[tuple[Any, ...], Case]],
    lost: Mapping[str, Mapping[str, str]],
    found: Mapping[str, Probe],
) -> tuple[dict[str, dict[str, Case]], dict[str, str], dict[str, Case]]:
    """Return the cases that both sides have, and those of one side: reasons, and the cases."""
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
    return cases, missing, lacking


def begins(planned: Planned) -> str:
    """Return a line about the comparison and its estimated duration."""
    a, b = planned.sides
    torch = " and ".join(dict.fromkeys(planned.versions.values()))
    count = len(planned.cases)
    cases = f"{number_of(count, 'case')} from {planned.source}"
    brought = ""
    if planned.brought:
        files = ", ".join(planned.brought)
        brought = f"; git ignores {files}: every revision gets the copy in the working tree"
    return (
        f"A: {a.shown}; B: {b.shown}; {cases}, "
        f"about {units.duration(estimate_s(planned))} (min:s) if none is slower; torch {torch}"
        f"{brought}"
    )


def estimate_s(planned: Planned) -> float:
    """Return the estimated seconds of the first stage.  A budget limits it."""
    total_s = first_stage_s(planned)
    return min(total_s, planned.run.budget_s) if planned.run.budget_s else total_s


def first_stage_s(planned: Planned) -> float:
    """Return the estimate without a budget.  Suspects are measured again and take longer."""
    firsts = first_pairs(planned.pairs)
    total_s = len(planned.cases) * CASE_S * firsts / FIRST_PAIRS
    total_s += 2 * sum(case_costs.compile_s(one["A"], firsts) for one in planned.cases.values())
    return total_s


def most_threads(planned: Planned) -> int | None:
    """Return the largest number of threads of a case on any side; None = unknown."""
    asked = (case.threads for sides in planned.cases.values() for case in sides.values())
    return preflight.most_threads(asked, planned.torch_details.get("threads"))


def names(planned: Planned) -> dict[str, str]:
    """Return the name of each case in tables, by key."""
    found = case_names((one["A"] for one in planned.cases.values()), short=True)
    return {key: found.of(one["A"]) or key for key, one in planned.cases.items()}


def _files(side: variants.Side, found: Probe, broken: Mapping[str, str]) -> dict[str, str | None]:
    """Return the file of each subject, relative to the variant's tree."""
    if side.tree is None:
        return {}
    return {
        subject: str(Path(one.file).resolve().relative_to(side.tree)) if one.file else None
        for subject, one in found.subjects.items()
        if subject not in broken
    }


def _key(case: Case, changed: set[str]) -> tuple[Any, ...]:
    """Return the part of a case that must be equal in the corresponding case of the other side."""
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
    # The budget in ./bench.toml is for `bench run`.  Here some cases would not get their pairs.
    return dataclasses.replace(found, run=found.run.model_copy(update={"budget_s": None}))


def _seeded(run: config.RunOptions) -> config.RunOptions:
    """Return the options with a random seed, unless one was given.

    A fixed seed would give the same order of turns in every comparison.
    """
    if "seed" in run.model_fields_set:
        return run
    return run.model_copy(update={"seed": random.randrange(2**32)})


def look(asked: Asked, side: variants.Side) -> Look:
    """Return the result of the probe, and the files that `variants.bring` copied for it.

    Raises AbError if the probe fails.
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
    """Return the reason for each subject that cannot be built on this side.

    Raises SideError if the code of a subject is not the side's own.
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
    """Return the reason for each subject that names a layer which this side does not call."""
    whys = {}
    for name in _config(asked, side).subjects():
        ref = parse(name)
        one = found.subjects[ref.whole]
        known = one.error is None and not one.layers_error and ref.layer not in (None, "*")
        if known and expand.layer_named(str(ref.layer), one) is None:
            whys[name] = f"{_which(side)}: {expand.no_layer(ref.whole, str(ref.layer), one)}"
    return whys


def _shown(name: str, found: Probe) -> str:
    """Return a subject with the layer name that its cases have, since a layer can have several."""
    ref = parse(name)
    layer = expand.layer_named(ref.layer, found.subjects[ref.whole]) if ref.layer else None
    return f"{ref.whole}/{layer_text(layer.shown)}" if layer else name


def _plan(asked: Asked, side: variants.Side, found: Probe, lost: Mapping[str, str]) -> expand.Plan:
    """Return the plan of the subjects that can be measured on this side.  Raises AbError."""
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
