"""Times at the usual level of the controls: what a row says, and the way back."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.commands import derive
from bench.commands.derive import Derived
from bench.compare import speedup
from bench.core.records import Entry, Row, StaticMetrics
from bench.html import page
from bench.insights import collect
from bench.plots.captions import interval_note
from bench.results import corrected, history, run_json
from bench.results.aggregate import rows
from bench.results.corrected import Replicate, uncorrected
from bench.results.csv_files import write_measurements
from bench.results.journal import Journal
from bench.results.loading import load
from bench.results.results import NUMBERS, Results
from bench.stats.control_rule import CaseRule, Learnt, learn
from bench.terminal.run_summary import _between
from bench.verdict import two_runs
from tests.support.cases import case
from tests.support.results import RUN, measurement, run_of

SPREAD = (0.99, 1.0, 1.0, 1.0, 1.01)  # of five replicates
LEVELS = (1.10, 0.94, 1.02, 0.97, 1.05, 0.92)  # of six earlier runs
REST = (1.001, 0.999, 1.002, 1.0, 0.998, 1.001)
LAST = case(memory_format="channels_last")


def entries(level: float, controls: float | None, factor: float = 1.0) -> list[Entry]:
    """Two cases, of which the second takes half as long; controls None: there are none."""
    found: list[Entry] = []
    for one, time_s in ((case(), 0.010), (LAST, 0.005)):
        for number, spread in enumerate(SPREAD):
            took = {} if controls is None else {"matmul": (0.003 * controls * spread,)}
            took_s = factor * level * time_s * spread
            found.append(measurement(one, number, took_s, controls=took))
        found.append(StaticMetrics(case=one, metrics={"relative_error": 1e-7}))
    return found


def environment() -> dict[str, Any]:
    return {**RUN["environment"], "sources": {"convnet": "one"}}


def described(name: str, day: int) -> dict[str, Any]:
    return {
        **RUN,
        "run_id": name,
        "started": f"2026-03-{day:02d}T00:00:00+00:00",
        "environment": environment(),
        "cases": [case().as_dict(), LAST.as_dict()],
    }


def earlier_runs(folder: Path, controls: Sequence[float | None] = LEVELS) -> None:
    """Six runs beside each other whose times have LEVELS."""
    for day, (level, rest, control) in enumerate(zip(LEVELS, REST, controls, strict=True), 1):
        name = f"run-{day}"
        run_of(folder / name, entries(level * rest, control), **described(name, day))


def run_after(folder: Path, day: int, made: Sequence[Entry]) -> Derived:
    """Written as `bench run` writes it."""
    path = folder / f"run-{day}"
    path.mkdir()
    (path / "run.json").write_text(json.dumps(described(path.name, day)), encoding="utf-8")
    log = Journal(path / "journal.jsonl")
    for entry in made:
        log.append(entry)
    log.close()
    return derive.write_all(path)


def learnt_of(folder: Path) -> Learnt:
    runs = [load(path, samples=False) for path in sorted(folder.glob("run-*"))]
    return learn(history.series(runs))


def row_of(made: Sequence[Entry], learnt: Learnt) -> Row:
    run = run_json.of({**RUN, "config": {"replicates": 5, "max_replicates": 5}})
    return rows(made, run=run, learnt=learnt)[0]


def test_a_time_is_moved_to_the_usual_level_and_the_factor_leads_back(tmp_path: Path) -> None:
    """The controls took a tenth longer than usual, and so did the case."""
    earlier_runs(tmp_path)
    learnt = learnt_of(tmp_path)
    now = entries(1.10, 1.10)
    row, raw = row_of(now, learnt), row_of(now, Learnt())
    rule = learnt.rule((case().case_id, "forward"))
    assert rule is not None
    assert rule.slope == pytest.approx(0.999, abs=0.01)
    factor = row.control_factor or 0.0
    assert factor == pytest.approx(math.sqrt(0.94 * 1.05) / 1.10, rel=0.02)
    assert (raw.control_factor, raw.latency_corrected_ratio) == (1.0, None)
    for name in (*corrected.TIMES, *corrected.RATES):
        was, now_ = getattr(raw, name), getattr(row, name)
        by = factor if name in corrected.TIMES else 1 / factor
        assert now_ == (None if was is None else pytest.approx(was * by)), name
    assert (row.latency_median_s or 0.0) / factor == pytest.approx(raw.latency_median_s)
    assert row.latency_error_ratio == raw.latency_error_ratio
    assert row.latency_between_ratio == raw.latency_between_ratio
    assert row.control_s == raw.control_s


def test_the_interval_has_what_is_left_and_the_time_lies_in_it(tmp_path: Path) -> None:
    """Replicates that follow their controls have no scatter left: what is, is the usual level.

    By hand: SD of the logs of LEVELS / √6 · √(π/3), t with 5 degrees of freedom.
    """
    earlier_runs(tmp_path)
    row = row_of(entries(1.10, 1.10), learnt_of(tmp_path))
    assert row.latency_corrected_ratio == pytest.approx(0.00147, abs=0.0001)
    low, middle, high = row.latency_low_s, row.latency_median_s, row.latency_high_s
    assert low is not None
    assert middle is not None
    assert high is not None
    assert low < middle < high
    assert math.log(high / middle) == pytest.approx(2.571 * 0.0681 / 6**0.5 * 1.0233, rel=0.03)
    wide = row_of(entries(1.10, 1.10), Learnt())
    assert (wide.latency_high_s or 0.0) / (wide.latency_median_s or 1.0) > 1.10


def test_what_the_controls_explain_of_the_replicates_does_not_widen_the_interval() -> None:
    """Times that follow their controls by four fifths, one by one: nothing is left."""
    rule = CaseRule(0.8, 0.0, 0.0, 0.0, {"latency": 0.0}, 6)
    found = [Replicate(0.8 * control, control) for control in (0.1, -0.1, 0.2, 0.0, -0.2)]
    row = Row(latency_median_s=1.0, control_s=1.0)
    tight = corrected.moved(row, {"latency": found}, rule, stopped=False)
    assert (tight.latency_low_s, tight.latency_high_s) == pytest.approx((1.0, 1.0))
    still = [Replicate(one.time, 0.0) for one in found]
    wide = corrected.moved(row, {"latency": still}, rule, stopped=False)
    # SD 0.8 · 0.15811 / √5, t with 4 degrees of freedom
    assert math.log(wide.latency_high_s or 0.0) == pytest.approx(2.7764 * 0.0565685, rel=1e-4)


@pytest.mark.parametrize(
    "controls",
    [(1.0,) * 6, (0.95, 1.03, 1.06, 0.92, 1.01, 1.04), (*LEVELS[:4], None, None), (None,) * 6],
    ids=["still", "apart", "missing in two", "missing"],
)
def test_where_the_rule_says_no_all_stays_as_measured(
    tmp_path: Path, controls: Sequence[float | None]
) -> None:
    earlier_runs(tmp_path, controls)
    now = entries(1.10, 1.10)
    assert row_of(now, learnt_of(tmp_path)) == row_of(now, Learnt())
    assert row_of(now, Learnt()).control_factor == 1.0


def test_one_run_without_controls_leaves_five_that_are_enough(tmp_path: Path) -> None:
    earlier_runs(tmp_path, (*LEVELS[:5], None))
    assert row_of(entries(1.10, 1.10), learnt_of(tmp_path)).latency_corrected_ratio is not None


def test_a_run_of_which_a_replicate_has_no_controls_stays_as_measured(tmp_path: Path) -> None:
    earlier_runs(tmp_path)
    now = [measurement(case(), 0, 0.011), *entries(1.10, 1.10)[1:]]
    row = row_of(now, learnt_of(tmp_path))
    assert row.control_s is not None
    assert row.control_factor == 1.0


def test_controls_that_took_four_times_as_long_are_no_drift(tmp_path: Path) -> None:
    earlier_runs(tmp_path)
    learnt = learnt_of(tmp_path)
    assert row_of(entries(1.10, 4.0), learnt).control_factor == 1.0
    assert row_of(entries(1.10, 1.9), learnt).control_factor == pytest.approx(0.52, abs=0.01)


@pytest.mark.parametrize("factor", [5e-324, 1e308])
def test_a_factor_that_no_time_bears_leaves_it_unknown(found: Derived, factor: float) -> None:
    run = load(found.results.path)
    rows_ = tuple(dataclasses.replace(row, control_factor=factor) for row in run.rows)
    for row in uncorrected(dataclasses.replace(run, rows=rows_)).rows:
        for name in ("latency_median_s", "latency_low_s", "images_per_s"):
            one = getattr(row, name)
            assert one is None or 0 < one < math.inf, name


def moved_run(folder: Path, factor: float = 1.0) -> Derived:
    earlier_runs(folder)
    return run_after(folder, 9, entries(1.10, 1.10, factor))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Derived:
    """A run whose controls took a tenth longer than usual, beside the earlier ones."""
    return moved_run(tmp_path_factory.mktemp("moved"))


def test_a_run_beside_earlier_ones_is_moved_and_says_so_in_a_sentence(
    found: Derived,
) -> None:
    assert {row.earlier_runs for row in found.results.rows} == {6}
    told = _between(found.results.rows)
    assert told[1] == (
        "times are corrected to the usual level of the reference work (×0.90), because this makes "
        "6 earlier runs of this machine agree better; samples and ratios are as measured"
    )
    stored = load(found.results.path)
    assert interval_note(found.results.rows).endswith(
        "(6 earlier runs), at the usual level of the controls"
    )
    assert ("reference work", told[1]) in list(page._details([stored], found.results.rows))
    factors = [row.control_factor for row in stored.rows]
    assert factors == pytest.approx([0.9050] * 2, abs=0.005)
    assert corrected.told([row_of(entries(1.0, 1.0), Learnt())]) == ""


def test_without_the_correction_a_run_is_what_was_measured(tmp_path: Path, found: Derived) -> None:
    back = uncorrected(load(found.results.path)).rows
    (tmp_path / "raw").mkdir()
    earlier = history.centres(history.before(found.results.path, found.results.description))
    write_measurements(
        tmp_path / "raw" / "measurements.csv",
        rows(found.entries, run=found.results.description, earlier=earlier),
    )
    raw = load(tmp_path / "raw" / "measurements.csv").rows
    for one, other in zip(back, raw, strict=True):
        for name in NUMBERS:
            assert getattr(one, name) == pytest.approx(getattr(other, name)), name


def test_a_run_learns_the_same_from_moved_runs_as_from_measured_ones(
    tmp_path: Path, found: Derived
) -> None:
    runs = [load(found.results.path), measured(tmp_path)]
    one, other = (history.series([run]) for run in runs)
    for key, series in one.items():
        assert series.points[0].times == pytest.approx(other[key].points[0].times)
    one_centre, other_centre = (
        history.centres([run])[case().case_id, "forward"][0]["latency"] for run in runs
    )
    assert one_centre.log == pytest.approx(other_centre.log)
    assert one_centre.variance == pytest.approx(other_centre.variance)


def measured(folder: Path, factor: float = 1.0) -> Results:
    """The same run as it was measured."""
    return run_of(folder / "run-9", entries(1.10, 1.10, factor), **described("run-9", 9))


@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_check_and_compare_find_the_same_in_a_moved_run_as_in_a_measured_one(
    tmp_path: Path, factor: float
) -> None:
    moved, raw = load(moved_run(tmp_path, factor).results.path), measured(tmp_path / "raw", factor)
    baseline, *past = (load(tmp_path / f"run-{day}") for day in range(1, 7))
    findings = [
        [
            (one.verdict, one.figure, one.note.replace("6 earlier", ""), pytest.approx(one.ratio))
            for one in two_runs.check(run, baseline, 0.05, past).findings
        ]
        for run in (moved, raw)
    ]
    assert findings[0] == findings[1]
    assert findings[0]
    gains = [speedup.between(baseline, run) for run in (moved, raw)]
    assert [one.ratio for one in gains[0]] == pytest.approx([one.ratio for one in gains[1]])
    assert gains[0][0].value_s == pytest.approx(gains[1][0].value_s)


def test_ratios_inside_a_moved_run_are_those_of_the_samples(tmp_path: Path, found: Derived) -> None:
    moved, raw = load(found.results.path), measured(tmp_path)
    (one,), (other,) = (speedup.within(run, "memory_format") for run in (moved, raw))
    assert one.ratio == pytest.approx(2.0)
    assert one.base_s / one.value_s == pytest.approx(2.0)
    assert (one.base_s, one.low, one.high) == pytest.approx((other.base_s, other.low, other.high))
    told = [[sentence.text for sentence in collect.of_run(run)] for run in (moved, raw)]
    assert told[0] == told[1]
    assert told[0]


def test_a_run_that_was_not_moved_is_the_very_same(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run-1", entries(1.0, 1.0), **described("run-1", 1))
    assert uncorrected(run) is run
