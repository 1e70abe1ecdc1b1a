"""The report of `experiments.drift` on runs whose times are known."""

import json
import random
from pathlib import Path

import pytest

from bench.core.records import Measurement, Samples
from bench.results.journal import Journal
from experiments.drift import Seen, divided, holds, load, ruled, show, show_rule, single
from tests.support.cases import case
from tests.support.results import RUN


def seen(time: float, half: float) -> Seen:
    ends = (time - half, time + half)
    controls = {"matmul": time, "convolution": time, "copy": 0.0}
    return Seen(time, ends, ends, ends, 0, half / 2, controls)


def test_an_interval_has_to_hold_the_median_of_the_other_runs() -> None:
    """With its own time among them, the run in the middle would hold that by itself."""
    runs = [seen(0.0, 0.1), seen(1.0, 0.1), seen(2.0, 1.6)]
    assert holds(runs, lambda one: one.printed) == [False, True, True]
    assert holds(runs[:2], lambda one: one.printed) == [False, False]
    assert sum(single(runs)) == 1


def test_dividing_by_the_controls_takes_away_what_they_show() -> None:
    assert divided([seen(0.0, 0.1), seen(0.3, 0.1)], ("matmul", "convolution")) == [0.0, 0.0]


def stored(folder: Path, level: float, rng: random.Random) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({**RUN, "run_id": folder.name}), encoding="utf-8")
    log = Journal(folder / "journal.jsonl")
    for batch in (1, 8):
        for replicate in range(5):
            times = tuple(0.01 * rng.lognormvariate(level, 0.01) for _ in range(3))
            log.append(
                Measurement(
                    case=case(batch=batch),
                    replicate=replicate,
                    samples=(
                        Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=times),
                    ),
                    controls={"matmul": times, "convolution": times, "copy": (0.1,)},
                )
            )
    log.close()


def test_runs_are_read_in_turn_and_later_ones_learn_from_those_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(1)
    levels = [0.02, -0.03, 0.01, 0.0, -0.01, 0.03, -0.02, 0.0]
    folders = [tmp_path / f"run-{number:02d}" for number in range(8)]
    for folder, level in zip(folders, levels, strict=True):
        stored(folder, level, rng)
    runs = load(folders)
    by_run = [next(iter(run.values())).earlier_runs for run in runs]
    assert by_run == [0, 0, 2, 3, 4, 5, 6, 7]
    first, last = (next(iter(run.values())).printed for run in (runs[0], runs[-1]))
    assert first[1] - first[0] > last[1] - last[0]
    show(runs)
    told = capsys.readouterr().out
    assert "8 runs. SD of the times" in told
    assert "as printed                                       16 of   16  100.0%" in told
    alone = told.partition("median of the other runs")[2].split("replicates alone")[1]
    assert "if each had the default alone 16 of 16" in " ".join(told.split())
    assert int(alone.split()[0]) < 12  # the interval of a run does not hold the others


def test_the_rule_learns_from_the_other_runs_and_moves_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(1)
    levels = [0.08, -0.09, 0.05, 0.0, -0.04, 0.10, -0.07, 0.02]
    folders = [tmp_path / f"run-{number:02d}" for number in range(8)]
    for folder, level in zip(folders, levels, strict=True):
        stored(folder, level, rng)
    runs = ruled(folders)
    assert [one.evidence.helps for one in runs] == [True] * 8
    assert [one.evidence.runs for one in runs] == [7] * 8
    show_rule(runs)
    told = capsys.readouterr().out
    assert told.count(": yes SD after / before") == 8
    # What is left is the usual level: that of the seven others differs from run to run.
    assert "SD of the runs' times, mean over cases: 7.0% raw, 1.0% by the rule" in told
    assert "16 of   16  100.0%" in told


def test_two_runs_are_too_few_and_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        stored(tmp_path / f"run-{number}", 0.0, random.Random(number))
    show(load(sorted(tmp_path.glob("run-*"))))
    assert "2 runs: no case has an interval in 3 of them" in capsys.readouterr().out
