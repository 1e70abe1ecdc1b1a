"""Results that earlier versions left are still compared, checked and reported."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.compare import speedup
from bench.core.records import LATER_COLUMNS, StaticMetrics, to_line
from bench.html import page
from bench.insights import collect
from bench.results.loading import load
from bench.results.results import Results
from bench.verdict import two_runs
from tests.support.cases import case
from tests.support.paths import ROOT
from tests.support.results import RUN, replicates, run_of

BASE = [0.010, 0.0101, 0.0099, 0.010, 0.0102]
LAST = case(memory_format="channels_last")
ENTRIES = [
    StaticMetrics(case=case(), metrics={"relative_error": 1e-7, "flops": 1000, "peak_bytes": 2048}),
    StaticMetrics(case=LAST, metrics={"relative_error": 1e-7, "flops": 1000, "peak_bytes": 2048}),
    *replicates(case(), BASE),
    *replicates(LAST, [one / 2 for one in BASE]),
]
RUNG = {"what": "copy", "amount": 2**30, "per_s": 1e10}
LADDER = {
    "threads": "auto",
    "arithmetic": {"float32": [{"what": "matmul", "amount": 1e9, "per_s": 1e12}]},
    "traffic": [RUNG],
    "cache_bytes": 2**20,
    "disturbed": False,
}
LAYER = {"name": "model.0", "alias": "conv1", "type": "Conv2d", "same_as": [], "calls": 1}
WRITTEN: dict[str, Any] = {
    "started": "2026-03-01T00:00:00+00:00",
    "machine": {**RUN["machine"], "peaks": {"cpu": [LADDER]}},
    "environment": {**RUN["environment"], "suite": "abc", "sources": {"convnet": "one"}},
    "layers": {"convnet": [LAYER]},
    "cases": [case().as_dict(), LAST.as_dict()],
}


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """run.json, changed in place."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(run)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")


def without_peaks(folder: Path) -> None:
    def change(run: dict[str, Any]) -> None:
        del run["machine"]["peaks"], run["environment"]["suite"], run["environment"]["sources"]
        del run["layers"]["convnet"][0]["calls"]
        for one in run["cases"]:
            del one["grad_mode"]

    changed(folder, change)


def without_cache_size(folder: Path) -> None:
    changed(folder, lambda run: run["machine"]["peaks"]["cpu"][0].pop("cache_bytes"))


def without_later_columns(folder: Path) -> None:
    path = folder / "measurements.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    kept = [name for name in lines[0] if name not in {*LATER_COLUMNS, "grad_mode"}]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


def without_samples(folder: Path) -> None:
    (folder / "samples.csv").unlink()


def with_journal_alone(folder: Path) -> None:
    """Its lines as they were before inference had a grad_mode."""
    without_samples(folder)
    lines = [json.loads(to_line(entry)) for entry in ENTRIES]
    for line in lines:
        del line["case"]["grad_mode"]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "journal.jsonl").write_text(text, encoding="utf-8")


def without_run_json(folder: Path) -> None:
    (folder / "run.json").unlink()


def with_rows_alone(folder: Path) -> None:
    without_later_columns(folder)
    without_run_json(folder)
    without_samples(folder)


FORMS = (
    without_peaks,
    without_cache_size,
    without_later_columns,
    without_samples,
    with_journal_alone,
    without_run_json,
    with_rows_alone,
)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure takes a second."""
    monkeypatch.setattr(page, "_figures", lambda _: {})


@pytest.fixture
def now(tmp_path: Path) -> Results:
    return run_of(tmp_path / "now", ENTRIES, **WRITTEN)


@pytest.mark.parametrize("older", FORMS, ids=lambda form: form.__name__)
def test_an_older_form_is_compared_checked_and_reported(
    tmp_path: Path, now: Results, older: Callable[[Path], None]
) -> None:
    run_of(tmp_path / "old", ENTRIES, **WRITTEN)
    older(tmp_path / "old")
    old = load(tmp_path / "old")
    assert [row.grad_mode for row in old.rows] == ["inference_mode"] * 2
    (inside,) = speedup.within(old, "memory_format")
    assert inside.ratio == pytest.approx(2.0)
    between = {one.base_case_id: one.ratio for one in speedup.between(old, now)}
    assert between == pytest.approx({case().case_id: 1.0, LAST.case_id: 1.0})
    report = two_runs.check(now, old)
    assert report.cases.keys() == {case().case_id, LAST.case_id}
    verdicts = {one.verdict for one in report.findings}
    assert not verdicts & {"MISSING", "NEW", "FAILED", "REGRESSED"}
    assert "channels_last" in next(one.text for one in collect.of_run(old) if one.kind == "best")
    assert LAST.case_id in page.build([old, now]).html


@pytest.mark.parametrize("older", [without_samples, with_rows_alone])
def test_without_samples_the_rows_of_one_run_are_not_paired(
    tmp_path: Path, older: Callable[[Path], None]
) -> None:
    whole = run_of(tmp_path / "old", ENTRIES, **WRITTEN)
    older(tmp_path / "old")
    methods = [
        speedup.within(run, "memory_format")[0].method for run in (whole, load(tmp_path / "old"))
    ]
    assert methods == ["paired", "welch"]


def test_the_journal_stands_for_samples_that_were_left_out(tmp_path: Path) -> None:
    whole = run_of(tmp_path / "old", ENTRIES, **WRITTEN)
    with_journal_alone(tmp_path / "old")
    assert load(tmp_path / "old").medians == whole.medians


def test_the_stored_example_and_baseline_are_compared_checked_and_reported() -> None:
    (folder,) = (ROOT / "results/baseline").iterdir()
    example, stored = load(ROOT / "tests/data/earlier_run"), load(folder)
    assert len(example.rows) == len(stored.rows) == 100
    assert len(example.medians) == 142
    assert not stored.medians
    assert {one.ratio for one in speedup.between(stored, example)} == {1.0}
    verdicts = {one.verdict for one in two_runs.check(example, stored).findings}
    assert verdicts <= {"SAME", "INCONCLUSIVE", "UNMEASURED"}
    assert str(example.rows[0].case_id) in page.build([example]).html
