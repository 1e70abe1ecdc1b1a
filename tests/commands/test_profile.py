"""`bench profile` as users call it."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "profile", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_without_flags_the_convnet_is_profiled_in_both_modes(tmp_path: Path) -> None:
    done = bench(tmp_path, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (run,) = (tmp_path / "results").iterdir()
    assert "-profile" in run.name
    cases = sorted(path for path in run.iterdir() if path.is_dir())
    assert [path.name.split("_")[:3] for path in cases] == [
        ["convnet", "inference", "b8"],
        ["convnet", "training", "b8"],
    ]
    for folder in cases:
        assert {path.name for path in folder.iterdir()} == {
            "trace.json.gz",
            "operators.csv",
            "layers.csv",
            "memory.csv",
            "memory.png",
            "memory.svg",
            "parts.json",
            "profile.json",
        }
        with gzip.open(folder / "trace.json.gz", "rt", encoding="utf-8") as file:
            assert json.load(file)["traceEvents"]
    with (run / "layers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for case_id in {row["case_id"] for row in rows}:
        ratios = [float(row["host_ratio"]) for row in rows if row["case_id"] == case_id]
        assert sum(ratios) == pytest.approx(1, abs=1e-6)
    assert json.loads((run / "run.json").read_text())["cases"]
    assert "the slowest layers, host time per step" in done.stdout
    assert "ui.perfetto.dev" in done.stdout


def test_a_case_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    flags = ("--input", "4", "--batch", "2", "--device", "cpu", "--mode", "inference")
    subjects = (
        "--subject",
        "tests.subjects.hostile:Raises",
        "--subject",
        "tests.subjects.hostile:Small",
    )
    out = tmp_path / "out"
    done = bench(tmp_path, *flags, *subjects, "--out", str(out))
    assert done.returncode == 4
    assert "error: tests.subjects.hostile:Raises:inference" in done.stdout
    assert len(list(out.glob("*Small*/profile.json"))) == 1
    assert len(list(out.glob("failures/*Raises*.txt"))) == 1
    assert not (out / ".scratch").exists()


def test_a_directory_that_exists_is_refused(tmp_path: Path) -> None:
    done = bench(tmp_path, "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"bench: --out {tmp_path}: exists already")
