"""The series of runs, and the order of their runs."""

from bench.history import sentences, series
from bench.history.blessed import Blessing
from bench.results.run_json import Sampling
from tests.support.cases import PLAIN, case
from tests.support.history import line_of, run_of, runs_of, sha


def test_runs_are_ordered_by_their_commits_and_never_by_the_clock() -> None:
    runs = [
        run_of(2, 0.2, started="2026-01-01"),
        run_of(0, 0.1, started="2026-03-01"),
        run_of(1, 0.15, started="2026-02-01"),
    ]
    (found,) = series.gather(runs, line_of(3)).series
    assert [one.place for one in found.points] == [0, 1, 2]
    assert [one.time.seconds for one in found.points] == [0.1, 0.15, 0.2]


def test_the_runs_of_one_commit_are_ordered_by_their_start() -> None:
    late = run_of(0, 0.2, started="2026-03-01", run_id="a")
    early = run_of(0, 0.1, started="2026-02-01", run_id="b")
    (found,) = series.gather([late, early], line_of(1)).series
    assert [one.time.seconds for one in found.points] == [0.1, 0.2]


def test_machines_and_samplings_are_series_of_their_own() -> None:
    runs = [
        run_of(0, 0.1),
        run_of(1, 0.1, machine="m2"),
        run_of(2, 0.1, sampling=Sampling(0.5, 1.0, 5, 5)),
        run_of(3, 0.1, sampling=Sampling(0.5, 1.0, 5, 5, isolation="session")),
        run_of(4, 0.1, sampling=Sampling(0.5, 1.0, 5, 5, parallel_devices=True)),
    ]
    gathered = series.gather(runs, line_of(5)).series
    assert len(gathered) == 5
    assert [sentences.title(one) for one in gathered[2:]] == [
        "AMD EPYC (machine m1), 5 replicates of 0.5 s",
        "AMD EPYC (machine m1), 5 replicates of 0.5 s, isolation session",
        "AMD EPYC (machine m1), 5 replicates of 0.5 s, parallel devices",
    ]


def test_a_time_that_was_measured_beside_other_devices_is_shown_and_does_not_count() -> None:
    beside = run_of(1, 0.2, row={"flags": "parallel"})
    (found,) = series.gather([run_of(0, 0.1), beside, run_of(2, 0.1)], line_of(3)).series
    assert len(found.points) == 3
    assert [one.place for one in found.judged] == [0, 2]


def test_a_run_that_cannot_be_placed_is_left_out_with_its_reason() -> None:
    runs = [
        run_of(0, 0.1),
        run_of(0, 0.1, dirty=True),
        run_of(0, 0.1, commit=None),
        run_of(0, 0.1, machine=None),
        run_of(7, 0.1),
        run_of(0, 0.1, times={}),
    ]
    gathered = series.gather(runs, line_of(3))
    assert len(gathered.series[0].points) == 1
    assert [one.why for one in gathered.left] == [
        "its tree had uncommitted changes",
        "no commit is stored in it",
        "its machine is unknown",
        f"its commit {sha(7)[:8]} is not on the first-parent line",
        "no case of it has a time",
    ]


def test_only_the_cases_that_are_asked_for_have_a_series() -> None:
    training = case(mode="training", grad_mode=None)
    runs = [run_of(0, 0.1), run_of(1, 0.1, training)]
    gathered = series.gather(runs, line_of(2), cases=["convnet:training:*"])
    assert [one.case_id for one in gathered.series] == [training.case_id]


def test_a_blessing_begins_the_series_anew_at_its_commit() -> None:
    accepted = [
        Blessing(PLAIN.case_id, sha(3), "slower, but right"),
        Blessing("convnet:*", sha(5), "the same again"),
        Blessing("other:*", sha(7), "another network"),
    ]
    (found,) = series.gather(runs_of([0.1] * 9), line_of(9), accepted).series
    assert found.counted == 5
    assert found.blessing is not None
    assert found.blessing.why == "the same again"
    assert [one.place for one in found.judged] == [5, 6, 7, 8]


def test_a_step_can_be_between_commits_or_where_a_version_changed() -> None:
    marks = {"torch": "2.14.0"}
    runs = [
        run_of(0, 0.1, run_id="a"),
        run_of(0, 0.1, run_id="b"),
        run_of(0, 0.1, run_id="c", marks=marks),
        run_of(1, 0.1, run_id="d", marks=marks),
    ]
    (found,) = series.gather(runs, line_of(2)).series
    assert series.splits(found.points) == [2, 3]
