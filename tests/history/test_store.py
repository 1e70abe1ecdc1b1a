"""A folder of runs is read as it is: in any depth, each run a single time, with its times."""

from pathlib import Path

import pytest

from bench.history import store
from bench.results.loading import ReadError
from bench.results.run_json import Sampling
from tests.support.cases import PLAIN, case
from tests.support.history import sha, write_run

TRAINING = case(mode="training", grad_mode=None)


def test_runs_are_found_in_any_depth_and_links_are_not_followed(tmp_path: Path) -> None:
    write_run(tmp_path / "m1" / "one", sha(1), {PLAIN: 0.1})
    write_run(tmp_path / "two", sha(2), {PLAIN: 0.1})
    (tmp_path / "latest").symlink_to("two")
    (tmp_path / "confirmed" / "x").mkdir(parents=True)
    (tmp_path / "confirmed" / "x" / "ab.json").write_text("{}")
    found = [one.relative_to(tmp_path).as_posix() for one in store.folders_of_runs(tmp_path)]
    assert found == ["m1/one", "two"]


def test_a_run_has_the_whole_phase_of_each_case(tmp_path: Path) -> None:
    write_run(tmp_path / "one", sha(1), {PLAIN: 0.1, TRAINING: 0.3})
    ((run,), left) = store.read([tmp_path])
    assert left == []
    assert {case_id: time.seconds for case_id, time in run.times.items()} == {
        PLAIN.case_id: 0.1,
        TRAINING.case_id: 0.3,
    }
    assert run.times[PLAIN.case_id].high_s == pytest.approx(0.102)
    assert (run.commit, run.dirty, run.machine, run.kind) == (sha(1), False, "m1", "AMD EPYC")
    assert run.sampling == Sampling(0.1, 0.1, 3, 3)
    assert run.marks["torch"] == "2.13.0"


def test_a_time_is_read_as_it_was_measured(tmp_path: Path) -> None:
    """The correction by the controls depends on the runs beside a run."""
    write_run(tmp_path / "one", sha(1), {PLAIN: 0.1}, rows={"control_factor": "1.25"})
    ((run,), _) = store.read([tmp_path])
    assert run.times[PLAIN.case_id].seconds == pytest.approx(0.08)


def test_a_copy_of_a_run_counts_a_single_time(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "one", sha(1), {PLAIN: 0.1})
    write_run(tmp_path / "b" / "one", sha(1), {PLAIN: 0.1})
    runs, left = store.read([tmp_path, tmp_path / "a"])
    assert len(runs) == 1
    assert [one.why for one in left] == [f"a copy of {tmp_path / 'a' / 'one'}"]


def test_runs_that_all_got_the_same_name_count_each(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "now", sha(1), {PLAIN: 0.1})
    write_run(tmp_path / "b" / "now", sha(1), {PLAIN: 0.1}, started="2026-11-02T00:00:00+00:00")
    write_run(tmp_path / "c" / "now", sha(1), {PLAIN: 0.1}, machine="m2")
    write_run(tmp_path / "d" / "now", sha(2), {PLAIN: 0.1})
    runs, left = store.read([tmp_path])
    assert ([one.path.parent.name for one in runs], left) == (["a", "b", "c", "d"], [])


def test_a_damaged_and_an_unfinished_run_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    write_run(tmp_path / "good", sha(1), {PLAIN: 0.1})
    write_run(tmp_path / "bad", sha(1), {PLAIN: 0.1}, rows={"latency_median_s": "fast"})
    write_run(tmp_path / "open", sha(1), {PLAIN: 0.1})
    (tmp_path / "open" / "measurements.csv").unlink()
    runs, left = store.read([tmp_path])
    assert [one.run_id for one in runs] == ["good"]
    assert {one.path.name: one.why[:40] for one in left} == {
        "bad": "measurements.csv, line 2: latency_median",
        "open": "not finished, or its tables are not writ",
    }


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_path_without_runs_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match=name):
        store.read([tmp_path / name])
