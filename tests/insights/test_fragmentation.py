"""Memory that the allocator holds beside what is in use."""

from pathlib import Path

from bench.core.records import Case, Entry, StaticMetrics
from bench.insights.collect import of_run
from tests.support.cases import case
from tests.support.results import measurement, run_of

GPU = {
    "device": "cuda:0", "cudnn_benchmark": "off", "tf32": "off", "threads": None, "allocator": None,
}  # fmt: skip


def measured(one: Case, peak_bytes: float, reserved_bytes: float) -> list[Entry]:
    facts = {"peak_bytes": peak_bytes, "reserved_bytes": reserved_bytes, "relative_error": 1e-7}
    return [measurement(one, 0, 0.01), StaticMetrics(case=one, metrics=facts)]


def told(tmp_path: Path, *entries: Entry) -> list[str]:
    return [one.text for one in of_run(run_of(tmp_path / "run", entries)) if one.kind == "memory"]


def test_the_case_with_the_most_memory_in_fragments_is_said(tmp_path: Path) -> None:
    small = measured(case(batch=8, **GPU), 1e9, 2e9)
    large = measured(case(batch=64, **GPU), 6e9, 12e9)
    (text,) = told(tmp_path, *small, *large)
    assert text == (
        "convnet inference at N=64: the allocator of cuda:0 holds 12.0 GB for a peak of 6.00 GB in "
        "use at once: its memory is in fragments; try PYTORCH_ALLOC_CONF=expandable_segments:True "
        "in the environment."
    )


def test_memory_that_is_mostly_in_use_is_not_mentioned(tmp_path: Path) -> None:
    assert told(tmp_path, *measured(case(batch=8, **GPU), 6e9, 7e9)) == []
