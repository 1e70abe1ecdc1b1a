"""The tables of speedups on the page: what is left out is said, and what a speedup is of."""

from pathlib import Path

from bench.compare.speedup import SHARED
from bench.html.speedup_tables import MOST_CELLS, MOST_COLUMNS, MOST_TABLE_CELLS, of_runs
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import measurement, replicates, run_of

LEFT_OUT = "left out"


def small(tmp_path: Path) -> Results:
    entries = replicates(case(), [0.01] * 3) + replicates(case(amp="bfloat16"), [0.02] * 3)
    return run_of(tmp_path / "small", entries)


def test_a_page_that_holds_all_says_nothing_of_a_limit(tmp_path: Path) -> None:
    _, note = of_runs([small(tmp_path)])
    assert LEFT_OUT not in note
    assert "measurements.csv" not in note


def test_tables_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    entries = [
        entry
        for number in range(MOST_CELLS // 2 + 2)
        for setting in ("off", "bfloat16")
        for entry in replicates(case(subject=f"nets:net{number}", amp=setting), [0.01])
    ]
    tables, note = of_runs([run_of(tmp_path / "run", entries)])
    assert len(tables) == MOST_CELLS // 2
    assert note.endswith("2 more tables are left out. All figures are in measurements.csv.")


def test_batch_sizes_beyond_the_limit_are_told(tmp_path: Path) -> None:
    entries = [
        entry
        for batch in range(1, MOST_COLUMNS + 5)
        for entry in replicates(case(batch=batch), [0.01] * 3)
    ]
    (table,), note = of_runs([run_of(tmp_path / "run", entries)])
    assert len(table.columns) == MOST_COLUMNS
    assert f"A table has at most {MOST_COLUMNS} batch sizes." in note


def test_a_table_of_many_settings_has_plain_and_the_fastest_ones(tmp_path: Path) -> None:
    batches, settings = 10, MOST_TABLE_CELLS // 10 + 5
    entries = [
        entry
        for batch in range(1, batches + 1)
        for mode in ("inference", "training")
        for threads in range(settings)
        for entry in replicates(
            case(batch=batch, mode=mode, threads=str(threads) if threads else "auto"),
            [0.01 if not threads else 0.02 - 0.0004 * threads] * 3,
        )
    ]
    tables, note = of_runs([run_of(tmp_path / "run", entries)])
    assert [one.caption for one in tables] == ["convnet inference", "convnet training"]
    for one in tables:
        assert len(one.rows) == MOST_TABLE_CELLS // batches
        assert [line.name for line in one.rows[:2]] == ["plain", f"threads {settings - 1}"]
    told = f"A table has at most {MOST_TABLE_CELLS} cells, those of plain and of the fastest"
    assert f"{told} settings. All figures are in measurements.csv." in note


def test_the_variables_of_the_allocator_are_told_apart_from_a_speedup(tmp_path: Path) -> None:
    _, note = of_runs([small(tmp_path)])
    assert "these are not part of a speedup; allocator=system measures without them." in note
    twin = replicates(case(allocator="system"), [0.02] * 3)
    run = run_of(tmp_path / "twin", replicates(case(), [0.01] * 3) + twin)
    _, note = of_runs([run])
    assert "not part of a speedup; the row “as a plain process” has none of them." in note


def test_a_speedup_that_two_times_do_not_give_is_explained(tmp_path: Path) -> None:
    _, note = of_runs([small(tmp_path)])
    sentence = f"{SHARED[0].upper()}{SHARED[1:]}."
    assert sentence not in note
    more = [measurement(case(amp="bfloat16"), number, 0.05) for number in (3, 4, 5)]
    entries = replicates(case(), [0.01] * 3) + replicates(case(amp="bfloat16"), [0.02] * 3) + more
    _, note = of_runs([run_of(tmp_path / "run", entries)])
    assert sentence in note


def test_a_speedup_whose_interval_says_nothing_is_told_and_explained(tmp_path: Path) -> None:
    _, note = of_runs([small(tmp_path)])
    assert "oo wide" not in note
    noisy = [0.02, 0.002, 0.2]
    entries = replicates(case(), [0.01] * 3) + replicates(case(amp="bfloat16"), noisy)
    (table,), note = of_runs([run_of(tmp_path / "run", entries)])
    assert [line.cells[0].interval for line in table.rows] == ["", "too wide"]
    assert "Too wide: the 95 % interval is so wide that it says nothing; more" in note
