"""The stored runs that `bench check` takes as baseline and as history."""

import html
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.commands.check import check
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import replicates, run_of

QUIET = (0.01000, 0.01001, 0.01002, 0.01001, 0.01000)
FACTORS = (0.999, 1.001, 1.000, 1.0005, 0.9995, 1.000)


def measured(folder: Path, day: int, factor: float = 1.0, **run: Any) -> Results:
    """A run of a job that always says `--out now`; its folder was renamed afterwards."""
    entries = replicates(case(), [factor * time_s for time_s in QUIET])
    started = f"2026-03-{day:02}T00:00:00+00:00"
    return run_of(folder, entries, **{"run_id": "now", "started": started, **run})


def stored(folder: Path, **run: Any) -> Path:
    """Six runs that differ by a thousandth."""
    for day, factor in enumerate(FACTORS, 1):
        measured(folder / f"{day}", day, factor, **run)
    return folder


def report_of(run: Results) -> str:
    return (run.path / "report.md").read_text(encoding="utf-8")


def test_runs_that_all_got_the_same_name_are_the_baseline_and_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stored(Path("baseline"))
    slow = measured(Path("now"), 20, 1.2)
    assert check(slow.path, Path("baseline"), 0.05, strict=False) == 1
    assert "1 REGRESSED" in report_of(slow)
    assert "Run <code>now</code> against baseline <code>baseline/6</code>" in report_of(slow)


def test_a_copy_of_the_run_itself_is_no_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = measured(tmp_path / "now", 20)
    shutil.copytree(run.path, tmp_path / "baseline" / "7")
    assert check(run.path, tmp_path / "baseline", 0.05, strict=False) == 0
    assert "NO BASELINE" in capsys.readouterr().out


def test_copies_of_one_run_are_no_history(tmp_path: Path) -> None:
    first = measured(tmp_path / "baseline" / "1", 1)
    for number in range(2, 9):
        shutil.copytree(first.path, tmp_path / "baseline" / str(number))
    slow = measured(tmp_path / "slow", 20, 1.2, run_id="slow")
    assert check(slow.path, tmp_path / "baseline", 0.05, strict=False) == 3
    assert "fewer than 5 earlier runs" in report_of(slow)


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        (
            {"samples_s": 0.1, "replicates": 3},
            "(samples_s 0.6, replicates 5) than this run (samples_s 0.1, replicates 3). Times",
        ),
        ({"isolation": "session"}, "another sampling (isolation process) than this run"),
        ({"parallel_devices": True}, "another sampling (parallel_devices False) than this run"),
        ({"wait_policy": "passive"}, "another sampling (wait_policy default) than this run"),
    ],
)
def test_runs_with_another_sampling_are_no_history_and_a_note_says_so(
    tmp_path: Path, sampling: dict[str, Any], told: str
) -> None:
    """A quick run scatters more than the prediction from full runs allows."""
    full = {"samples_s": 0.6, "replicates": 5}
    stored(tmp_path / "baseline", config=full)
    slow = measured(tmp_path / "now", 20, 1.2, config={**full, **sampling})
    assert check(slow.path, tmp_path / "baseline", 0.05, strict=False) == 3
    assert told in html.unescape(report_of(slow))
    assert "fewer than 5 earlier runs" not in report_of(slow)


def test_runs_with_the_same_sampling_go_before_newer_ones_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = {"samples_s": 0.1, "replicates": 3}
    stored(Path("baseline"), config=quick)
    measured(Path("baseline/full"), 10, config={"samples_s": 0.6, "replicates": 5})
    slow = measured(Path("now"), 20, 1.2, config=quick)
    assert check(slow.path, Path("baseline"), 0.05, strict=False) == 1
    assert "against baseline <code>baseline/6</code>" in report_of(slow)
    assert "another sampling" not in report_of(slow)
