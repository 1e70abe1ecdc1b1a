"""A history on the terminal: findings first, then every series, then what was left out."""

import dataclasses
import io
import random
from pathlib import Path

import pytest
from rich.console import Console

from bench.commands.history import Asked, code, store_of
from bench.history import findings, series
from bench.history.findings import History
from bench.history.store import LeftOut, Run
from bench.terminal import history as shown
from tests.support.cases import case
from tests.support.history import line_of, run_of, runs_of


def times(before: float, after: float, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [one * rng.lognormvariate(0, 0.01) for one in [before] * 12 + [after] * 12]


def history(*runs: Run) -> History:
    return findings.examine(series.gather(runs, line_of(40)).series)


def printed(found: History, left: list[LeftOut] | None = None) -> str:
    text = io.StringIO()
    shown.show(found, left or [], Console(file=text, width=100, color_system=None))
    return text.getvalue()


def test_findings_come_first_with_the_command_that_compares_the_commits() -> None:
    lines = printed(history(*runs_of(times(0.1, 0.12)))).splitlines()
    assert lines[0] == "1 series is slower"
    assert lines[1].startswith("- suspect: convnet inference N=8 is ")
    assert lines[2].startswith("    bench ab 00000000 00000000 --subject convnet")
    assert "AMD EPYC (machine m1), 3 replicates of 0.1 s" in lines
    assert lines[-1] == "1 of 1 series judged"


def test_no_line_has_blanks_at_its_end() -> None:
    for line in printed(history(*runs_of(times(0.1, 0.12)))).splitlines():
        assert line == line.rstrip()


def test_each_machine_has_a_table_of_its_own() -> None:
    here = runs_of(times(0.1, 0.1))
    there = [run_of(n, t, machine="m2", kind="Intel") for n, t in enumerate(times(0.2, 0.2))]
    text = printed(history(*here, *there))
    assert text.index("AMD EPYC (machine m1)") < text.index("Intel (machine m2)")
    assert text.startswith("no change was found in 2 series")


def test_the_headline_counts_series_and_names_what_was_taken_back() -> None:
    fast = case(batch=1)
    faster = [run_of(n, t, fast, run_id=f"f{n}") for n, t in enumerate(times(0.1, 0.05, seed=1))]
    found = history(*runs_of(times(0.1, 0.12)), *faster)
    assert shown.headline(found) == "1 series is slower, 1 series is faster"
    back = dataclasses.replace(found.findings[0], confirmation="taken back")
    found = History((back, *found.findings[1:]), found.examined, found.census)
    assert shown.headline(found) == "1 series is faster; 1 suspect taken back"
    assert shown.headline(history(run_of(0, 0.1))) == "no series could be judged"


def test_a_change_is_red_unless_it_was_taken_back() -> None:
    found = history(*runs_of(times(0.1, 0.12)))
    (slower,) = found.findings
    back = dataclasses.replace(slower, confirmation="taken back")
    for findings_, style in (((slower,), "red"), ((back,), ""), ((back, slower), "red")):
        (row,) = shown._table(found.examined, findings_).rows
        assert row[-1].style == style


def test_left_out_runs_are_counted_by_reason() -> None:
    left = [LeftOut(Path(f"run{n}"), "no commit is stored in it") for n in range(5)]
    left.append(LeftOut(Path("x"), "a copy of y"))
    assert shown.left_out(left) == [
        "left out: 5 runs: no commit is stored in it (run0, run1, run2 and 2 more)",
        "left out: 1 run: a copy of y (x)",
    ]


@pytest.mark.parametrize(
    ("seconds", "bars"),
    [
        ([1.0], "▅"),
        ([1.0, 2.0], "▁█"),
        ([1.0, 1.001], "▄▅"),  # the whole height is at least 10 %
        ([1.0] * 24 + [2.0] * 24, "▁" * 12 + "█" * 12),
    ],
)
def test_a_small_chart_has_a_bar_for_each_part(seconds: list[float], bars: str) -> None:
    assert shown.bars(seconds) == bars


def test_only_with_strict_a_slower_series_fails_unless_it_was_taken_back() -> None:
    found = history(*runs_of(times(0.1, 0.12)))
    assert (code(found, strict=False), code(found, strict=True)) == (0, 1)
    back = dataclasses.replace(found.findings[0], confirmation="taken back")
    assert code(History((back,), found.examined, found.census), strict=True) == 0
    assert code(history(*runs_of(times(0.1, 0.05))), strict=True) == 0


def test_comparisons_are_kept_in_the_first_store(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "measurements.csv").touch()
    assert store_of(Asked(runs=(tmp_path / "run",))) == tmp_path
    assert store_of(Asked(runs=(tmp_path, tmp_path / "run"))) == tmp_path
    assert store_of(Asked()) == Path("results/history")
