"""The command `bench tune`: probe, candidates, race, confirmation, answer.

`run` reads as the table of contents of a search.
"""

import datetime
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.commands import provenance
from bench.core.axes import BY_NAME, MAX_BATCH, AxisError
from bench.core.errors import UserError
from bench.core.exit_codes import FAILED, INTERRUPTED, OK
from bench.core.near import did_you_mean
from bench.core.records import Case
from bench.core.subject import parse
from bench.core.text import command, number_of, printable
from bench.host import environment, gpu_driver, preflight, probe
from bench.host.probed import Probe
from bench.plan import expand
from bench.plan.config import RunOptions
from bench.plan.subject_files import named
from bench.results import directory_kind, run_directory
from bench.results.journal import Journal
from bench.terminal.progress import wide_console
from bench.tune import objectives, space, tune_result
from bench.tune.confirm import SEARCH_PAIRS, Confirmation
from bench.tune.earlier import Earlier
from bench.tune.lab import ProcessLab
from bench.tune.objectives import Objective
from bench.tune.search import Search
from bench.tune.tune_result import Candidate, TuneOutcome
from bench.verdict import tables

BUDGET_S = 300.0
CONFIRM_SHARE = 0.3  # of the budget, kept for the fresh pairs
SAMPLES_S, WARMUP_S = 0.25, 0.1


class TuneError(UserError):
    """A search that cannot be made; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags of `bench tune`."""

    subject: str = "convnet"
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # mode, batch, input, device
    objective: str = "latency"
    max_error: float | None = None
    max_memory: float | None = None
    budget_s: float = BUDGET_S
    only: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()
    weights: str | None = None
    timeout_s: float = 180.0
    seed: int = 0
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A search that ended.  found: None if no setting gave a right result."""

    path: Path
    code: int
    found: TuneOutcome | None


def run(asked: Asked) -> int:
    """Search, and write a directory.  Return the exit code."""
    return measured(asked, wide_console()).code


def measured(asked: Asked, console: Console) -> Ran:
    """Search, and write a directory."""
    start_s = time.monotonic()
    objective = _objective(asked)
    choice = space.Choice.of(asked.only, asked.fix)  # what is wrong is told before the probe
    axes, subject = _axes(asked), named(asked.subject)
    if asked.out:
        run_directory.refuse_existing(asked.out)
    options = RunOptions(
        samples_s=SAMPLES_S,
        warmup_s=WARMUP_S,
        timeout_s=asked.timeout_s,
        seed=asked.seed,
        energy=objective == "energy",
        weights=asked.weights,
    )
    found = _look(asked, options)
    device = _device(asked, found)
    _check_objective(objective, device, subject)
    space_at = _spaces(asked, choice, found, device)
    first = space_at(int(axes["batch"][0]))
    directory = _create(asked, found, first, options)
    say = partial(tables.say, console)
    later = ["cuDNN's search", *(f"compile={mode}" for mode in first.compiled)]
    later = later if first.cudnn else later[1:]
    say(
        f"{number_of(len(first.eager), 'setting')} of {printable(subject)} on {device}"
        + (f", then {', '.join(later)} on the best" if later else "")
        + f"; about {asked.budget_s:.0f} s at most; torch {found.torch}"
    )
    for warning in preflight.warnings():
        say(f"note: {warning}")
    return _search(asked, objective, space_at, directory, options, console, say, start_s)


def resume(path: Path) -> int:
    """Continue an interrupted search with the budget that it began with.  Return the exit code.

    Rounds that were measured whole and checks are taken from the journal; pairs are taken anew.
    """
    start_s = time.monotonic()
    directory, stored = run_directory.reopen(path, (directory_kind.SEARCH,))
    asked = _asked_by(path, stored)
    console = wide_console()
    options = RunOptions(
        **{key: stored["config"][key] for key in RunOptions.model_fields if key in stored["config"]}
    )
    found = _look(asked, options)
    _refuse_changes(path, stored, found)
    objective, choice = _objective(asked), space.Choice.of(asked.only, asked.fix)
    space_at = _spaces(asked, choice, found, _device(asked, found))
    say = partial(tables.say, console)
    known = Earlier.read(directory.journal)
    say(f"{number_of(len(known.outcomes), 'measurement')} of {path} are taken over")
    return _search(
        asked, objective, space_at, directory, options, console, say, start_s, known
    ).code


def _look(asked: Asked, options: RunOptions) -> Probe:
    """Return what the probe finds.  Raises ProbeError if the subject cannot be built."""
    subject = named(asked.subject)
    axes = _axes(asked)
    inputs = {parse(subject).whole: axes["input"][0]} if "input" in axes else {}
    return probe.built(
        probe.look((subject,), inputs, options.timeout_s, weights=options.weights_file)
    )


def _spaces(
    asked: Asked, choice: space.Choice, found: Probe, device: str
) -> Callable[[int], space.Space]:
    """Return the function that makes the space of a batch size."""
    subject, axes = named(asked.subject), _axes(asked)
    cores = len(environment.machine({})["processors_allowed"] or [0])

    def space_at(batch: int) -> space.Space:
        own = {**axes, "batch": (str(batch),)}
        return space.make(found, subject, device, choice, cores, own)

    return space_at


def _asked_by(path: Path, stored: Mapping[str, Any]) -> Asked:
    """Return the flags of a search, from its run.json.  Raises TuneError."""
    try:
        fields = dict(stored["tune"])
        fields["axes"] = {name: tuple(values) for name, values in fields["axes"].items()}
        for name in ("only", "fix"):
            fields[name] = tuple(fields[name])
        return Asked(**fields)
    except (KeyError, TypeError, AttributeError):
        raise TuneError(f"--resume {path}: is not the directory of a search") from None


def _refuse_changes(path: Path, stored: Mapping[str, Any], found: Probe) -> None:
    """Raise TuneError if the machine or the code is not that of the search any more."""
    try:
        before = environment.fixed_details(stored["machine"], stored["environment"])
    except (KeyError, TypeError, AttributeError) as error:
        raise TuneError(f"--resume {path}: its run.json is damaged ({error})") from None
    sources = stored["environment"].get("sources", {})
    differs = provenance.differences(before, sources, found)
    if differs:
        raise TuneError(f"--resume {path}: {'; '.join(differs)}; start a new search")


def _search(
    asked: Asked,
    objective: Objective,
    space_at: Callable[[int], space.Space],
    directory: run_directory.RunDir,
    options: RunOptions,
    console: Console,
    say: Callable[[str], None],
    start_s: float,
    earlier: Earlier | None = None,
) -> Ran:
    """Search and answer.  start_s: when the command began; its budget counts from there."""
    holder = run_directory.lock(directory)
    journal = Journal(directory.journal)
    lab = ProcessLab(
        directory=directory,
        run=options,
        journal=journal,
        objective=objective,
        budget_s=asked.budget_s,
        tell=say,
        clock=time.monotonic,
        earlier=earlier or Earlier(),
    )
    search = Search(
        space_at=space_at,
        batch=int(_axes(asked)["batch"][0]),
        objective=objective,
        lab=lab,
        budget_s=asked.budget_s * (1 - CONFIRM_SHARE) - (time.monotonic() - start_s),
        tell=say,
        max_error=asked.max_error,
        max_memory=asked.max_memory,
    )
    interrupted = True  # unless it goes through
    try:
        pairs, interrupted = _raced(search, lab, start_s + asked.budget_s, say)
        if interrupted:
            go_on = command("bench", "tune", "--resume", directory.path)
            so_far = "the best so far:" if search.can_answer() else "there is no answer yet"
            say(f"interrupted; {go_on} continues; {so_far}")
        if not search.can_answer():
            code = INTERRUPTED if interrupted else _nothing(search, say)
            return Ran(path=directory.path, code=code, found=None)
        made = _outcome(search, pairs, time.monotonic() - start_s, options)
        if interrupted and made.against_plain is None:
            made = replace(made, unconfirmed="the search was interrupted before")
        tune_result.write(directory.path, made)
        _show(made, directory.path, console, say)
    finally:
        journal.close()
        run_directory.finish(directory, complete=not interrupted)
        run_directory.release(holder)
    return Ran(path=directory.path, code=INTERRUPTED if interrupted else OK, found=made)


def _raced(
    search: Search, lab: ProcessLab, end_s: float, say: Callable[[str], None]
) -> tuple[Confirmation, bool]:
    """Search, and confirm in fresh pairs.  Return the pairs, and whether Ctrl-C ended it.

    end_s: on the monotonic clock; no pair begins that would end later.
    """
    pairs, longest_s = Confirmation({}), 0.0

    def pair(number: int, compared: Sequence[tuple[Case, Case]]) -> list[float | None]:
        nonlocal longest_s
        begin_s = time.monotonic()
        found = lab.pair(number, compared)
        longest_s = max(longest_s, time.monotonic() - begin_s)
        return found

    devices = [case.device for case in search.space_at(search.batch).eager]
    try:
        with gpu_driver.kept_loaded(devices):
            search.run()
            if search.can_answer():
                pairs = Confirmation(search.comparisons(), most=SEARCH_PAIRS)
            if pairs.compared:
                say("fresh pairs of the best setting and of what it is compared with")
            pairs.run(pair, lambda: time.monotonic() + longest_s > end_s)
    except KeyboardInterrupt:
        return pairs, True
    return pairs, False


def _outcome(
    search: Search,
    pairs: Confirmation,
    spent_s: float,
    options: RunOptions,
) -> TuneOutcome:
    winner, second, pairs = search.answer(pairs)
    plain = search.plain
    assert plain is not None
    return TuneOutcome(
        objective=search.objective,
        plain=plain,
        winner=winner,
        second=second,
        against_plain=pairs.of("plain"),
        against_second=pairs.of("second"),
        candidates=tuple(
            Candidate(
                search.cases[key],
                search.time_s(search.cases[key]),
                len(costs),
                search.statics.get(key),
            )
            for key, costs in search.costs.items()
            if key not in search.refused
        ),
        refused=(
            *([search.plain_refused] if search.plain_refused else []),
            *search.refused.values(),
        ),
        rounds=search.rounds,
        complete=search.complete,
        spent_s=spent_s,
        weights=options.weights_file,
        unconfirmed=(
            "the plain setting failed"
            if plain.case_id in search.refused
            else "no fresh pair could be measured before the budget ended"
        ),
        unchecked=search.unchecked(),
        unmeasured=len(search.missing()),
    )


def _nothing(search: Search, say: Callable[[str], None]) -> int:
    refused = [*search.refused.values()]
    refused += [search.plain_refused] if search.plain_refused else []
    if not search.costs and not refused:
        say("nothing was measured yet")
    elif len(refused) < len(search.cases):
        say("no setting was checked to its end; a larger --budget may find one")
    else:
        say("no setting gave a right result within the bounds:")
    for one in refused:
        say(f"{one.case.case_id}: {one.reason}")
    return FAILED


def _show(found: TuneOutcome, path: Path, console: Console, say: Callable[[str], None]) -> None:
    console.print()
    for sentence in tune_result.sentences(found):
        say(sentence)
    console.print()
    console.print(tune_result.front_table(found))
    if refused := tune_result.refused_table(found):
        console.print(refused)
    say("to use it:")
    for line in tune_result.code(found).splitlines():
        say(f"    {line}")
    drawn = tune_result.draw(found, path / "plots")
    say("")
    plotted = f", {drawn.relative_to(path)}" if drawn else ""
    say(f"{path}: {tune_result.REPORT}, {tune_result.JSON}, {tune_result.TOML}{plotted}")


def _objective(asked: Asked) -> Objective:
    for known in objectives.OBJECTIVES:
        if known == asked.objective:
            return known
    near = did_you_mean(asked.objective, objectives.OBJECTIVES)
    raise TuneError(
        f"--objective {asked.objective}: expected one of {', '.join(objectives.OBJECTIVES)}{near}"
    )


def _check_objective(objective: Objective, device: str, subject: str) -> None:
    layer = parse(subject).layer
    if layer == "*":
        raise TuneError(f"{subject}: one search is for one subject; name the network or one layer")
    if objective == "energy" and not device.startswith("cuda"):
        raise TuneError(f"--objective energy: no energy is counted on {device}; use an NVIDIA GPU")
    if objective == "energy" and layer is not None:
        raise TuneError("--objective energy: energy is counted for whole networks, not for layers")


def _axes(asked: Asked) -> dict[str, tuple[str, ...]]:
    """Return one value for each axis that is given, and for the batch.  Raises TuneError."""
    found: dict[str, tuple[str, ...]] = {}
    for name, values in {"batch": (), **asked.axes}.items():
        given = tuple(values) or ((str(BY_NAME[name].default),) if name == "batch" else ())
        if len(given) > 1:
            raise TuneError(f"--{name}: one search is for one value; {len(given)} are given")
        if name == "device" or not given:
            continue
        try:
            found[name] = (BY_NAME[name].check(given[0]),)
        except AxisError as error:
            raise TuneError(f"--{name}: {error}") from None
    if found["batch"] == (MAX_BATCH,):
        raise TuneError("--batch max: give a number; --objective throughput finds the batch size")
    return found


def _device(asked: Asked, found: Probe) -> str:
    """The one that is named, else the first accelerator, else the CPU.  Raises PlanError."""
    given = tuple(asked.axes.get("device", ()))
    if not given:
        accelerators = [name for name in found.devices if name != "cpu"]
        return accelerators[0] if accelerators else "cpu"
    return expand.one_device(given[0], found)


def _create(
    asked: Asked, found: Probe, first: space.Space, options: RunOptions
) -> run_directory.RunDir:
    around = environment.environment()
    now = datetime.datetime.now(datetime.UTC)
    path = asked.out or run_directory.default_path("tune", around["git_commit"], now)
    cases: Sequence[Case] = first.eager
    description: dict[str, Any] = {
        "command": ["bench", *sys.argv[1:]],
        "started": now.isoformat(timespec="seconds"),
        "name": "tune",
        "config": {**options.model_dump(), "source": "a search"},
        "machine": provenance.machine(found),
        "environment": provenance.software(found, around),
        "devices": found.names,
        "parameters": {name: one.parameters for name, one in found.subjects.items()},
        "cases": [case.as_dict() for case in cases],
        "left_out": [],
        "tune": {name: value for name, value in asdict(asked).items() if name != "out"},
    }
    return run_directory.create(path, description)
