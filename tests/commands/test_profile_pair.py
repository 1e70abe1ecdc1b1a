"""`bench profile A B`, and `bench compare` of what it leaves, as users call them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

NET = ("--subject", "tests.subjects.hostile:Small", "--input", "4", "--batch", "2")


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_settings_are_profiled_and_their_difference_has_sentences_a_table_and_traces(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    done = bench(
        tmp_path, "profile", "amp=off", "amp=bfloat16", *NET, "--device", "cpu", "--mode",
        "inference", "--threads", "1", "--rounds", "3", "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a step: " in done.stdout
    assert "counted: operators " in done.stdout
    for side in "AB":
        (folder,) = (one for one in (out / side).iterdir() if one.is_dir())
        assert (folder / "trace.json.gz").exists()
        assert len(json.loads((folder / "parts.json").read_text())["rounds"]) == 3
    with (out / "difference.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    copies = [row for row in rows if row["operator"] == "aten::_to_copy" and row["calls_b"] != "0"]
    assert copies
    assert all(row["calls_a"] == "0" and row["evidence"] == "counted" for row in copies)
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "### Where the difference is" in report
    assert not (out / ".scratch").exists()
    again = bench(tmp_path, "compare", str(out / "A"), str(out / "B"))
    assert again.returncode == 0, again.stderr
    assert "counted: operators " in again.stdout


def test_one_side_alone_and_a_side_of_another_kind_are_refused(tmp_path: Path) -> None:
    alone = bench(tmp_path, "profile", "amp=off")
    assert alone.returncode == 2
    assert "A and B belong together; only amp=off is given" in alone.stderr
    mixed = bench(tmp_path, "profile", "amp=off", f"python={sys.executable}")
    assert mixed.returncode == 2
    assert "both sides must be of the same kind" in mixed.stderr
