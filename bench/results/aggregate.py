"""Make the rows of measurements.csv from the entries of a journal.  Pure.

A row is one phase of one case over all its replicates.  Figures of the whole case are only on the
row of the whole phase (`forward` of inference, `step` of training), so that a column can be summed.
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
    NODE,
    TRAINING_PHASES,
    Case,
    Entry,
    Failure,
    Measurement,
    Outcome,
    Row,
    StaticMetrics,
    Status,
    whole_phase,
)
from bench.results import corrected, plausibility
from bench.results.run_json import Description, Machine
from bench.stats import between_runs, ratios
from bench.stats.control_rule import Learnt
from bench.stats.intervals import centre, relative_half_width
from bench.stats.percentiles import bimodal, percentile

# (case_id, phase) → for each earlier run of the machine, the centres of the times by kind.
Earlier = Mapping[tuple[str, str], Sequence[Mapping[str, ratios.Centre]]]
ENOUGH = 3  # with so many ok replicates, a case is ok although others failed
LAUNCH_BOUND = 0.9  # share of the time of a call in which the host issues it
# The time of the copy differs by 10 % between runs of the same code, more than that of any case,
# and is not correlated with any (`python -m experiments.drift`).  So `control_s` leaves it out.
UNSTEADY_CONTROLS = frozenset({"copy"})
# These figures concern the whole replicate, so they are on the row of each phase.
EVERYWHERE = frozenset({"page_faults", "contention_ratio", "control_s"})
# Columns that are computed from the samples, the case or the run.  A static metric with such a
# name is ignored.
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
METRICS = (
    frozenset(
        column.name
        for column in dataclasses.fields(Row)
        if column.type in (int | None, float | None)
    )
    - _MADE_HERE
)


@dataclass(slots=True)
class _Seen:
    """The entries of one case in the journal."""

    case: Case
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by replicate
    metrics: dict[str, float] = field(default_factory=dict)
    invalid: str | None = None  # the reason why its result is wrong
    unverified: bool = True  # its result was not compared with a reference


def rows(
    entries: Iterable[Entry],
    *,
    run: Description,
    earlier: Earlier | None = None,
    learnt: Learnt | None = None,
) -> list[Row]:
    """Return a row for each phase of every case that has an outcome, in the journal's order.

    entries: the first outcome of each (case, replicate) and the first static metric of each case
             count, so journals can be concatenated.  A static metric that is not a column is left
             out.  `flops:backward` is on the row of that phase.
    earlier: earlier runs, from which the between-run SD is estimated; None: the default is used.
    learnt:  the rule by which times are corrected to the usual level of the controls; None: times
             are not corrected.
    """
    stopped = run.config.adds_replicates
    asked, precision = run.config.first_replicates, run.config.precision
    lines: list[Row] = []
    for seen in _by_case(entries):
        outcomes = [seen.outcomes[number] for number in sorted(seen.outcomes)]
        ok = [one for one in outcomes if isinstance(one, Measurement)]
        failed = [one for one in outcomes if isinstance(one, Failure)]
        known = _of_run(seen.case, run)
        wrong = seen.invalid or _unexpected_infinity(seen, ok)
        verdict = ("invalid", wrong) if wrong else _failure(ok, failed, asked)
        if verdict is not None:
            status, reason = verdict
            lines.append(Row(**known, status=status, reason=reason, replicates=len(ok)))
            continue
        flags = _flags(seen, ok, failed, asked, precision)
        known_too = {**known, "reason": _reason(ok, flags)}
        made = list(_ok_rows(seen, ok, known_too, flags, earlier or {}, stopped=stopped))
        # Rows are compared with the peaks before they are corrected.
        plausible = _plausible(made, known, run.machine)
        lines.extend(_corrected(row, ok, learnt or Learnt(), stopped=stopped) for row in plausible)
    return lines


def _unexpected_infinity(seen: _Seen, ok: Sequence[Measurement]) -> str | None:
    """Return the reason why a case is invalid: its output has infinite values without a reference.

    None if the output is finite, or if it was compared with a reference.
    """
    where = next((str(one.state[INFINITE]) for one in ok if INFINITE in one.state), None)
    if where is None or "truth:output" in seen.metrics:
        return None
    return f"{where}, and they have not been compared with a reference"


def _by_case(entries: Iterable[Entry]) -> Iterator[_Seen]:
    """Return the cases that have an outcome; a case with only static metrics was not measured."""
    seen: dict[str, _Seen] = {}
    for entry in entries:
        one = seen.setdefault(entry.case.case_id, _Seen(entry.case))
        if isinstance(entry, StaticMetrics):
            if "relative_error" in entry.metrics and "relative_error" not in entry.problems:
                one.unverified = False
            one.metrics = {**entry.metrics, **one.metrics}
            one.invalid = one.invalid or entry.invalid
        else:
            one.outcomes.setdefault(entry.replicate, _believable(entry))
    return (one for one in seen.values() if one.outcomes)


def _believable(outcome: Outcome) -> Outcome:
    """Return the outcome; it is invalid if a duration is not a positive, finite number."""
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
    """Return the rows of a case after the comparison with the machine's peaks."""
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
    """Return the status and the reason of a case that is not ok; None if it is ok."""
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
    """Return the flags of a case in the order of FLAGS, joined by semicolons.

    A flag of replicates counts if at least a third of them have it; `parallel`, if one has it: that
    was asked for.
    """
    counts = Counter(flag for one in ok for flag in set(one.flags))
    found = {flag for flag, count in counts.items() if 3 * count >= len(ok) or flag == "parallel"}
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
    """Return whether the host issues calls for most of the time that they take back-to-back."""
    shares = [
        one.metrics["host_issue_s"] / statistics.median(times)
        for one in ok
        if "host_issue_s" in one.metrics and (times := _of(one, whole, "pipelined"))
    ]
    return bool(shares) and statistics.median(shares) >= LAUNCH_BOUND


def _reason(ok: Sequence[Measurement], flags: str | None) -> str | None:
    """Return the reasons for the flags, each from the first replicate that has the flag."""
    reasons: dict[str, str] = {}
    for one in ok:
        for flag, text in one.doubts.items():
            if flag in (flags or "").split(";"):
                reasons.setdefault(flag, text)
    return "; ".join(f"{flag}: {text}" for flag, text in reasons.items()) or None


def _of_run(case: Case, run: Description) -> dict[str, Any]:
    """Return the columns that come from the case and the run."""
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
    metrics = _metrics(seen, ok)
    for phase in [name for name in order if name in present] + sorted(present - set(order)):
        past = earlier.get((seen.case.case_id, phase), ())
        figures = _times(ok, phase, past, stopped=stopped) | _metrics_of(metrics, phase, whole)
        figures |= _rates(seen.case.batch, figures)
        yield Row(**known, phase=phase, status="ok", flags=flags, replicates=len(ok), **figures)


def _times(
    ok: Sequence[Measurement],
    phase: str,
    past: Sequence[Mapping[str, ratios.Centre]],
    *,
    stopped: bool,
) -> dict[str, Any]:
    """Return the columns of the times.

    Centres and intervals are over the medians of the replicates.  The mean, the least and the
    percentiles are over all latency samples.
    """
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
        "nodes": _nodes(ok),
        "pipelined_s": _centre(pipelined_medians),
        "device_s": _centre(_medians(ok, phase, "device")),
    }
    for kind in measured:
        apart = between_runs.of([one[kind] for one in runs])
        own = _own_centre(ok, phase, kind)
        figures |= _interval(kind, centre(kinds[kind]), own, apart, stopped=stopped)
    return figures


def _own_centre(ok: Sequence[Measurement], phase: str, kind: str) -> ratios.Centre:
    """Return the centre of the replicates; over machines, if several measured them."""
    having = [(one, times) for one in ok if (times := _of(one, phase, kind))]
    medians = [statistics.median(times) for _, times in having]
    nodes = [str(one.state.get(NODE)) for one, _ in having]
    several = len(set(nodes)) > 1
    return ratios.centre_over_nodes(medians, nodes) if several else ratios.centre(medians)


def _nodes(ok: Sequence[Measurement]) -> int | None:
    """Return the number of machines, if there are several."""
    count = len({one.state.get(NODE) for one in ok})
    return count if count > 1 else None


def _interval(
    kind: str, time_s: float, own: ratios.Centre, apart: between_runs.Between, *, stopped: bool
) -> dict[str, Any]:
    """Return the ends of a time's interval, and the two SDs that it consists of."""
    low, high = between_runs.interval(own, apart, stopped=stopped) or (None, None)
    return {
        # Rounding of the logarithm could put the time outside of an interval without width.
        f"{kind}_low_s": None if low is None else min(low, time_s),
        f"{kind}_high_s": None if high is None else max(high, time_s),
        f"{kind}_error_ratio": None if own.variance is None else math.sqrt(own.variance),
        f"{kind}_between_ratio": apart.sd,
        "earlier_runs": apart.earlier_runs,
    }


def _corrected(row: Row, ok: Sequence[Measurement], learnt: Learnt, *, stopped: bool) -> Row:
    """Return the row at the usual level of the controls, if earlier runs show that this helps."""
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
        or row.nodes is not None  # each has a usual level of its own
        or row.control_s is None
        or not all(replicates.values())
        or not replicates.keys() <= rule.sds.keys()
        or not rule.reaches(math.log(row.control_s))
    ):
        return dataclasses.replace(row, control_factor=1.0)
    return corrected.moved(row, replicates, rule, stopped=stopped)


def _with_controls(ok: Sequence[Measurement], phase: str, kind: str) -> list[corrected.Replicate]:
    """Return the replicates with samples of this kind; none if one of them lacks its controls."""
    found = []
    for one in ok:
        times, control_s = _of(one, phase, kind), _control_s(one)
        if times and control_s is None:
            return []
        if times and control_s is not None:
            time = math.log(statistics.median(times))
            found.append(corrected.Replicate(time, math.log(control_s)))
    return found


def _metrics(seen: _Seen, ok: Sequence[Measurement]) -> dict[str, float]:
    """Return the static metrics by name; a figure of replicates is the median over them.

    The controls are the geometric mean over replicates.
    """
    by_name: dict[str, list[float]] = {}
    for one in ok:
        metrics = dict(one.metrics)
        control_s = _control_s(one)
        if control_s is not None:
            metrics.setdefault("control_s", control_s)
        for name, value in metrics.items():
            by_name.setdefault(name, []).append(value)
    medians = {
        # the median of whole numbers is one of them, and not the mean of two
        name: (
            statistics.median_low(values)
            if name.partition(":")[0] in _WHOLE_NUMBERS
            else statistics.median(values)
        )
        for name, values in by_name.items()
    }
    if "control_s" in by_name:  # computed like the times that it is compared with
        medians["control_s"] = centre(by_name["control_s"])
    return medians | seen.metrics


def _control_s(one: Measurement) -> float | None:
    """Return the geometric mean of the controls' medians, so that each has the same weight."""
    medians = [
        statistics.median(times_s)
        for name, times_s in one.controls.items()
        if times_s and name not in UNSTEADY_CONTROLS
    ]
    if not medians or min(medians) <= 0:
        return None
    return statistics.geometric_mean(medians)


def _metrics_of(metrics: Mapping[str, float], phase: str, whole: str) -> dict[str, Any]:
    """Return the static metrics that belong to this phase's row, by column."""
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        column, _, of_phase = name.partition(":")
        if column not in METRICS or not math.isfinite(value):
            continue
        if column in EVERYWHERE or (of_phase or whole) == phase:
            found[column] = round(value) if column in _WHOLE_NUMBERS else float(value)
    return found


def _rates(batch: int, figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the rates; they come from back-to-back calls only."""
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
    """Return the median of each replicate that has samples of this kind."""
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
