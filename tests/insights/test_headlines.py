"""The headline claims what the intervals show, and nothing else."""

from dataclasses import replace
from pathlib import Path

from bench.core.records import Failure
from bench.insights.headlines import of_runs
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import replicates, run_of

PLAIN = [0.010, 0.0101, 0.0099, 0.010, 0.0101]
FAST = [0.005, 0.0051, 0.0049, 0.005, 0.0051]


def test_the_setting_that_makes_a_mode_faster_is_named_with_its_speedup(tmp_path: Path) -> None:
    entries = replicates(case(), PLAIN) + replicates(case(memory_format="channels_last"), FAST)
    told = of_runs([run_of(tmp_path / "run", entries)])
    assert told == "channels_last makes convnet inference 2.0× faster."


def test_a_setting_that_is_slower_is_no_headline(tmp_path: Path) -> None:
    entries = replicates(case(), FAST) + replicates(case(memory_format="channels_last"), PLAIN)
    assert of_runs([run_of(tmp_path / "run", entries)]) == "No setting makes convnet faster."


def test_one_replicate_is_too_few(tmp_path: Path) -> None:
    entries = replicates(case(), [0.01]) + replicates(case(memory_format="channels_last"), [0.005])
    assert of_runs([run_of(tmp_path / "run", entries)]).startswith("Too few replicates to tell")


def test_failures_alone_are_counted(tmp_path: Path) -> None:
    failed = [Failure(case=case(), replicate=0, status="oom", reason="too big")]
    told = of_runs([run_of(tmp_path / "run", failed)])
    assert told == "No case of convnet could be measured: 1 oom."


def test_of_two_runs_the_second_is_told_against_the_first(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", replicates(case(), FAST))
    b = run_of(tmp_path / "b", replicates(case(batch=9), PLAIN))
    assert of_runs([a, b]) == "The second run has no case in common with the first."


LAST = {"memory_format": "channels_last"}


def test_of_several_subjects_each_mode_is_told_with_its_number_of_them(tmp_path: Path) -> None:
    entries = [
        *replicates(case(), PLAIN),
        *replicates(case(**LAST), FAST),
        *replicates(case(mode="training"), FAST),
        *replicates(case(mode="training", **LAST), PLAIN),
        *replicates(case(subject="other"), PLAIN),
        *replicates(case(subject="other", **LAST), FAST),
    ]
    assert of_runs([run_of(tmp_path / "run", entries)]) == (
        "channels_last makes inference 2.0× faster in 2 of 2 subjects; no setting is shown to make "
        "training faster."
    )


def test_of_one_subject_on_several_inputs_these_are_counted(tmp_path: Path) -> None:
    entries = [
        entry
        for shape in ("3,224,224", "3,64,64")
        for entry in (
            *replicates(case(input=shape), PLAIN),
            *replicates(case(input=shape, **LAST), FAST),
        )
    ]
    told = of_runs([run_of(tmp_path / "run", entries)])
    assert told == "channels_last makes inference 2.0× faster in 2 of 2 inputs."


def implausible(run: Results) -> Results:
    rows = (
        replace(row, flags="implausible") if row.device != "cpu" or row.batch == 64 else row
        for row in run.rows
    )
    return replace(run, rows=tuple(rows))


def test_a_row_that_is_faster_than_possible_is_no_headline(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", replicates(case(batch=64), FAST) + replicates(case(), PLAIN))
    told = of_runs([implausible(run)])
    assert told == "convnet inference: 798 images/s at N=8; only one setting was measured."


def test_a_device_that_is_faster_than_possible_is_no_headline(tmp_path: Path) -> None:
    entries = replicates(case(), PLAIN) + replicates(case(device="cuda:0"), FAST)
    run = run_of(tmp_path / "run", entries)
    assert of_runs([run]) == "cuda:0 runs convnet inference 2.0× as fast as cpu."
    told = of_runs([implausible(run)])
    assert told == "convnet inference: 798 images/s at N=8; only one setting was measured."
