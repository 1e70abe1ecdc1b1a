"""From a journal to the rows of the table."""

import math
import statistics
from collections.abc import Sequence

import pytest
from scipy import stats as reference

from bench.core.records import Entry, Failure, Measurement, Row, Samples, StaticMetrics, Status
from bench.results import run_json
from bench.results.aggregate import rows
from bench.stats.intervals import centre, log_interval
from bench.stats.ratios import Centre
from tests.support.cases import case
from tests.support.results import DESCRIBED, RUN, measurement, replicates

FIVE = [0.010, 0.011, 0.012, 0.010, 0.011]
TRAINING = case(mode="training")


def only(entries: list[Entry], earlier: Sequence[float] = (), **config: float) -> Row:
    """The one row of a case whose result was verified.

    earlier: its times in earlier runs, each of replicates that agreed.
    """
    entries = [*entries, StaticMetrics(case=entries[0].case, metrics={"relative_error": 1e-7})]
    run = run_json.of({**RUN, "config": {"replicates": 5, "precision": 0.10, **config}})
    centres = [Centre(math.log(time_s), 0.0, 5) for time_s in earlier]
    past = [{"latency": one, "pipelined": one} for one in centres]
    (row,) = rows(entries, run=run, earlier={(case().case_id, "forward"): past})
    return row


def failure(replicate: int, status: Status, reason: str = "why") -> Failure:
    return Failure(case=case(), replicate=replicate, status=status, reason=reason)


def phase(name: str, kind: str, *times_s: float) -> Samples:
    return Samples(phase=name, kind=kind, calls_per_sample=1, times_s=times_s)


def test_a_row_has_the_centre_of_the_replicates_medians_and_its_error() -> None:
    entries: list[Entry] = [
        measurement(case(), number, time_s, time_s, 1.0) for number, time_s in enumerate(FIVE)
    ]
    row = only(entries)
    logs = [math.log(time_s) for time_s in FIVE]
    assert row.latency_median_s == pytest.approx((0.010**2 * 0.011**2 * 0.012) ** 0.2)
    assert row.latency_error_ratio == pytest.approx(statistics.stdev(logs) / math.sqrt(5))
    assert (row.samples, row.replicates) == (15, 5)
    assert row.latency_min_s == 0.010
    assert row.latency_mean_s == pytest.approx((2 * 0.054 + 5) / 15)
    low, high = row.latency_low_s or 0.0, row.latency_high_s or 0.0
    assert math.sqrt(low * high) == pytest.approx(row.latency_median_s)


def test_the_interval_of_a_time_has_what_runs_differ_by_beside_the_replicates_error() -> None:
    """By hand: 4.6 % with 7 degrees of freedom, the replicates' with 4 (Welch, Satterthwaite).

    The run may add replicates where they are too few, so that theirs counts as wide as at 97 %.
    """
    row = only(replicates(case(), FIVE))
    error = statistics.stdev(map(math.log, FIVE)) / math.sqrt(5)
    within = (error * reference.t.ppf(0.985, 4) / reference.t.ppf(0.975, 4)) ** 2
    total = within + 0.046**2
    df = total**2 / (within**2 / 4 + 0.046**4 / 7)
    half = reference.t.ppf(0.975, df) * math.sqrt(total)
    middle = row.latency_median_s or 0.0
    assert row.latency_low_s == pytest.approx(middle * math.exp(-half))
    assert row.latency_high_s == pytest.approx(middle * math.exp(half))
    assert (row.latency_between_ratio, row.earlier_runs) == (0.046, 0)


def test_a_run_that_adds_no_replicates_needs_no_wider_interval_for_it() -> None:
    fixed, more = (
        only(replicates(case(), FIVE), max_replicates=most).latency_high_s or 0.0 for most in (5, 6)
    )
    assert fixed < more
    few = only(replicates(case(), FIVE[:3]), replicates=3).latency_high_s
    assert few == only(replicates(case(), FIVE[:3]), replicates=3, max_replicates=3).latency_high_s


@pytest.mark.parametrize("times_s", [[1.0] * 5 + [1.001] + [1.5] * 4, [0.01] * 4 + [0.2], FIVE])
def test_a_time_lies_inside_its_interval_however_skewed_the_replicates_are(
    times_s: list[float],
) -> None:
    row = only(replicates(case(), times_s))
    assert row.latency_low_s is not None
    assert row.latency_median_s is not None
    assert row.latency_high_s is not None
    assert row.latency_low_s <= row.latency_median_s <= row.latency_high_s
    alike = only(replicates(case(), [0.003] * 5), earlier=[0.003] * 6)
    assert alike.latency_median_s == 0.003
    assert (alike.latency_low_s or 1.0) <= 0.003 <= (alike.latency_high_s or 0.0)
    assert alike.latency_low_s == pytest.approx(alike.latency_high_s)


def test_a_row_says_whose_it_is() -> None:
    row = only(replicates(case(), FIVE))
    assert (row.run_id, row.case_id, row.phase) == ("one", case().case_id, "forward")
    assert (row.device_name, row.torch_version, row.machine_id) == ("AMD EPYC", "2.13.0", "m1")


def test_throughput_comes_from_back_to_back_calls_alone() -> None:
    row = only(replicates(case(batch=8), FIVE, pipelined_s=0.004, metrics={"flops": 2000}))
    assert row.images_per_s == 8 / 0.004
    assert row.flop_per_s == 2000 / 0.004
    single = [
        Measurement(case=case(), replicate=n, samples=(phase("forward", "latency", 0.01),))
        for n in range(5)
    ]
    assert only([*single]).images_per_s is None


def test_percentiles_are_pooled_and_stay_empty_below_their_minimum() -> None:
    entries = [measurement(case(), n, *[0.01] * 7) for n in range(4)]
    assert only([*entries]).latency_p90_s is None  # 28 samples
    entries = [measurement(case(), n, *[0.01] * 6) for n in range(5)]
    assert only([*entries]).latency_p90_s == 0.01  # 30


def test_one_replicate_has_no_interval() -> None:
    row = only(replicates(case(), [0.01]), replicates=1)
    assert (row.latency_low_s, row.latency_high_s) == (None, None)
    assert row.status == "ok"


def test_journals_may_be_concatenated_and_the_first_wins() -> None:
    entries = [*replicates(case(), FIVE), *replicates(case(), [9.0] * 5), failure(0, "crash")]
    row = only(entries)
    assert (row.latency_median_s, row.replicates, row.flags) == (centre(FIVE), 5, None)


def test_metrics_of_the_case_stand_on_its_whole_phase_and_others_where_they_say() -> None:
    samples = tuple(phase(name, "latency", 0.01) for name in ("forward", "backward", "step"))
    entries: list[Entry] = [
        StaticMetrics(
            case=TRAINING, metrics={"peak_bytes": 700, "flops": 30, "flops:backward": 20}
        ),
        *(
            Measurement(
                case=TRAINING,
                replicate=n,
                samples=samples,
                metrics={"page_faults": n, "peak_bytes": 999, "unknown_thing": 1},
                controls={"matmul": (0.02, 0.02), "copy": (9.9,), "convolution": (0.08,)},
            )
            for n in range(5)
        ),
    ]
    forward, backward, step = rows(entries, run=DESCRIBED)
    assert [row.phase for row in (forward, backward, step)] == ["forward", "backward", "step"]
    assert [row.flops for row in (forward, backward, step)] == [None, 20, 30]
    assert [row.peak_bytes for row in (forward, backward, step)] == [None, None, 700]
    assert [row.page_faults for row in (forward, backward, step)] == [2.0, 2.0, 2.0]
    assert step.control_s == pytest.approx(0.04)


def test_errors_stand_on_the_phases_that_made_them_and_the_largest_on_the_whole() -> None:
    errors = {"relative_error:forward": 1e-7, "relative_error:backward": 3e-6}
    samples = tuple(phase(name, "latency", 0.01) for name in ("forward", "backward", "step"))
    found = rows(
        [
            Measurement(case=TRAINING, replicate=0, samples=samples),
            StaticMetrics(case=TRAINING, metrics={**errors, "relative_error": 3e-6}),
        ],
        run=DESCRIBED,
    )
    assert [row.relative_error for row in found] == [1e-7, 3e-6, 3e-6]


def test_a_case_that_computes_something_else_is_invalid_however_fast() -> None:
    wrong = StaticMetrics(
        case=case(), metrics={"relative_error": 0.3}, invalid="output differ by 0.3"
    )
    (row,) = rows([*replicates(case(), FIVE), wrong], run=DESCRIBED)
    assert (row.status, row.reason, row.phase) == ("invalid", "output differ by 0.3", None)


@pytest.mark.parametrize(
    "found",
    [
        [],
        [StaticMetrics(case=case(), metrics={"flops": 1.0}, problems={"all": "killed"})],
        [StaticMetrics(case=case(), metrics={}, problems={"relative_error": "dropout"})],
        [
            StaticMetrics(
                case=case(),
                metrics={"relative_error": 0.6},
                problems={"relative_error": "rounding may do this"},
            )
        ],
    ],
)
def test_a_result_that_was_not_compared_is_unverified(found: list[StaticMetrics]) -> None:
    (row,) = rows([*replicates(case(), FIVE), *found], run=DESCRIBED)
    assert (row.status, row.flags) == ("ok", "unverified")


def test_a_metric_that_some_replicates_lack_is_the_median_of_the_others() -> None:
    entries = [
        measurement(case(), 0, 0.01, metrics={"compile_cold_s": 20.0, "graph_breaks": 0}),
        measurement(case(), 1, 0.01, metrics={"compile_warm_s": 2.0, "graph_breaks": 1}),
        measurement(case(), 2, 0.01, metrics={"compile_warm_s": 3.0}),
    ]
    row = only([*entries], replicates=3)
    assert (row.compile_cold_s, row.compile_warm_s) == (20.0, 2.5)
    assert row.graph_breaks == 0  # a count that was seen, not the half between two


def test_the_device_time_is_a_column_of_its_own() -> None:
    entries: list[Entry] = [
        Measurement(
            case=TRAINING,
            replicate=n,
            samples=(
                phase("backward", "device", 0.002, 0.004, 0.003),
                phase("step", "latency", 0.01),
            ),
        )
        for n in range(3)
    ]
    backward, step = rows(entries, run=DESCRIBED)
    assert (backward.device_s, backward.latency_median_s, backward.samples) == (0.003, None, 9)
    assert (step.device_s, step.latency_median_s) == (None, 0.01)


def test_one_invalid_replicate_makes_the_case_invalid() -> None:
    row = only([*replicates(case(), FIVE[:4]), failure(4, "invalid", "wrong result")])
    assert (row.status, row.phase, row.reason) == ("invalid", None, "wrong result")
    assert row.latency_median_s is None


@pytest.mark.parametrize("impossible_s", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_duration_makes_the_case_invalid(impossible_s: float) -> None:
    row = only([*replicates(case(), FIVE[:4]), measurement(case(), 4, impossible_s)])
    assert row.status == "invalid"
    assert "impossible" in (row.reason or "")


def test_three_good_replicates_outweigh_failed_ones_and_say_partial() -> None:
    row = only([*replicates(case(), FIVE[:3]), failure(3, "crash"), failure(4, "crash")])
    assert (row.status, row.replicates) == ("ok", 3)
    assert (row.flags or "").split(";") == ["noisy", "few-replicates", "partial"]


def test_two_good_replicates_do_not_outweigh_a_failure() -> None:
    entries = [
        *replicates(case(), FIVE[:2]),
        failure(2, "oom"),
        failure(3, "crash", "signal 11"),
        failure(4, "crash"),
    ]
    row = only(entries)
    assert (row.status, row.reason, row.replicates) == ("crash", "signal 11", 2)


def test_all_are_enough_where_fewer_were_asked_for() -> None:
    row = only([*replicates(case(), FIVE[:2]), failure(2, "crash")], replicates=2)
    assert row.status == "ok"


def test_a_run_that_ended_early_is_ok_with_few_replicates() -> None:
    row = only(replicates(case(), [0.01, 0.01]))
    assert (row.status, row.flags) == ("ok", "few-replicates")


@pytest.mark.parametrize(("count", "flags"), [(2, "few-replicates"), (3, None), (5, None)])
def test_a_case_lacks_replicates_where_it_has_fewer_than_the_least(
    count: int, flags: str | None
) -> None:
    row = only(replicates(case(), [0.01] * count), replicates=5, least_replicates=3)
    assert (row.status, row.flags) == ("ok", flags)


def test_a_case_that_has_static_metrics_alone_was_not_measured() -> None:
    assert rows([StaticMetrics(case=case(), metrics={"flops": 1})], run=DESCRIBED) == []


def test_a_flag_counts_from_a_third_of_the_replicates_on() -> None:
    def flagged(count: int, flag: str = "contended") -> str | None:
        return only(
            [measurement(case(), n, 0.01, flags=(flag,) if n < count else ()) for n in range(6)]
        ).flags

    assert flagged(1) is None
    assert flagged(2) == "contended"
    assert flagged(1, "parallel") == "parallel"


def test_a_flag_that_the_row_bears_brings_its_reason_along() -> None:
    def told(count: int) -> str | None:
        state = {"doubts": {"unsteady": "it grows"}}
        return only(
            [
                measurement(case(), n, 0.01, flags=("unsteady",), state=state)
                if n < count
                else measurement(case(), n, 0.01)
                for n in range(6)
            ]
        ).reason

    assert told(1) is None
    assert told(2) == "unsteady: it grows"


def test_noisy_is_judged_on_latency_against_the_precision_asked_for() -> None:
    low, high = log_interval(FIVE) or (0.0, 0.0)
    width = (high - low) / 2 / centre(FIVE)
    assert only(replicates(case(), FIVE), precision=width * 1.01).flags is None
    assert only(replicates(case(), FIVE), precision=width * 0.99).flags == "noisy"


def test_two_groups_of_replicates_are_flagged_bimodal() -> None:
    times_s = [0.0100, 0.0101, 0.0100, 0.0150, 0.0151]
    assert "bimodal" in (only(replicates(case(), times_s)).flags or "")


def test_all_equal_samples_have_the_interval_of_what_runs_differ_by_and_no_flag() -> None:
    row = only(replicates(case(), [0.01] * 5))
    half = 0.046 * reference.t.ppf(0.975, 7)
    assert row.latency_low_s == pytest.approx(0.01 * math.exp(-half))
    assert row.latency_error_ratio == pytest.approx(0.0, abs=1e-12)
    assert row.flags is None


def test_earlier_runs_say_what_runs_differ_by() -> None:
    """Six by themselves; three with the default, which counts for seven degrees of freedom."""
    six = [0.0100, 0.0102, 0.0098, 0.0101, 0.0099, 0.0100]
    row = only(replicates(case(), [0.01] * 5), earlier=six)
    own = statistics.stdev(map(math.log, six))
    assert row.latency_between_ratio == pytest.approx(own)
    assert row.earlier_runs == 6
    half = own * reference.t.ppf(0.975, 5)
    assert row.latency_high_s == pytest.approx(0.01 * math.exp(half))
    row = only(replicates(case(), [0.01] * 5), earlier=six[:3])
    few = statistics.variance(map(math.log, six[:3]))
    mixed = math.sqrt((7 * 0.046**2 + 2 * few) / 9)
    assert row.latency_between_ratio == pytest.approx(mixed)
    assert row.earlier_runs == 3
    assert row.latency_high_s == pytest.approx(0.01 * math.exp(mixed * reference.t.ppf(0.975, 9)))


def test_replicates_of_two_machines_have_the_interval_of_two_machines() -> None:
    """Each machine agrees with itself, and they differ by 10 %: the replicates alone saw little."""
    times = [0.0100, 0.0110, 0.0100, 0.0110, 0.0100, 0.0110]
    by_node: list[Entry] = [
        measurement(case(), number, time_s, state={"node": "ab"[number % 2]})
        for number, time_s in enumerate(times)
    ]
    apart, together = only(by_node), only(replicates(case(), times))
    assert (apart.nodes, together.nodes) == (2, None)
    assert apart.latency_median_s == together.latency_median_s
    # the means of the two machines: log 1.1 apart, so their mean has half of that as its error
    assert apart.latency_error_ratio == pytest.approx(math.log(1.1) / 2)
    assert together.latency_error_ratio == pytest.approx(0.0213, abs=1e-4)
    assert (apart.latency_high_s or 0) > (together.latency_high_s or 0)
