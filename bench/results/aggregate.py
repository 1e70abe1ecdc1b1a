"""From a journal's entries to the rows of measurements.csv.  Pure.

A row stands for a phase of a case over all its replicates.  Figures of the whole case stand on
the row of the whole phase (`forward` of inference, `step` of training) and nowhere else, so
that a column may be summed.
"""

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.core.records import (
    FLAGS,
    INFERENCE_PHASES,
    INFINITE,
    LATER_COLUMNS,
    LATER_METRICS,
    TRAINING_PHASES,
    Case,
    Entry,
    Facts,
    Failure,
    Measurement,
    Outcome,
    Row,
    Status,
    whole_phase,
)
from bench.results import corrected, plausibility
from bench.results.run_json import Description, Machine
from bench.stats import between_runs, ratios
from bench.stats.control_rule import Learnt
from bench.stats.intervals import centre, relative_half_width
from bench.stats.percentiles import bimodal, percentile

# Centres of a figure in earlier runs of the machine, by case, phase and kind, a run each.
Earlier = Mapping[tuple[str, str], Sequence[Mapping[str, ratios.Centre]]]
ENOUGH = 3  # ok replicates that outweigh failed ones
LAUNCH_BOUND = 0.9  # of the time of a call, in which the host issues it
# Of the replicate as a whole, so true of each of its phases.
# The copy differs by 10 % between runs of one code, more than any case does, and follows none of
# them (`python -m experiments.drift`): it stands in the journal alone.
UNSTEADY_CONTROLS = frozenset({"copy"})
EVERYWHERE = frozenset({"page_faults", "contention_ratio", "control_s"})
# Made here from samples, case or run, or by `_rates`; a fact of that name is no news.
_MADE_HERE = frozenset(
    {"replicates", "samples", "batch", "images_per_s", "flop_per_s", "bytes_per_s"}
    | {"latency_mean_s", "latency_min_s", "device_s"}
    | {f"latency_{end}_s" for end in ("median", "low", "high", "p90", "p95", "p99")}
    | {"pipelined_s", "pipelined_low_s", "pipelined_high_s"}
    | (LATER_COLUMNS - LATER_METRICS)
)
_WHOLE_NUMBERS = frozenset(
    column.name for column in dataclasses.fields(Row) if column.type == int | None
)
FACTS = (
    frozenset(
        column.name
        for column in dataclasses.fields(Row)
        if column.type in (int | None, float | None)
    )
    - _MADE_HERE
)


@dataclass(slots=True)
class _Seen:
    """All that the journal has about one case."""

    case: Case
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    invalid: str | None = None  # it computes something else
    unverified: bool = True  # until a comparison with a reference says more


def rows(
    entries: Iterable[Entry],
    *,
    run: Description,
    earlier: Earlier | None = None,
    learnt: Learnt | None = None,
) -> list[Row]:
    """A row per phase of every case that has an outcome, in the journal's order.

    entries: an outcome counts once per (case, replicate), a fact once per case; the first wins,
             so journals may be concatenated.  A fact that is no column is left out;
             `flops:backward` stands on the row of that phase.
    earlier: what runs of one code differ by is learnt from them; None: the default holds.
    learnt:  whether and how times are moved to the usual level of the controls; None: they stay.
    """
    stopped = run.config.adds_replicates
    asked, precision = run.config.replicates, run.config.precision
    lines: list[Row] = []
    for seen in _by_case(entries):
        outcomes = [seen.outcomes[number] for number in sorted(seen.outcomes)]
        ok = [one for one in outcomes if isinstance(one, Measurement)]
        failed = [one for one in outcomes if isinstance(one, Failure)]
        known = _of_run(seen.case, run)
        wrong = seen.invalid or _not_known_to_be_meant(seen, ok)
        verdict = ("invalid", wrong) if wrong else _failure(ok, failed, asked)
        if verdict is not None:
            status, reason = verdict
            lines.append(Row(**known, status=status, reason=reason, replicates=len(ok)))
            continue
        flags = _flags(seen, ok, failed, asked, precision)
        known_too = {**known, "reason": _reason(ok, flags)}
        made = list(_ok_rows(seen, ok, known_too, flags, earlier or {}, stopped=stopped))
        # What is plausible is judged as measured.
        judged = _plausible(made, known, run.machine)
        lines.extend(_corrected(row, ok, learnt or Learnt(), stopped=stopped) for row in judged)
    return lines


def _not_known_to_be_meant(seen: _Seen, ok: Sequence[Measurement]) -> str | None:
    """Of an output that is infinite somewhere, as long as no comparison has said it should be."""
    said = next((str(one.state[INFINITE]) for one in ok if INFINITE in one.state), None)
    if said is None or "truth:output" in seen.facts:
        return None
    return f"{said}, and they have not been compared with a reference"


def _by_case(entries: Iterable[Entry]) -> Iterator[_Seen]:
    """Cases that have an outcome; one that has but facts was not measured."""
    seen: dict[str, _Seen] = {}
    for entry in entries:
        one = seen.setdefault(entry.case.case_id, _Seen(entry.case))
        if isinstance(entry, Facts):
            if "relative_error" in entry.facts and "relative_error" not in entry.problems:
                one.unverified = False
            one.facts = {**entry.facts, **one.facts}
            one.invalid = one.invalid or entry.invalid
        else:
            one.outcomes.setdefault(entry.replicate, _believable(entry))
    return (one for one in seen.values() if one.outcomes)


def _believable(outcome: Outcome) -> Outcome:
    """A duration that cannot be makes the replicate invalid: it has no logarithm, either."""
    if isinstance(outcome, Failure):
        return outcome
    for samples in outcome.samples:
        for time_s in samples.times_s:
            if not (math.isfinite(time_s) and time_s > 0):
                reason = f"a {samples.kind} sample of {samples.phase} took {time_s} s: impossible"
                return Failure(
                    case=outcome.case,
                    replicate=outcome.replicate,
                    status="invalid",
                    reason=reason,
                    state=outcome.state,
                    wall_s=outcome.wall_s,
                )
    return outcome


def _plausible(made: Sequence[Row], known: Mapping[str, Any], machine: Machine) -> list[Row]:
    """The rows of a case, held against the machine's peaks."""
    peaks = plausibility.of_row(made[0], machine)
    if peaks is None:
        return list(made)
    reasons = [why for row in made if (why := plausibility.impossible(row, peaks))]
    if reasons:
        return [Row(**known, status="invalid", reason=reasons[0], replicates=made[0].replicates)]
    if not any(plausibility.doubtful(row, peaks) for row in made):
        return list(made)
    flags = {*made[0].flag_names, "implausible"}
    joined = ";".join([flag for flag in FLAGS if flag in flags] + sorted(flags - FLAGS.keys()))
    return [dataclasses.replace(row, flags=joined) for row in made]


def _failure(
    ok: Sequence[Measurement], failed: Sequence[Failure], asked: int
) -> tuple[Status, str] | None:
    """Status and reason of a case that is not ok; None where it is."""
    invalid = [one for one in failed if one.status == "invalid"]
    if invalid:
        return "invalid", invalid[0].told
    if not failed or len(ok) >= min(ENOUGH, asked):
        return None
    commonest = Counter(one.status for one in failed).most_common(1)[0][0]
    return commonest, next(one.told for one in failed if one.status == commonest)


def _flags(
    seen: _Seen, ok: Sequence[Measurement], failed: Sequence[Failure], asked: int, precision: float
) -> str | None:
    """The doubts, in the order of FLAGS.  Replicates' own count from a third of them on."""
    counts = Counter(flag for one in ok for flag in set(one.flags))
    found = {flag for flag, count in counts.items() if 3 * count >= len(ok)}
    whole = whole_phase(seen.case.mode)
    by_kind = [_medians(ok, whole, kind) for kind in ("latency", "pipelined", "device")]
    judged = next(filter(None, by_kind), [])
    width = relative_half_width(judged)
    if width is None or width > precision:
        found.add("noisy")
    if any(bimodal(medians) for medians in by_kind):
        found.add("bimodal")
    if _launch_bound(ok, whole):
        found.add("launch-bound")
    if len(ok) < asked:
        found.add("few-replicates")
    if failed:
        found.add("partial")
    if seen.unverified:
        found.add("unverified")
    return (
        ";".join([flag for flag in FLAGS if flag in found] + sorted(found - FLAGS.keys())) or None
    )


def _launch_bound(ok: Sequence[Measurement], whole: str) -> bool:
    """Whether the host issues calls for most of the time that they take back-to-back."""
    shares = [
        one.facts["host_issue_s"] / statistics.median(times)
        for one in ok
        if "host_issue_s" in one.facts and (times := _of(one, whole, "pipelined"))
    ]
    return bool(shares) and statistics.median(shares) >= LAUNCH_BOUND


def _reason(ok: Sequence[Measurement], flags: str | None) -> str | None:
    """Why flags are set, as the first replicate says that bears them."""
    said: dict[str, str] = {}
    for one in ok:
        for flag, text in one.doubts.items():
            if flag in (flags or "").split(";"):
                said.setdefault(flag, text)
    return "; ".join(f"{flag}: {text}" for flag, text in said.items()) or None


def _of_run(case: Case, run: Description) -> dict[str, Any]:
    """The columns that are known before anything is measured."""
    largest = run.largest_batches.get(case.case_id)
    return {
        **case.as_dict(),
        "case_id": case.case_id,
        "run_id": run.run_id,
        "largest_batch": largest.batch if largest else None,
        "device_name": run.devices.get(case.device),
        "torch_version": run.environment.torch,
        "machine_id": run.machine.machine_id,
    }


def _ok_rows(
    seen: _Seen,
    ok: Sequence[Measurement],
    known: Mapping[str, Any],
    flags: str | None,
    earlier: Earlier,
    *,
    stopped: bool,
) -> Iterator[Row]:
    whole = whole_phase(seen.case.mode)
    order = TRAINING_PHASES if seen.case.mode == "training" else INFERENCE_PHASES
    present = {samples.phase for one in ok for samples in one.samples} | {whole}
    facts = _facts(seen, ok)
    for phase in [name for name in order if name in present] + sorted(present - set(order)):
        past = earlier.get((seen.case.case_id, phase), ())
        figures = _times(ok, phase, past, stopped=stopped) | _facts_of(facts, phase, whole)
        figures |= _rates(seen.case.batch, figures)
        yield Row(**known, phase=phase, status="ok", flags=flags, replicates=len(ok), **figures)


def _times(
    ok: Sequence[Measurement],
    phase: str,
    past: Sequence[Mapping[str, ratios.Centre]],
    *,
    stopped: bool,
) -> dict[str, Any]:
    """Centres of replicate medians, their intervals, and what all latency samples say."""
    latency, device = _pooled(ok, phase, "latency"), _pooled(ok, phase, "device")
    latency_medians = _medians(ok, phase, "latency")
    pipelined_medians = _medians(ok, phase, "pipelined")
    kinds = {"latency": latency_medians, "pipelined": pipelined_medians}
    measured = [kind for kind, medians in kinds.items() if medians]
    runs = [one for one in past if all(kind in one for kind in measured)]
    figures: dict[str, Any] = {
        "samples": len(latency) or len(device) or None,
        "latency_median_s": _centre(latency_medians),
        "latency_min_s": min(latency, default=None),
        "latency_mean_s": statistics.fmean(latency) if latency else None,
        "latency_p90_s": percentile(latency, 90),
        "latency_p95_s": percentile(latency, 95),
        "latency_p99_s": percentile(latency, 99),
        "pipelined_s": _centre(pipelined_medians),
        "device_s": _centre(_medians(ok, phase, "device")),
    }
    for kind in measured:
        apart = between_runs.of([one[kind] for one in runs])
        own = ratios.centre(kinds[kind])
        figures |= _interval(kind, centre(kinds[kind]), own, apart, stopped=stopped)
    return figures


def _interval(
    kind: str, time_s: float, own: ratios.Centre, apart: between_runs.Between, *, stopped: bool
) -> dict[str, Any]:
    """The ends of a time's interval, and both parts that they are made of."""
    low, high = between_runs.interval(own, apart, stopped=stopped) or (None, None)
    return {
        # The last bit of a logarithm shall not put the time beside an interval of no width.
        f"{kind}_low_s": None if low is None else min(low, time_s),
        f"{kind}_high_s": None if high is None else max(high, time_s),
        f"{kind}_error_ratio": None if own.variance is None else math.sqrt(own.variance),
        f"{kind}_between_ratio": apart.sd,
        "earlier_runs": apart.earlier_runs,
    }


def _corrected(row: Row, ok: Sequence[Measurement], learnt: Learnt, *, stopped: bool) -> Row:
    """At the usual level of the controls, where earlier runs say that this helps."""
    if row.status != "ok" or (row.latency_median_s is None and row.pipelined_s is None):
        return row
    rule = learnt.rule((str(row.case_id), str(row.phase)))
    replicates = {
        kind: found
        for kind in ("latency", "pipelined")
        if (found := _with_controls(ok, str(row.phase), kind)) or _medians(ok, str(row.phase), kind)
    }
    if (
        rule is None
        or row.control_s is None
        or not all(replicates.values())
        or not replicates.keys() <= rule.sds.keys()
        or not rule.reaches(math.log(row.control_s))
    ):
        return dataclasses.replace(row, control_factor=1.0)
    return corrected.moved(row, replicates, rule, stopped=stopped)


def _with_controls(ok: Sequence[Measurement], phase: str, kind: str) -> list[corrected.Replicate]:
    """The replicates that have such samples; none where one of them lacks its controls."""
    found = []
    for one in ok:
        times, control_s = _of(one, phase, kind), _control_s(one)
        if times and control_s is None:
            return []
        if times and control_s is not None:
            time = math.log(statistics.median(times))
            found.append(corrected.Replicate(time, math.log(control_s)))
    return found


def _facts(seen: _Seen, ok: Sequence[Measurement]) -> dict[str, float]:
    """By name: what was found once for the case, else the median over its replicates.

    Of the controls it is the geometric mean over replicates.
    """
    by_name: dict[str, list[float]] = {}
    for one in ok:
        facts = dict(one.facts)
        control_s = _control_s(one)
        if control_s is not None:
            facts.setdefault("control_s", control_s)
        for name, value in facts.items():
            by_name.setdefault(name, []).append(value)
    medians = {
        # of whole numbers one that was seen, not the half between two
        name: (
            statistics.median_low(values)
            if name.partition(":")[0] in _WHOLE_NUMBERS
            else statistics.median(values)
        )
        for name, values in by_name.items()
    }
    if "control_s" in by_name:  # made as the times are, which it is held against
        medians["control_s"] = centre(by_name["control_s"])
    return medians | seen.facts


def _control_s(one: Measurement) -> float | None:
    """Geometric mean of the controls' medians, so that none outweighs the others."""
    medians = [
        statistics.median(times_s)
        for name, times_s in one.controls.items()
        if times_s and name not in UNSTEADY_CONTROLS
    ]
    if not medians or min(medians) <= 0:
        return None
    return statistics.geometric_mean(medians)


def _facts_of(facts: Mapping[str, float], phase: str, whole: str) -> dict[str, Any]:
    """The facts that stand on this phase's row, by column."""
    found: dict[str, Any] = {}
    for name, value in facts.items():
        column, _, of_phase = name.partition(":")
        if column not in FACTS or not math.isfinite(value):
            continue
        if column in EVERYWHERE or (of_phase or whole) == phase:
            found[column] = round(value) if column in _WHOLE_NUMBERS else float(value)
    return found


def _rates(batch: int, figures: Mapping[str, Any]) -> dict[str, float]:
    """Throughputs: of back-to-back calls alone."""
    pipelined_s = figures["pipelined_s"]
    if pipelined_s is None:
        return {}
    rates = {"images_per_s": batch / pipelined_s}
    if figures.get("flops"):
        rates["flop_per_s"] = figures["flops"] / pipelined_s
    if figures.get("bytes_moved"):
        rates["bytes_per_s"] = figures["bytes_moved"] / pipelined_s
    return rates


def _pooled(ok: Sequence[Measurement], phase: str, kind: str) -> list[float]:
    return [time for one in ok for time in _of(one, phase, kind)]


def _medians(ok: Sequence[Measurement], phase: str, kind: str) -> list[float]:
    """One median per replicate that has such samples."""
    return [statistics.median(times) for one in ok if (times := _of(one, phase, kind))]


def _of(one: Measurement, phase: str, kind: str) -> list[float]:
    return [
        time
        for samples in one.samples
        if samples.phase == phase and samples.kind == kind
        for time in samples.times_s
    ]


def _centre(medians: Sequence[float]) -> float | None:
    return centre(medians) if medians else None
