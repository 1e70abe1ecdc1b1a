"""The roofline: each row against ceilings that the run itself has measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import Entry, Row, StaticMetrics
from bench.insights.collect import no_ceilings, of_run
from bench.insights.roofline import insights, layer_types, points
from bench.plots.draw import build
from bench.results.run_json import Machine
from tests.support.cases import case
from tests.support.figures import legends
from tests.support.results import replicates, run_of

LADDER: dict[str, Any] = {
    "threads": "auto",
    "disturbed": False,
    "cache_bytes": 25_000_000,
    "arithmetic": {"float32": [{"what": "product", "amount": 1, "per_s": 100e9}]},
    "traffic": [
        {"what": "copy", "amount": 1e6, "per_s": 80e9},  # in a cache
        {"what": "copy", "amount": 0.99e8, "per_s": 40e9},  # a quarter of it may be in one
        {"what": "copy", "amount": 1e8, "per_s": 20e9},
        {"what": "sum", "amount": 2e8, "per_s": 18e9},
    ],
}
WRITTEN = {"machine_id": "m1", "peaks": {"cpu": [LADDER]}}
MACHINE = Machine.model_validate(WRITTEN)


def of_sweep(ladder: Mapping[str, Any]) -> Machine:
    return Machine.model_validate({"peaks": {"cpu": [ladder]}})


def row(**changes: Any) -> Row:
    given = {
        "case_id": "net", "subject": "net/a", "mode": "inference", "phase": "forward", "batch": 8,
        "device": "cpu", "dtype": "float32", "amp": "off", "threads": "auto", "status": "ok",
        "flops": 10**9, "flop_per_s": 50e9, "bytes_moved": 10**7, "bytes_per_s": 0.5e9,
        "pipelined_s": 0.02,
    }  # fmt: skip
    return Row(**{**given, **changes})


def test_beyond_the_ridge_arithmetic_binds_and_the_share_of_it_is_told() -> None:
    (one,) = points([row()], MACHINE)
    assert one.ridge == pytest.approx(5.0)  # 100 GFLOP/s over 20 GB/s
    assert one.intensity == pytest.approx(100.0)
    assert one.bound == "compute"
    assert one.reached == pytest.approx(0.5)


def test_before_the_ridge_memory_binds() -> None:
    thin = row(flops=10**7, flop_per_s=5e9, bytes_per_s=5e9)
    (one,) = points([thin], MACHINE)
    assert one.bound == "memory"
    assert one.reached == pytest.approx(0.25)


def test_without_flops_memory_binds_and_a_cache_shows_as_more_than_all() -> None:
    (one,) = points([row(flops=0, flop_per_s=None, bytes_per_s=60e9)], MACHINE)
    assert (one.intensity, one.flop_per_s) == (None, None)
    assert one.bound == "memory"
    assert one.reached == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("changes", "machine"),
    [
        ({}, Machine()),
        ({}, of_sweep({**LADDER, "disturbed": True})),
        ({"amp": "bfloat16"}, MACHINE),  # whose arithmetic was not measured
        ({"threads": "1"}, MACHINE),
        ({"bytes_moved": None}, MACHINE),
        ({"flops": None, "flop_per_s": None}, MACHINE),
        ({}, of_sweep({**LADDER, "cache_bytes": 60_000_000})),  # never beyond it
        ({"status": "invalid"}, MACHINE),
    ],
)
def test_without_a_measured_ceiling_there_is_no_point(
    changes: dict[str, Any], machine: Machine
) -> None:
    assert points([row(**changes)], machine) == []


def test_what_is_far_from_both_ceilings_is_bound_by_neither() -> None:
    (one,) = points([row(flops=10**7, flop_per_s=1e9, bytes_per_s=1e9)], MACHINE)
    assert one.bound == "neither"
    assert one.reached == pytest.approx(0.05)
    (one,) = points([row(flop_per_s=9.9e9, bytes_per_s=0.099e9)], MACHINE)
    assert one.bound == "neither"
    (one,) = points([row(flop_per_s=10.1e9, bytes_per_s=0.101e9)], MACHINE)
    assert one.bound == "compute"


def test_where_the_cache_is_unknown_the_largest_size_of_each_kind_counts_alone() -> None:
    ladder = {**LADDER, "cache_bytes": None}
    (one,) = points([row()], of_sweep(ladder))
    assert (one.memory.bytes_per_s, one.memory.touched_bytes) == (20e9, 1e8)
    assert one.memory.where == ("when 100 MB are touched (how large its caches are is unknown)")


def test_memory_that_no_call_reached_is_no_ceiling_and_that_is_said(tmp_path: Path) -> None:
    inside = {"machine_id": "m1", "peaks": {"cpu": [{**LADDER, "cache_bytes": 60_000_000}]}}
    run = run_of(tmp_path / "run", entries(), machine=inside)
    (one,) = (told for told in of_run(run) if told.kind in ("doubt", "roofline"))
    assert one.text == (
        "There is no roofline: main memory was not reached: at most 200 MB were touched, beside "
        "60.0 MB of cache."
    )


def test_a_step_whose_bytes_are_without_the_optimizers_is_marked_so() -> None:
    step = row(mode="training", phase="step")
    without, with_ = (
        row(mode="training", phase="optimizer", flops=None, bytes_moved=moved)
        for moved in (None, 0)
    )
    assert [one.partial for one in points([step, without], MACHINE)] == [True]
    assert [one.partial for one in points([step, with_], MACHINE)] == [False]
    assert [one.partial for one in points([step], MACHINE)] == [False]
    forward = row(mode="training", phase="forward")
    assert [one.partial for one in points([forward, without], MACHINE)] == [False]


def entries() -> list[Entry]:
    found: list[Entry] = []
    for name, time_s, flops, moved in (
        ("net/fast", 0.01, 900_000_000, 10_000_000),
        ("net/slow", 0.02, 200_000_000, 10_000_000),
        ("net/view", 0.001, 0, 10_000_000),
    ):
        one = case(subject=name)
        found += replicates(one, [time_s] * 5)
        found.append(StaticMetrics(case=one, metrics={"flops": flops, "bytes_moved": moved}))
    return found


def test_sentences_of_several_devices_name_their_device() -> None:
    gpu = {"cpu": [LADDER], "cuda:0": [LADDER]}
    rows = [row(), row(case_id="gpu", device="cuda:0")]
    told = insights(points(rows, Machine.model_validate({"peaks": gpu})), None)
    assert [one.text.partition(",")[0] for one in told] == [
        "In inference of net on cpu at N=8",
        "In inference of net on cuda:0 at N=8",
    ]


def test_the_sentence_names_what_binds_and_what_neither_bound_explains(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", entries(), machine=WRITTEN)
    (told,) = (one for one in of_run(run) if one.kind == "roofline")
    assert told.text == (
        "In inference of net at N=8, slow reaches 10 % and fast reaches 90 % of the measured "
        "arithmetic peak. view reaches 50 % of the measured memory bandwidth. slow is far below "
        "the ceiling: the way of computing is slow, or it moves more bytes than the lower bound."
    )
    assert (
        "100 GFLOP/s (float32), 20.0 GB/s beyond its caches (100 MB touched, 25.0 MB of cache); "
        "a layer above 100 % of the bandwidth works from a cache; bytes are a lower bound"
        in told.evidence
    )


def test_a_layer_far_from_both_ceilings_is_told_as_bound_by_neither(tmp_path: Path) -> None:
    one = case(subject="net/lazy")
    lazy = replicates(one, [0.05] * 5)
    lazy.append(StaticMetrics(case=one, metrics={"flops": 10_000_000, "bytes_moved": 1000}))
    run = run_of(tmp_path / "run", [*entries(), *lazy], machine=WRITTEN)
    (told,) = (item for item in of_run(run) if item.kind == "roofline")
    assert "lazy (under 1 %) is limited by neither: the calls or the way of computing" in told.text
    assert "lazy reaches" not in told.text
    figures, _ = build(run)
    (legend,) = legends(figures["roofline"])
    assert "far from both limits" in [text.get_text() for text in legend.get_texts()]


def test_a_layer_of_unknown_flops_is_named_and_never_bound_by_memory(tmp_path: Path) -> None:
    one = case(subject="net/distance")
    blind = [
        *replicates(one, [0.05] * 5),
        StaticMetrics(case=one, metrics={"bytes_moved": 10_000_000}),
    ]
    run = run_of(tmp_path / "run", [*entries(), *blind], machine=WRITTEN)
    first, second = (item for item in of_run(run) if item.kind == "roofline")
    assert "distance" not in first.text
    assert second.text == (
        "The limit of net/distance is unknown, because the number of FLOPs is unknown."
    )
    figures, _ = build(run)
    texts = [text.get_text() for text in figures["roofline"].texts]
    assert any("FLOPs unknown: distance" in text.replace("\n", " ") for text in texts)


def test_a_layer_too_short_to_tell_is_held_by_neither_roof(tmp_path: Path) -> None:
    one = case(subject="net/tiny")
    tiny = [
        *replicates(one, [2e-5] * 5),
        StaticMetrics(case=one, metrics={"flops": 9, "bytes_moved": 99}),
    ]
    run = run_of(tmp_path / "run", [*entries(), *tiny], machine=WRITTEN)
    (told,) = (item for item in of_run(run) if item.kind == "roofline")
    assert "tiny" not in told.text
    assert told.text.endswith(
        "1 of 4 layers takes less than 50.0 µs a call, which is mostly Python and dispatch."
    )
    alone = run_of(tmp_path / "alone", tiny, machine=WRITTEN)
    (told,) = (item for item in of_run(alone) if item.kind == "roofline")
    assert told.text.startswith("In inference of net at N=8, 1 of 1 layer takes less than 50.0 µs")


def test_a_run_without_peaks_says_so_once(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", entries())
    assert no_ceilings(run) == "the run did not measure the machine's peaks"
    assert [one.text for one in of_run(run) if one.kind == "doubt"] == [
        "There is no roofline: the run did not measure the machine's peaks."
    ]


def test_the_plot_has_a_point_a_layer_with_its_share(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", entries(), machine=WRITTEN)
    figures, _ = build(run)
    texts = [text.get_text() for axes in figures["roofline"].axes for text in axes.texts]
    assert sorted(texts) == ["50 %", "fast  90 %", "slow  10 %"]


def test_without_peaks_there_is_no_plot_and_a_reason(tmp_path: Path) -> None:
    figures, reasons = build(run_of(tmp_path / "run", entries()))
    assert "roofline" not in figures
    assert "roofline: no layers beside measured peaks of the machine" in reasons


WITH_TF32 = of_sweep(
    {
        **LADDER,
        "threads": None,
        "arithmetic": {
            "float32": [{"what": "product", "amount": 1, "per_s": 100e9}],
            "tf32": [{"what": "product", "amount": 1, "per_s": 400e9}],
        },
    }
)


@pytest.mark.parametrize(
    ("subject", "tf32", "arithmetic", "reached"),
    [
        ("net/fc", "default", "float32", 0.5),
        ("torch.nn:Linear(8, 4)", "default", "float32", 0.5),
        ("net/fc", "on", "tf32", 0.125),
        ("net/conv", "default", "tf32", 0.125),
        ("net/block", "default", "tf32", 0.125),
        ("net/conv", "off", "float32", 0.5),
    ],
)
def test_matrix_products_use_tf32_only_where_it_is_on(
    subject: str, tf32: str, arithmetic: str, reached: float
) -> None:
    """torch's default leaves matrix products in float32; a block may have convolutions."""
    types = {"net/fc": "Linear", "net/conv": "Conv2d", "net/block": "BasicBlock"}
    given = row(subject=subject, tf32=tf32, threads=None)
    (one,) = points([given], WITH_TF32, types)
    assert one.arithmetic == arithmetic
    assert one.reached == pytest.approx(reached)


def test_the_types_of_layers_are_those_of_the_run(tmp_path: Path) -> None:
    layers = {"net": [{"name": "model.0", "alias": "fc", "type": "Linear", "calls": 1}]}
    run = run_of(tmp_path / "run", entries(), layers=layers)
    assert layer_types(run) == {"net/fc": "Linear"}
