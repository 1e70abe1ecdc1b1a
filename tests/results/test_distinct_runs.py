"""Runs of one name are kept apart, whatever is made of them."""

from pathlib import Path

import pytest

from bench.commands import report
from bench.compare import speedup
from bench.html import run_tables
from bench.results.distinct_runs import apart
from bench.results.loading import ReadError, load
from tests.support.cases import case
from tests.support.results import replicates, run_of

GPU = case(device="cuda:0", cudnn_benchmark="off", tf32="off", threads=None, allocator=None)


def test_two_machines_runs_of_one_name_are_not_paired_with_each_other(tmp_path: Path) -> None:
    ours = run_of(tmp_path / "cpu" / "run", replicates(case(), [0.010, 0.012, 0.011]))
    theirs = run_of(tmp_path / "gpu" / "run", replicates(GPU, [0.001, 0.003, 0.002]))
    one, other = apart([ours, theirs])
    (gain,) = speedup.within(one.beside(other), "device")
    assert gain.method == "welch"
    assert gain.ratio == pytest.approx(11 / 2, rel=0.1)


def test_before_and_after_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [
        run_of(tmp_path / name / "run", replicates(case(), times))
        for name, times in (("before", [0.010] * 3), ("after", [0.020] * 3))
    ]
    before, after = apart(runs)
    assert (run_tables.name(before), run_tables.name(after)) == tuple(str(one.path) for one in runs)
    changes = run_tables.changes(before, after)
    assert f"{after.path} against {before.path}" in changes.note
    (gain,) = speedup.between(before, after)
    assert (gain.base, gain.value) == (str(before.path), str(after.path))
    assert gain.ratio == pytest.approx(0.5)


def test_names_that_differ_stay_as_they_are(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, replicates(case(), [0.01] * 3)) for name in ("one", "two")]
    assert [run_tables.name(one) for one in apart(runs)] == ["one", "two"]


def test_a_run_given_twice_is_refused_also_through_a_link(tmp_path: Path) -> None:
    run_of(tmp_path / "one", replicates(case(), [0.01] * 3))
    (tmp_path / "latest").symlink_to("one")
    with pytest.raises(ReadError, match=r"one: is given twice; give another run"):
        apart([load(tmp_path / "one"), load(tmp_path / "latest")])
    with pytest.raises(ReadError, match="is given twice"):
        apart([load(tmp_path / "one"), load(tmp_path / "one" / "measurements.csv")])
    with pytest.raises(ReadError, match="is given twice"):
        report.report([tmp_path / "one", tmp_path / "latest"], tmp_path / "out")
