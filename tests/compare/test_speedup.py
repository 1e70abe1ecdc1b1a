"""Gains within a run, and two runs row by row."""

import math
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats as reference

from bench.compare import speedup
from bench.core.records import Measurement, Row, Samples
from bench.results.csv_files import write_measurements
from bench.results.loading import load
from bench.verdict.tables import speedup_tables
from tests.support.cases import case
from tests.support.results import measurement, replicates, run_of

CUDA = case(device="cuda:0", threads=None, allocator=None, cudnn_benchmark="off", tf32="off")
AMP = case(amp="bfloat16")
BASE = [0.010, 0.012, 0.011, 0.013, 0.010]


def row(of: str, device: str, **figures: float | str | None) -> Row:
    known = (CUDA if device == "cuda:0" else case()).as_dict()
    return Row(
        **known | {"subject": of},
        **{"case_id": f"{of}:{device}", "phase": "forward", "status": "ok", **figures},  # type: ignore[arg-type]
    )


def test_a_csv_of_two_devices_gives_gpu_against_cpu(tmp_path: Path) -> None:
    path = tmp_path / "measurements.csv"
    write_measurements(
        path,
        [
            row("convnet", "cpu", pipelined_s=0.1, pipelined_low_s=0.09, pipelined_high_s=0.11),
            row("convnet", "cuda:0", pipelined_s=0.004),
            row("convnet/conv1", "cpu", pipelined_s=0.01),
            row("convnet/conv1", "cuda:0", pipelined_s=0.002),
        ],
    )
    gains = speedup.within(load(path), "device")
    assert [(one.subject, one.base, one.value) for one in gains] == [
        ("convnet", "cpu", "cuda:0"),
        ("convnet/conv1", "cpu", "cuda:0"),
    ]
    assert [one.ratio for one in gains] == pytest.approx([25.0, 5.0])
    assert [one.verdict for one in gains] == ["no interval"] * 2


def test_within_a_run_the_interval_is_t_on_paired_log_ratios(tmp_path: Path) -> None:
    value = [0.0051, 0.0059, 0.0056, 0.0064, 0.0050]
    data = run_of(tmp_path / "one", [*replicates(case(), BASE), *replicates(AMP, value)])
    (gain,) = speedup.within(data, "amp")
    expected = reference.ttest_rel(
        [math.log(one) for one in BASE], [math.log(v) for v in value]
    ).confidence_interval()
    assert (gain.method, gain.replicates, gain.quantity) == ("paired", 5, "pipelined_s")
    assert gain.low == pytest.approx(math.exp(expected.low))
    assert gain.high == pytest.approx(math.exp(expected.high))
    assert (gain.base, gain.value, gain.verdict) == ("off", "bfloat16", "faster")


def test_rows_of_one_run_without_a_common_replicate_differ_by_what_two_runs_do(
    tmp_path: Path,
) -> None:
    """The between-run SD is 4.6 %: four times as wide as the replicates alone would have it."""
    later = [measurement(AMP, 5 + number, time) for number, time in enumerate([0.0100, 0.0101] * 2)]
    base = replicates(case(), [0.0200, 0.0202] * 2)
    (apart,) = speedup.within(run_of(tmp_path / "apart", [*base, *later]), "amp")
    assert (apart.method, apart.replicates) == ("welch", 4)
    assert apart.ratio == pytest.approx(2.0)
    assert (apart.low, apart.high) == pytest.approx((1.7147, 2.3327), abs=1e-4)
    assert apart.between == "4.6 % between runs (default)"


def test_one_common_replicate_is_not_mixed_with_those_apart(tmp_path: Path) -> None:
    """Its ratio is free of drift; the interval needs three of its kind."""
    later = [measurement(AMP, 2 + number, 0.01) for number in range(3)]
    data = run_of(tmp_path / "one", [*replicates(case(), [0.03, 0.03, 0.02]), *later])
    (gain,) = speedup.within(data, "amp")
    assert (gain.replicates, gain.low) == (1, None)
    assert gain.ratio == pytest.approx(2.0)


def test_a_table_without_its_samples_has_no_narrower_interval_than_with_them(
    tmp_path: Path,
) -> None:
    value = [0.0051, 0.0059, 0.0056, 0.0064, 0.0050]
    whole = run_of(tmp_path / "one", [*replicates(case(), BASE), *replicates(AMP, value)])
    (paired,) = speedup.within(whole, "amp")
    (alone,) = speedup.within(load(tmp_path / "one" / "measurements.csv"), "amp")
    assert (alone.method, alone.between) == ("welch", "4.6 % between runs (default)")
    assert (paired.low, paired.high) == pytest.approx((1.9547, 2.0418), abs=1e-4)
    assert (alone.low, alone.high) == pytest.approx((1.6323, 2.4452), abs=1e-4)


def test_unequal_replicate_counts_pair_what_both_have(tmp_path: Path) -> None:
    data = run_of(tmp_path / "one", [*replicates(case(), BASE), *replicates(AMP, BASE[:3])])
    (gain,) = speedup.within(data, "amp")
    assert (gain.replicates, gain.ratio, gain.verdict) == (3, 1.0, "no difference found")


def test_zero_variance_gives_an_interval_of_no_width(tmp_path: Path) -> None:
    data = run_of(tmp_path / "one", [*replicates(case(), [0.02] * 5), *replicates(AMP, [0.01] * 5)])
    (gain,) = speedup.within(data, "amp")
    assert (gain.low, gain.ratio, gain.high) == pytest.approx((2.0, 2.0, 2.0))


def test_one_replicate_gives_a_gain_and_no_interval(tmp_path: Path) -> None:
    data = run_of(tmp_path / "one", [*replicates(case(), [0.02]), *replicates(AMP, [0.01])])
    (gain,) = speedup.within(data, "amp")
    assert gain.ratio == pytest.approx(2.0)
    assert (gain.low, gain.method, gain.verdict) == (None, "none", "no interval")


def test_an_interval_that_holds_1_is_no_difference(tmp_path: Path) -> None:
    value = [0.012, 0.010, 0.011, 0.011, 0.012]
    data = run_of(tmp_path / "one", [*replicates(case(), BASE), *replicates(AMP, value)])
    (gain,) = speedup.within(data, "amp")
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < 1 < gain.high
    assert gain.verdict == "no difference found"


def test_a_larger_batch_gains_images_per_second(tmp_path: Path) -> None:
    entries = [
        *replicates(case(batch=32), [0.02] * 3),
        *replicates(case(batch=8), [0.01] * 3),
    ]
    (gain,) = speedup.within(run_of(tmp_path / "one", entries), "batch")
    assert (gain.base, gain.value) == ("8", "32")
    assert gain.ratio == pytest.approx((32 / 0.02) / (8 / 0.01))
    assert gain.low == pytest.approx(2.0)
    assert gain.verdict == "faster"


def test_a_phase_inside_a_step_is_compared_by_what_both_sides_have(tmp_path: Path) -> None:
    def step(of: object, kind: str, time_s: float) -> list[Measurement]:
        samples = tuple(
            Samples(phase=phase, kind=k, calls_per_sample=1, times_s=(time_s,))
            for phase, k in (("backward", kind), ("step", "latency"))
        )
        return [Measurement(case=of, replicate=n, samples=samples) for n in range(3)]  # type: ignore[arg-type]

    cpu, cuda = (
        case(mode="training"),
        case(mode="training", device="cuda:0", threads=None, allocator=None),
    )
    data = run_of(tmp_path / "one", [*step(cpu, "latency", 0.1), *step(cuda, "device", 0.01)])
    gains = {one.phase: one.quantity for one in speedup.within(data, "device")}
    assert gains == {"backward": "latency_median_s against device_s", "step": "latency_median_s"}


def test_of_several_that_match_the_fastest_is_named(tmp_path: Path) -> None:
    two = case(threads="2")
    entries = [
        *replicates(case(threads="1"), [0.02] * 3),
        *replicates(two, [0.01] * 3),
        *replicates(CUDA, [0.001] * 3),
    ]
    (gain,) = speedup.within(run_of(tmp_path / "one", entries), "device")
    assert (gain.base_case_id, gain.base_of, gain.value_of) == (two.case_id, 2, 1)


def test_between_runs_replicates_are_not_paired(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", replicates(case(), BASE))
    b = run_of(tmp_path / "b", replicates(case(), [one / 2 for one in BASE]))
    (gain,) = speedup.between(a, b)
    assert (gain.method, gain.base, gain.value) == ("welch", "a", "b")
    assert gain.ratio == pytest.approx(2.0)
    assert gain.low is not None
    assert gain.low < 2.0  # paired it would be 2.0


def test_between_csv_files_alone_the_intervals_of_the_table_serve(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", replicates(case(), BASE))
    b = run_of(tmp_path / "b", replicates(case(), [0.020, 0.021, 0.019]))
    whole = speedup.between(a, b)[0]
    alone = speedup.between(
        load(tmp_path / "a" / "measurements.csv"), load(tmp_path / "b" / "measurements.csv")
    )[0]
    assert (alone.low, alone.ratio, alone.high) == pytest.approx(
        (whole.low, whole.ratio, whole.high)
    )


def test_a_cpu_run_and_a_gpu_run_are_compared_across_devices(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", replicates(case(), BASE))
    b = run_of(tmp_path / "b", replicates(CUDA, [0.001] * 5))
    (gain,) = speedup.between(a, b)
    assert (gain.axis, gain.base, gain.value, gain.method) == ("device", "cpu", "cuda:0", "welch")
    (again,) = speedup.within(a.beside(b), "device")
    assert (again.ratio, again.method) == (gain.ratio, "welch")


def test_cases_of_one_run_alone_are_named(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", [*replicates(case(), BASE), *replicates(AMP, BASE)])
    b = run_of(tmp_path / "b", replicates(case(), BASE))
    assert speedup.only_in(a, b) == [AMP.case_id]
    assert speedup.only_in(b, a) == []


def test_tables_fit_a_hundred_columns_and_take_no_markup_from_names(tmp_path: Path) -> None:
    names = {"subject": "a.very.long.package.name:callable_with_a_name('[red]x')/layer1.0.conv1"}
    data = run_of(
        tmp_path / "one",
        [*replicates(case(**names), BASE), *replicates(case(amp="bfloat16", **names), BASE)],
    )
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    for table in speedup_tables(speedup.within(data, "amp"), data.rows):
        console.print(table)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "[red]" in text.replace("\n", "").replace(" ", "")
    assert "difference" in text


def test_the_interval_of_the_fastest_of_several_holds_for_all_that_it_was_taken_from(
    tmp_path: Path,
) -> None:
    """Two rows on one side, one on the other: 97.5 % each, 95 % together."""
    two = [0.0101, 0.0099, 0.0100, 0.0102, 0.0098]
    entries = [
        *replicates(case(threads="1"), [0.02] * 5),
        *replicates(case(threads="2"), two),
        *replicates(CUDA, [0.001] * 5),
    ]
    (gain,) = speedup.within(run_of(tmp_path / "one", entries), "device")
    logs = [math.log(one / 0.001) for one in two]
    interval = reference.t.interval(0.975, 4, loc=sum(logs) / 5, scale=reference.sem(logs))
    assert (gain.low, gain.high) == pytest.approx(tuple(map(math.exp, interval)))


def test_the_verdicts_of_a_table_hold_together_and_what_is_one_alone_says_so(
    tmp_path: Path,
) -> None:
    slight = [0.0097, 0.0095, 0.0099, 0.0096, 0.0098]  # p = 0.013
    entries = [*replicates(case(), [0.01] * 5), *replicates(AMP, slight)]
    for batch in (1, 2, 3, 4):
        entries += replicates(case(batch=batch), BASE[:5])
        entries += replicates(case(batch=batch, amp="bfloat16"), BASE[:5])
    gains = speedup.within(run_of(tmp_path / "one", entries), "amp")
    words = dict(zip([gain.base_case_id for gain in gains], speedup.verdicts(gains), strict=True))
    assert words[case().case_id] == "faster if alone"
    assert speedup.verdicts([one for one in gains if one.base_case_id == case().case_id]) == [
        "faster"
    ]
    assert speedup.legend_of(list(words.values())).startswith("intervals: 95 % each; verdicts: for")
    assert speedup.legend_of(["faster"]) == ""
