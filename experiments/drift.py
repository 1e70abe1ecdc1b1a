"""Measure how far independent runs of the same code differ, and whether intervals cover that.

    python -m experiments.drift --runs 8                   measures, one run after the other: 12 min
    python -m experiments.drift --runs 8 --out /tmp/drift  the same, into a folder of that name
    python -m experiments.drift --read /tmp/drift          looks again at what was measured

Each run is `bench run` of ConvNet inference and training at N = 1, 8, 32 in a process of its own.
Nothing else may run meanwhile.  Printed per case: the standard deviation (SD) of the runs' times,
raw and divided by the controls; and in how many runs the interval holds the median of the *other*
runs: the interval of the replicates alone, and the one that `bench run` prints.  That one includes
what runs differ by: of the first runs the default, then what the runs before them taught.  Below
that every way of dividing by the controls, also with a slope fitted on the other runs (a run does
not explain itself), what `bench.stats.between_runs` would take for its default from these runs, and
what `bench.stats.control_rule` makes of each run, where it learns from all the others.
"""

import argparse
import itertools
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.records import Measurement, Row, whole_phase
from bench.results import aggregate
from bench.results.history import KINDS
from bench.results.journal import read
from bench.results.loading import description
from bench.stats import between_runs, control_rule, ratios
from bench.stats.control_rule import Learnt, Point, Series
from bench.stats.intervals import centre, log_interval

CONFIG = """
[run]
replicates = {replicates}
max_replicates = {replicates}
precision = 0.01
samples_s = 0.35
budget_s = {budget_s}

[[sweep]]
allocator = "retained"
subject = "convnet"
mode = ["inference", "training"]
batch = [1, 8, 32]
"""
CONTROLS = ("matmul", "copy", "convolution")
CORRECTION = ("matmul", "convolution")
MINUTES = 11.0  # that all runs may take together
AROUND_S = 25.0  # of a run outside its budget: probe and peaks before, tables and plots after
LEAST_BUDGET_S = 30.0
LEAST_RUNS = 3  # with a case: of two, the others are one


@dataclass(frozen=True, slots=True)
class Seen:
    """One case in one run, as logs of seconds.

    replicates:   the ends of the interval over the replicates alone.
    printed:      those that `bench run` prints.
    by_default:   those that it would print without earlier runs.
    earlier_runs: that these were learnt from; 0 = the default.
    error:        standard error as the replicates see it.
    controls:     by control: mean over replicates.
    """

    time: float
    replicates: tuple[float, float]
    printed: tuple[float, float]
    by_default: tuple[float, float]
    earlier_runs: int
    error: float
    controls: dict[str, float]


@dataclass(frozen=True, slots=True)
class Ruled:
    """One run, corrected by the rule that all the others taught.

    evidence: of the others.  by_case: its latency before and after, and its ends after, as logs.
    """

    evidence: control_rule.Evidence
    by_case: dict[str, tuple[float, float, tuple[float, float]]]


Way = Callable[[Sequence[Seen]], list[float]]


def measure(out: Path, runs: int, replicates: int) -> None:
    """Make runs, each in its own folder.  A run that fails is reported, and the next begins."""
    out.mkdir(parents=True, exist_ok=True)
    config = out / "drift.toml"
    budget_s = max(LEAST_BUDGET_S, 60 * MINUTES / runs - AROUND_S)
    text = CONFIG.format(replicates=replicates, budget_s=round(budget_s))
    config.write_text(text, encoding="utf-8")
    for number in range(runs):
        folder = out / f"run-{number:02d}"
        start = time.monotonic()
        command = [sys.executable, "-m", "bench", "run", "--config", str(config)]
        done = subprocess.run(
            [*command, "--seed", str(number), "--out", str(folder)],
            check=False,
            capture_output=True,
            text=True,
        )
        took = f"run {number + 1} of {runs}: {time.monotonic() - start:.0f} s"
        print(took, flush=True)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-3:]
            print(f"  exit code {done.returncode}: " + " / ".join(last), flush=True)


def load(folders: Sequence[Path]) -> list[dict[str, Seen]]:
    """Return the cases of each run, in the order in which the runs were made.

    What each row says is reckoned again, as `bench run` would after the runs before it.
    """
    past: dict[tuple[str, str], list[Mapping[str, ratios.Centre]]] = {}
    runs = []
    for folder in folders:
        entries = read(folder / "journal.jsonl")
        run = description(folder)
        rows = [one for one in aggregate.rows(entries, run=run, earlier=past) if one.phase]
        first = {(one.case_id, one.phase): one for one in aggregate.rows(entries, run=run)}
        by_case: dict[str, list[Measurement]] = {}
        for entry in entries:
            if isinstance(entry, Measurement):
                by_case.setdefault(entry.case.case_id, []).append(entry)
        found = {}
        for row in rows:
            default = first[row.case_id, row.phase]
            seen = _seen(row, default, by_case.get(str(row.case_id), []))
            if seen is not None:
                found[str(row.case_id)] = seen
            past.setdefault((str(row.case_id), str(row.phase)), []).append(_centres(row))
        runs.append(found)
    return runs


def _centres(row: Row) -> dict[str, ratios.Centre]:
    return {
        kind: between_runs.centre_from_row(row, column)
        for kind, column in KINDS.items()
        if getattr(row, column) is not None
    }


def ruled(folders: Sequence[Path]) -> list[Ruled]:
    """Return each run as `bench run` would print it after all the others."""
    read_ = [(read(one / "journal.jsonl"), description(one)) for one in folders]
    plain = [
        [row for row in aggregate.rows(entries, run=run) if row.phase] for entries, run in read_
    ]
    found = []
    for number, (entries, run) in enumerate(read_):
        others = {place: rows for place, rows in enumerate(plain) if place != number}
        earlier: dict[tuple[str, str], list[Mapping[str, ratios.Centre]]] = {}
        for row in itertools.chain.from_iterable(others.values()):
            earlier.setdefault((str(row.case_id), str(row.phase)), []).append(_centres(row))
        learnt = _learnt(others)
        after = aggregate.rows(entries, run=run, earlier=earlier, learnt=learnt)
        before = {(row.case_id, row.phase): row for row in plain[number]}
        by_case = {}
        for row in after:
            ends = _ends(row)
            if ends and row.phase == whole_phase(str(row.mode)):
                raw_s = before[row.case_id, row.phase].latency_median_s or math.nan
                moved_s = row.latency_median_s or math.nan
                by_case[str(row.case_id)] = (math.log(raw_s), math.log(moved_s), ends)
        evidence = next(iter(learnt.evidence.values()), control_rule.Evidence())
        found.append(Ruled(evidence, by_case))
    return found


def _learnt(runs: Mapping[int, Sequence[Row]]) -> Learnt:
    """Learn from rows as they were measured."""
    points: dict[tuple[str, str], dict[int, Point]] = {}
    first: dict[tuple[str, str], Row] = {}
    for number, rows in runs.items():
        for row in rows:
            times = {kind: one.log for kind, one in _centres(row).items()}
            if times and row.control_s is not None:
                key = (str(row.case_id), str(row.phase))
                first.setdefault(key, row)
                points.setdefault(key, {})[number] = Point(times, math.log(row.control_s))
    return control_rule.learn(
        {
            key: Series(str(row.device), row.phase == whole_phase(str(row.mode)), points[key])
            for key, row in first.items()
        }
    )


def _ends(row: Row) -> tuple[float, float] | None:
    """Return the ends of the latency's interval, as logs."""
    if row.latency_low_s is None or row.latency_high_s is None:
        return None
    return math.log(row.latency_low_s), math.log(row.latency_high_s)


def _seen(row: Row, default: Row, found: Sequence[Measurement]) -> Seen | None:
    """Return the case as logs; None for a part of a call, and without an interval or controls.

    default: the row that stands there without earlier runs.
    """
    printed, by_default = _ends(row), _ends(default)
    if row.phase != whole_phase(str(row.mode)) or printed is None or by_default is None:
        return None
    medians = [
        statistics.median(one.times_s)
        for each in found
        for one in each.samples
        if one.kind == "latency" and one.phase == row.phase
    ]
    replicates = log_interval(medians)
    if replicates is None or row.latency_error_ratio is None:
        return None
    if not all(each.controls.get(name) for each in found for name in CONTROLS):
        return None
    return Seen(
        time=math.log(centre(medians)),
        replicates=(math.log(replicates[0]), math.log(replicates[1])),
        printed=printed,
        by_default=by_default,
        earlier_runs=row.earlier_runs or 0,
        error=row.latency_error_ratio,
        controls={
            name: statistics.fmean(
                math.log(statistics.median(each.controls[name])) for each in found
            )
            for name in CONTROLS
        },
    )


def raw(runs: Sequence[Seen]) -> list[float]:
    return [one.time for one in runs]


def divided(runs: Sequence[Seen], names: Sequence[str]) -> list[float]:
    """Return the times divided by the geometric mean of the controls, as logs."""
    return [one.time - statistics.fmean(one.controls[name] for name in names) for one in runs]


def fitted(runs: Sequence[Seen], names: Sequence[str]) -> list[float]:
    """Return the times less the controls' move, by the slope of the other runs, as logs."""
    moved = [statistics.fmean(one.controls[name] for name in names) for one in runs]
    result = []
    for number, one in enumerate(runs):
        others = [k for k in range(len(runs)) if k != number]
        xs, ys = [moved[k] for k in others], [runs[k].time for k in others]
        slope = _slope(xs, ys)
        result.append(one.time - slope * (moved[number] - statistics.fmean(xs)))
    return result


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    square = sum((x - mean_x) ** 2 for x in xs)
    if not square:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / square


def holds(runs: Sequence[Seen], ends: Callable[[Seen], tuple[float, float]]) -> list[bool]:
    """Return, by run, whether its interval holds the median of the other runs' times."""
    found = []
    for number, one in enumerate(runs):
        others = [other.time for place, other in enumerate(runs) if place != number]
        low, high = ends(one)
        found.append(low <= statistics.median(others) <= high)
    return found


def single(runs: Sequence[Seen]) -> list[bool]:
    """Return, by pair of runs, whether the printed interval of one holds the other's time."""
    return [
        one.printed[0] <= other.time <= one.printed[1]
        for one, other in itertools.permutations(runs, 2)
    ]


def _ways() -> dict[str, Way]:
    ways: dict[str, Way] = {"raw": raw}
    for size in (1, 2, 3):
        for names in itertools.combinations(CONTROLS, size):
            short = "+".join(name[:4] for name in names)
            ways[f"/{short}"] = lambda seen, names=names: divided(seen, names)  # type: ignore[misc]
            ways[f"~{short}"] = lambda seen, names=names: fitted(seen, names)  # type: ignore[misc]
    return ways


def show(runs: Sequence[dict[str, Seen]]) -> None:
    """Print all findings."""
    found = {case: [run[case] for run in runs if case in run] for run in runs for case in run}
    by_case = {case: found[case] for case in sorted(found) if len(found[case]) >= LEAST_RUNS}
    for case, seen in found.items():
        if len(seen) < len(runs):
            print(f"{case}: has an interval in {len(seen)} of {len(runs)} runs alone")
    if not by_case:
        print(f"{len(runs)} runs: no case has an interval in {LEAST_RUNS} of them, as is needed")
        return
    print(f"\n{len(runs)} runs. SD of the times; intervals that hold the median of the others")
    print(f"  {'raw':>6} {'/contr':>6}  {'replicates alone':>17} {'printed':>17}")
    alone: list[bool] = []
    printed: list[tuple[int, bool]] = []
    for case, seen in by_case.items():
        own, new = holds(seen, lambda one: one.replicates), holds(seen, lambda one: one.printed)
        alone += own
        printed += zip((one.earlier_runs for one in seen), new, strict=True)
        print(
            f"  {statistics.stdev(raw(seen)):6.1%} "
            f"{statistics.stdev(divided(seen, CORRECTION)):6.1%}  "
            f"{sum(own):2} of {len(own):2} (± {_half([s.replicates for s in seen]):5.1%}) "
            f"{sum(new):2} of {len(new):2} (± {_half([s.printed for s in seen]):5.1%})  {case}"
        )
    print("\nIntervals that hold the median of the other runs")
    _share("replicates alone", alone)
    _share("as printed", [held for _, held in printed])
    _share("  of them by default", [held for runs_, held in printed if runs_ == 0])
    mixed = [held for runs_, held in printed if 0 < runs_ < between_runs.ENOUGH]
    _share(f"  by default and 2 to {between_runs.ENOUGH - 1} earlier runs", mixed)
    learnt = [held for runs_, held in printed if runs_ >= between_runs.ENOUGH]
    _share(f"  by {between_runs.ENOUGH} and more earlier runs", learnt)
    every = [held for seen in by_case.values() for held in holds(seen, lambda one: one.by_default)]
    _share("all of them, if each had the default alone", every)
    each = [held for seen in by_case.values() for held in single(seen)]
    _share("as printed, holding the time of one other run", each)
    _show_ways(by_case)
    _show_default(by_case)


def show_rule(runs: Sequence[Ruled]) -> None:
    """Print the result of the rule for each run."""
    print("\nThe rule, each run by what was learnt from the others")
    for number, one in enumerate(runs):
        said = one.evidence
        print(
            f"  run {number}: {'yes' if said.helps else 'no ':3} SD after / before "
            f"{said.ratio:.2f}, at most {said.worst:.2f} without one of {said.runs} runs, "
            f"p {said.p:.4f}, slope {said.slope:.2f} ± {said.slope_error:.2f}"
        )
    held: list[bool] = []
    former, afters = list[float](), list[float]()
    for case in sorted({case for one in runs for case in one.by_case}):
        own = [one.by_case[case] for one in runs if case in one.by_case]
        if len(own) < LEAST_RUNS:
            continue
        before, after = [one[0] for one in own], [one[1] for one in own]
        former.append(statistics.stdev(before))
        afters.append(statistics.stdev(after))
        inside = []
        for place, (_, _, (low, high)) in enumerate(own):
            others = [time for number, time in enumerate(before) if number != place]
            inside.append(low <= statistics.median(others) <= high)
        held += inside
        half = _half([ends for _, _, ends in own])
        print(
            f"  {former[-1]:6.1%} {afters[-1]:6.1%}  "
            f"{sum(inside):2} of {len(inside):2} (± {half:5.1%})  {case}"
        )
    if former:
        mean_before, mean_after = statistics.fmean(former), statistics.fmean(afters)
        sds = f"{mean_before:.1%} raw, {mean_after:.1%} by the rule"
        print(f"  SD of the runs' times, mean over cases: {sds}")
    _share("by the rule, holding the median of the others", held)


def _half(ends: Sequence[tuple[float, float]]) -> float:
    return statistics.fmean((high - low) / 2 for low, high in ends)


def _share(name: str, held: Sequence[bool]) -> None:
    if held:
        print(f"  {name:46} {sum(held):4} of {len(held):4}  {sum(held) / len(held):6.1%}")


def _show_ways(by_case: Mapping[str, Sequence[Seen]]) -> None:
    print("\nSD of the runs' times, mean over cases (/ divided, ~ with a fitted slope)")
    for name, way in _ways().items():
        values = [statistics.stdev(way(seen)) for seen in by_case.values()]
        each = " ".join(f"{value:6.1%}" for value in values)
        print(f"  {name:16} {statistics.fmean(values):6.1%}   {each}")


def _show_default(by_case: Mapping[str, Sequence[Seen]]) -> None:
    """Print the default of `between_runs` beside the value from these runs."""
    whole = [statistics.variance(raw(seen)) for seen in by_case.values()]
    inside = [statistics.fmean(one.error**2 for one in seen) for seen in by_case.values()]
    left = [max(0.0, all_ - own) for all_, own in zip(whole, inside, strict=True)]
    print(
        f"\nFrom run to run: {math.sqrt(statistics.fmean(whole)):.1%} (root mean square over "
        f"cases), of which the replicates see {math.sqrt(statistics.fmean(inside)):.1%}; what they "
        f"do not see: {math.sqrt(statistics.fmean(left)):.1%}. The default is "
        f"{between_runs.DEFAULT_SD:.1%}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path)
    asked = parser.parse_args()
    folder = asked.read
    if folder is None:
        folder = asked.out or Path(tempfile.mkdtemp(prefix="drift-"))
        print(f"into {folder}; look again with --read {folder}", flush=True)
        measure(folder, asked.runs, asked.replicates)
    found = sorted(one.parent for one in folder.glob("run-*/journal.jsonl"))
    show(load(found))
    if len(found) > between_runs.ENOUGH:
        show_rule(ruled(found))


if __name__ == "__main__":
    main()
