"""The files that follow from a journal: made of what is in memory, tables last."""

import json
from pathlib import Path

import pytest

from bench.commands import derive
from bench.plots import draw
from bench.results.journal import Journal
from bench.results.loading import load
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import RUN, replicates

LAST = case(memory_format="channels_last")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A run directory as measuring leaves it; the plan lists the cases the other way round."""
    run = {**RUN, "cases": [LAST.as_dict(), case().as_dict()]}
    (tmp_path / "run.json").write_text(json.dumps(run), encoding="utf-8")
    log = Journal(tmp_path / "journal.jsonl")
    for one in (*replicates(case(), [0.01] * 3), *replicates(LAST, [0.02] * 3)):
        log.append(one)
    log.close()
    return tmp_path


def drawn_nothing(_: Results) -> list[Path]:
    return []


def test_the_results_in_memory_are_those_that_the_files_give(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "draw", drawn_nothing)
    made = derive.write_all(measured).results
    read = load(measured)
    assert [row.case_id for row in made.rows] == [LAST.case_id, case().case_id]
    assert made.rows == read.rows
    assert made.medians == read.medians
    assert made.frame.equals(read.frame)
    assert made.sample_frame.equals(read.sample_frame)


def test_plots_are_made_before_there_is_a_table_to_read(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []

    def look(run: Results) -> list[Path]:
        seen.append(((run.path / "measurements.csv").exists(), len(run.rows)))
        return []

    monkeypatch.setattr(draw, "draw", look)
    derive.write_all(measured)
    assert seen == [(False, 2)]


def test_tables_are_written_whatever_a_plot_trips_over(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(_: Results) -> list[Path]:
        raise ZeroDivisionError

    monkeypatch.setattr(draw, "draw", trip)
    with pytest.raises(ZeroDivisionError):
        derive.write_all(measured)
    assert len(load(measured).rows) == 2
    assert len(load(measured).sample_frame) == 12
