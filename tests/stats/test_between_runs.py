"""The spread between runs of one code: learnt from earlier runs, else a default; and told."""

import csv
import json
import math
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.commands import derive
from bench.compare import speedup
from bench.core.records import LATER_COLUMNS
from bench.results import history, run_json
from bench.results.journal import Journal
from bench.results.loading import load
from bench.stats import between_runs
from bench.stats.between_runs import Between
from bench.stats.ratios import Centre, Part
from bench.verdict.timing import SURE_ALPHA
from experiments import checked
from experiments.checked import Machine, earlier_runs, rates
from tests.support.cases import case
from tests.support.paths import ROOT
from tests.support.results import RUN, replicates, run_of

QUIET = [0.01000, 0.01001, 0.01002, 0.01001, 0.01000]
EXAMPLE = ROOT / "results" / "example"


def centres(*times_s: float, error: float = 0.0) -> list[Centre]:
    return [Centre(math.log(time_s), error**2, 5) for time_s in times_s]


def test_one_run_or_none_says_nothing_and_the_default_holds() -> None:
    assert between_runs.of([]) == between_runs.of(centres(1.0)) == Between(0.046, 0)
    assert Between().part == Part(0.046**2, 7)


def test_what_the_replicates_see_already_is_not_counted_twice() -> None:
    times_s = (1.00, 1.03, 0.98, 1.01, 0.99)
    whole = statistics.variance(map(math.log, times_s))
    assert between_runs.of(centres(*times_s)).sd == pytest.approx(math.sqrt(whole))
    found = between_runs.of(centres(*times_s, error=0.01))
    assert found.sd == pytest.approx(math.sqrt(whole - 0.01**2))
    assert (found.part.variance, found.part.df) == (found.sd**2, 4)
    assert between_runs.of(centres(*times_s, error=0.5)).sd == 0.0


@pytest.mark.parametrize(
    ("ones", "text"),
    [
        ([Between()], "4.6 % between runs (default)"),
        ([Between(0.04, 3)], "4.0 % between runs (3 earlier runs and the default)"),
        ([Between(0.012, 6), Between(0.031, 6)], "1.2 to 3.1 % between runs (6 earlier runs)"),
        (
            [Between(0.012, 6), Between()],
            "1.2 to 4.6 % between runs (6 earlier runs and the default)",
        ),
    ],
)
def test_it_is_told_with_its_source(ones: Sequence[Between], text: str) -> None:
    assert between_runs.describe(ones) == text


def test_two_runs_differ_by_it_twice_and_know_it_no_better() -> None:
    both = between_runs.two_runs(Between(0.03, 6), Between(0.04, 9))
    assert both.variance == pytest.approx(0.03**2 + 0.04**2)
    assert both.df == 5


def without(folder: Path) -> Path:
    """The run as earlier versions wrote it: without the columns that came later."""
    path = folder / "measurements.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    kept = [name for name in lines[0] if name not in LATER_COLUMNS]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return folder


def test_results_of_earlier_versions_are_read_and_the_default_holds_for_them(
    tmp_path: Path,
) -> None:
    run_of(tmp_path / "a", replicates(case(), QUIET))
    old, new = load(without(tmp_path / "a")), run_of(tmp_path / "b", replicates(case(), QUIET))
    (gain,) = speedup.between(old, new)
    assert gain.between == "4.6 % between runs (default)"
    assert old.rows[0].earlier_runs is None
    assert new.rows[0].earlier_runs == 0


def test_the_stored_example_is_read() -> None:
    (line, *_) = history.centres([load(EXAMPLE, samples=False)]).values()
    assert line[0]["latency"].variance is not None
    assert line[0]["latency"].variance > 0


def test_the_ratio_of_two_runs_has_it_for_both_and_that_of_two_settings_does_not(
    tmp_path: Path,
) -> None:
    """Five replicates that agree to a thousandth: what is left is 4.6 % · √2."""
    last = case(memory_format="channels_last")
    entries = [*replicates(case(), QUIET), *replicates(last, QUIET)]
    one, other = run_of(tmp_path / "a", entries), run_of(tmp_path / "b", entries)
    gain = speedup.between(one, other)[0]
    half = (math.log(gain.high or 0.0) - math.log(gain.low or 0.0)) / 2
    assert half == pytest.approx(2.3646 * 0.046 * math.sqrt(2), rel=0.01)
    (setting,) = speedup.within(one, "memory_format")
    assert (setting.low, setting.high, setting.between) == (1.0, 1.0, "")


def started(day: int) -> str:
    return f"2026-03-{day:02d}T00:00:00+00:00"


def environment(**more: Any) -> dict[str, Any]:
    return {**RUN["environment"], "sources": {"convnet": "one"}, **more}


def neighbour(folder: Path, day: int, factor: float = 1.0, **run: Any) -> None:
    entries = replicates(case(), [factor * time_s for time_s in QUIET])
    run_of(folder, entries, **{"started": started(day), "environment": environment(), **run})


def test_a_run_learns_from_earlier_runs_beside_it_of_the_same_machine_and_build(
    tmp_path: Path,
) -> None:
    for day, factor in enumerate((1.0, 1.02, 0.98, 1.01, 0.99), 1):
        neighbour(tmp_path / f"good-{day}", day, factor)
    neighbour(tmp_path / "later", 20)
    neighbour(tmp_path / "elsewhere", 6, machine={"machine_id": "m2"})
    neighbour(tmp_path / "other torch", 6, environment=environment(torch="2.12.0"))
    neighbour(tmp_path / "other code", 6, environment=environment(sources={"convnet": "two"}))
    neighbour(tmp_path / "quick", 6, config={"replicates": 3, "samples_s": 0.1})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "measurements.csv").write_text("what?")
    (tmp_path / "broken" / "run.json").write_text("{")
    folder = tmp_path / "now"
    run = {**RUN, "run_id": "now", "started": started(10), "environment": environment()}
    run |= {"cases": [case().as_dict()]}
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    log = Journal(folder / "journal.jsonl")
    for entry in replicates(case(), QUIET):
        log.append(entry)
    log.close()
    names = [one.path.name for one in history.before(folder, run_json.of(run))]
    assert names == [f"good-{day}" for day in range(1, 6)]
    (row,) = derive.write_all(folder).results.rows
    assert row.earlier_runs == 5
    assert row.latency_between_ratio == pytest.approx(0.0158, abs=0.0002)


def test_copies_of_one_run_are_one_run(tmp_path: Path) -> None:
    for name in ("one", "copy", "again"):
        neighbour(tmp_path / name, day=1, run_id="one")
    neighbour(tmp_path / "other", day=2, run_id="other")
    run = {**RUN, "run_id": "now", "started": started(9), "environment": environment()}
    assert len(history.before(tmp_path / "now", run_json.of(run))) == 2


def test_runs_that_all_got_the_same_name_are_several_runs(tmp_path: Path) -> None:
    for day in range(1, 4):
        neighbour(tmp_path / f"{day}", day, run_id="now")
    run = {**RUN, "run_id": "now", "started": started(9), "environment": environment()}
    assert len(history.before(tmp_path / "now", run_json.of(run))) == 3


def test_a_folder_that_cannot_be_listed_teaches_nothing(tmp_path: Path) -> None:
    """A run directory may be reached by whoever may not look around it."""
    run = {**RUN, "run_id": "now", "started": started(10), "environment": environment()}
    assert history.before(tmp_path / "gone" / "now", run_json.of(run)) == []


def test_a_run_that_does_not_say_when_it_began_learns_nothing(tmp_path: Path) -> None:
    neighbour(tmp_path / "good", 1)
    run = run_json.of({**RUN, "environment": environment()})
    assert history.before(tmp_path / "now", run) == []


def test_of_identical_suites_few_are_called_regressed_and_no_slower_case_the_same() -> None:
    """150 suites of eight cases with six earlier runs; `experiments.checked` has thousands.

    At an alpha of 5 % some seven of them would be.
    """
    rng = random.Random(5)
    same = rates(Machine("", shared=0.03), 6, 1.0, 150, rng)
    assert SURE_ALPHA == 0.01
    assert same["REGRESSED"] <= 3
    slower = rates(Machine("", own=0.015), 6, 1.06, 150, rng)
    assert slower["own SAME"] == 0
    assert slower["own some SAME"] <= 4
    found = rates(Machine("", own=0.01), 6, 1.20, 50, rng)
    assert found["own SUSPECT"] == 50


def test_simulated_runs_learn_from_those_before_them_as_measured_ones_do() -> None:
    runs = earlier_runs(Machine("own level, SD 3 %", own=0.03), 6, 1.0, random.Random(1))
    rows = [rows["case 1"] for rows, _ in runs]
    assert [row.earlier_runs for row in rows] == [0, 0, 2, 3, 4, 5, 6]
    sds = [row.latency_between_ratio for row in rows]
    assert sds[:2] == [0.046, 0.046]
    assert 0.046 not in sds[2:]
    assert between_runs.from_row(rows[6], "latency_median_s") == Between(sds[6] or 0.0, 6)


@pytest.mark.parametrize("earlier", [1, 2, 4, 6])
def test_suites_are_simulated_with_any_number_of_earlier_runs(earlier: int) -> None:
    found = rates(Machine("own level, SD 3 %", own=0.03), earlier, 1.5, 3, random.Random(1))
    assert found["own SUSPECT"] == 3


@pytest.mark.parametrize("earlier", ["0", "-1"])
def test_a_simulation_without_a_baseline_is_refused(
    earlier: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["checked", "--earlier", "6", earlier])
    with pytest.raises(SystemExit):
        checked.main()
    assert f"--earlier {earlier}: expected 1 or more" in capsys.readouterr().err
