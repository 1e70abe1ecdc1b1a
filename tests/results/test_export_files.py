"""Exports: what other tools read is what a run holds."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.commands import export
from bench.core.errors import UserError
from bench.host.git import git
from bench.results import export_asv, export_files
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


@pytest.mark.parametrize("name", export_files.FORMATS)
def test_a_file_is_the_same_in_every_encoding(tmp_path: Path, name: str) -> None:
    odd = dataclasses.replace(CASE, subject="größe.netz:Ü")
    found = run_of(tmp_path / "odd", [measurement(odd, one, 0.010 + one) for one in range(3)])
    text = export_files.FORMATS[name](found)
    assert text.isascii()
    assert "größe.netz:Ü" in str(json.loads(text))


def test_bencher_gets_nanoseconds_with_their_bounds(run: Results) -> None:
    found = json.loads(export_files.bencher(run))[CASE.case_id]
    latency = found["latency"]
    assert 11e6 < latency["value"] < 12.1e6
    assert latency["lower_value"] < latency["value"] < latency["upper_value"]
    assert 600 < found["throughput"]["value"] < 830


def test_asv_gets_a_benchmark_for_each_case_and_its_peak_memory(run: Results) -> None:
    found = export_asv.files(run)
    commit = str(run.description.environment.git_commit)
    machine = str(run.description.machine.machine_id)
    assert set(found) == {
        "benchmarks.json",
        f"{machine}/machine.json",
        f"{machine}/{commit[:8]}-convnet-bench.json",
    }
    benchmarks = found["benchmarks.json"]
    assert benchmarks["version"] == 2
    assert benchmarks[CASE.case_id]["unit"] == "seconds"
    result = found[f"{machine}/{commit[:8]}-convnet-bench.json"]
    row = dict(zip(result["result_columns"], result["results"][CASE.case_id], strict=False))
    assert row["result"] == [pytest.approx(0.0117, abs=2e-4)]
    assert row["stats_repeat"] == [9]
    assert row["stats_ci_99_a"][0] < row["result"][0] < row["stats_ci_99_b"][0]
    assert row["samples"] == [[0.010, 0.012, 0.014, 0.011, 0.012, 0.013, 0.010, 0.011, 0.012]]
    assert result["commit_hash"] == commit
    assert result["date"] == 1767323045000
    assert result["params"]["machine"] == machine


def test_asv_keeps_what_another_run_left_in_its_folder(run: Results, tmp_path: Path) -> None:
    out = tmp_path / "asv"
    assert export.run(run.path, "asv", out) == 0
    file = next(out.glob("*/*-convnet-bench.json"))
    before = json.loads(file.read_text(encoding="utf-8"))
    before["results"]["other"] = [[1.0]]
    file.write_text(json.dumps(before), encoding="utf-8")
    (out / "benchmarks.json").write_text('{"other": {"name": "other"}, "version": 2}')
    assert export.run(run.path, "asv", out) == 0
    after = json.loads(file.read_text(encoding="utf-8"))
    assert after["results"].keys() == {"other", CASE.case_id}
    assert json.loads((out / "benchmarks.json").read_text()).keys() == {
        "other",
        CASE.case_id,
        "version",
    }


@pytest.mark.slow  # git is a process
def test_the_date_in_asv_is_that_of_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2025-03-04T05:06:07+0000")
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    git(tmp_path, "init", "--quiet", why="init")
    git(tmp_path, *names, "commit", "--quiet", "--allow-empty", "-m", "one", why="commit")
    commit = git(tmp_path, "rev-parse", "HEAD", why="rev-parse")
    for sha, date in ((commit, 1741064767000), ("0" * 40, 1767323045000)):
        run_of(
            tmp_path / sha,
            [measurement(CASE, 0, 0.010)],
            started="2026-01-02T03:04:05+00:00",
            environment={"git_commit": sha},
        )
        assert export.run(tmp_path / sha, "asv", tmp_path / "asv") == 0
        file = next((tmp_path / "asv").glob(f"*/{sha[:8]}-convnet-bench.json"))
        assert json.loads(file.read_text(encoding="utf-8"))["date"] == date


@pytest.mark.slow  # the import of asv starts a process
def test_asv_itself_reads_its_files(run: Results, tmp_path: Path) -> None:
    results = pytest.importorskip("asv.results")
    benchmarks = pytest.importorskip("asv.benchmarks")
    config = pytest.importorskip("asv.config").Config()
    assert export.run(run.path, "asv", tmp_path / "asv") == 0
    (loaded,) = results.iter_results(str(tmp_path / "asv"))
    key = CASE.case_id
    listed = loaded.get_result_stats(key, [])
    assert loaded.get_result_value(key, []) == [pytest.approx(0.0117, abs=2e-4)]
    assert listed[0]["ci_99_a"] < 0.0117 < listed[0]["ci_99_b"]
    config.results_dir = str(tmp_path / "asv")
    assert benchmarks.Benchmarks.load(config)[key]["unit"] == "seconds"


def test_a_run_outside_of_git_has_no_place_in_asv(tmp_path: Path) -> None:
    here = run_of(tmp_path / "one", [measurement(CASE, 0, 0.010)])
    environment = here.description.environment.model_copy(update={"git_commit": None})
    described = here.description.model_copy(update={"environment": environment})
    with pytest.raises(UserError, match="asv keeps results by commit"):
        export_asv.files(dataclasses.replace(here, description=described))


def test_pandas_reads_a_row_for_each_case_and_phase_from_parquet(
    run: Results, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "run.parquet"
    assert export.run(run.path, "parquet", out) == 0
    found = pd.read_parquet(out)
    assert list(found.columns) == list(run.frame.columns)
    assert found.case_id.tolist() == [CASE.case_id]
    assert found.latency_median_s[0] == pytest.approx(0.0117, abs=2e-4)
    assert found.batch.tolist() == [8]
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["run.parquet"]
    (tmp_path / "plain").touch()
    assert out.stat().st_mode == (tmp_path / "plain").stat().st_mode  # others may read it as well


def test_without_pyarrow_parquet_says_what_to_install(
    run: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'convnet-bench\[parquet\]'"):
        export.run(run.path, "parquet", tmp_path / "run.parquet")


@pytest.mark.parametrize("to", ["asv", "parquet"])
def test_a_format_that_is_not_a_text_needs_a_place(run: Results, to: str) -> None:
    with pytest.raises(UserError, match=f"--to {to} is not a text: give --out"):
        export.run(run.path, to, None)


def test_a_folder_with_another_file_of_that_name_is_refused(run: Results, tmp_path: Path) -> None:
    (tmp_path / "benchmarks.json").write_text("no JSON")
    with pytest.raises(UserError, match="is not a file of asv"):
        export.run(run.path, "asv", tmp_path)


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
