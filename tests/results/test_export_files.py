"""Exports: what other tools read is what a run holds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.commands import export
from bench.core.errors import UserError
from bench.results import export_files
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import measurement, run_of

CASE = case(mode="inference", batch=8)


@pytest.fixture
def run(tmp_path: Path) -> Results:
    times = [(0.010, 0.012, 0.014), (0.011, 0.012, 0.013), (0.010, 0.011, 0.012)]
    entries = [measurement(CASE, number, *one) for number, one in enumerate(times)]
    return run_of(tmp_path / "one", entries, started="2026-01-02T03:04:05+00:00")


def test_statistics_for_pytest_benchmark_are_over_all_samples(run: Results) -> None:
    found = json.loads(export_files.pytest_benchmark(run))
    (one,) = found["benchmarks"]
    assert one["name"] == CASE.case_id
    stats = one["stats"]
    assert (stats["min"], stats["median"], stats["max"]) == (0.010, 0.012, 0.014)
    assert stats["rounds"] == 9
    assert (stats["q1"], stats["q3"]) == (0.011, 0.012)
    assert stats["ops"] == pytest.approx(9 / 0.105)
    assert found["datetime"] == "2026-01-02T03:04:05+00:00"


@pytest.mark.slow
def test_pytest_benchmark_itself_reads_its_file(run: Results, tmp_path: Path) -> None:
    file = tmp_path / "0001_run.json"
    file.write_text(export_files.pytest_benchmark(run), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if "convnet" in line)
    assert "10.0000" in row
    assert "14.0000" in row


def test_github_action_benchmark_gets_a_list_of_names_units_and_values(run: Results) -> None:
    (one,) = json.loads(export_files.github_action_benchmark(run))
    assert one["name"] == CASE.case_id
    assert one["unit"] == "ms"
    assert 11 < one["value"] < 12.1
    assert one["range"].startswith("± ")


def test_bencher_gets_nanoseconds_with_their_bounds(run: Results) -> None:
    found = json.loads(export_files.bencher(run))[CASE.case_id]
    latency = found["latency"]
    assert 11e6 < latency["value"] < 12.1e6
    assert latency["lower_value"] < latency["value"] < latency["upper_value"]
    assert 600 < found["throughput"]["value"] < 830


@pytest.mark.parametrize("to", list(export_files.FORMATS))
def test_a_run_without_times_is_refused_in_words(to: str, tmp_path: Path) -> None:
    empty: list[Any] = []
    with pytest.raises(UserError, match="nothing to export"):
        export_files.FORMATS[to](run_of(tmp_path / "none", empty))


def test_the_command_writes_a_file_or_standard_output(
    run: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert export.run(run.path, "bencher", out) == 0
    assert export.run(run.path, "bencher", None) == 0
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")


def test_an_unknown_format_and_a_folder_that_is_missing_are_refused(
    run: Results, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="did you mean 'bencher'"):
        export.run(run.path, "benchers", None)
    with pytest.raises(UserError, match="cannot be written"):
        export.run(run.path, "bencher", tmp_path / "missing" / "out.json")
