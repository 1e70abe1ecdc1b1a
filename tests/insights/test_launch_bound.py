"""Calls that take as long as their host needs to issue them, and the advice that is left out."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.core.records import Case, Entry, StaticMetrics
from bench.insights import headlines
from bench.insights.collect import of_run
from bench.insights.insight import Insight
from tests.support.cases import case
from tests.support.results import measurement, run_of

GPU = {
    "device": "cuda:0", "cudnn_benchmark": "off", "tf32": "off", "threads": None, "allocator": None,
}  # fmt: skip
PLAIN = case(batch=1, **GPU)
GRAPHS = case(batch=1, **GPU | {"compile": "reduce-overhead"})
SETTINGS = (
    {"amp": "bfloat16"},
    {"tf32": "on"},
    {"memory_format": "channels_last"},
    {"cudnn_benchmark": "on"},
)


def replicates(one: Case, call_s: float, issue_s: float | None) -> list[Entry]:
    """Five of them, and a comparison with a reference."""
    metrics = {} if issue_s is None else {"host_issue_s": issue_s}
    spread = (0.99, 0.995, 1.0, 1.005, 1.01)
    measured: list[Entry] = [
        measurement(one, number, call_s * factor, metrics=metrics)
        for number, factor in enumerate(spread)
    ]
    return [*measured, StaticMetrics(case=one, metrics={"relative_error": 1e-7})]


def told(tmp_path: Path, entries: Sequence[Entry]) -> list[Insight]:
    return of_run(run_of(tmp_path / "run", entries))


def launches(tmp_path: Path, entries: Sequence[Entry]) -> list[str]:
    return [one.text for one in told(tmp_path, entries) if one.kind == "launch"]


def test_a_launch_bound_case_is_said_in_one_sentence_with_advice(tmp_path: Path) -> None:
    (text,) = launches(tmp_path, replicates(PLAIN, 192e-6, 190e-6))
    assert text == (
        "convnet inference at N=1 is launch-bound on cuda:0: the host takes 190 µs to issue 192 µs "
        "of work; try a larger batch or compile=reduce-overhead."
    )


def test_several_batch_sizes_share_the_sentence(tmp_path: Path) -> None:
    other = case(batch=32, **GPU)
    entries = replicates(PLAIN, 192e-6, 190e-6) + replicates(other, 201e-6, 195e-6)
    (text,) = launches(tmp_path, entries)
    assert text == (
        "convnet inference at N=1 and N=32 is launch-bound on cuda:0: the host takes 190 µs to "
        "issue 192 µs of work at N=1 and 195 µs to issue 201 µs of work at N=32; try a larger "
        "batch or compile=reduce-overhead."
    )


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_advice_comes_from_launch_bound_rows(tmp_path: Path, setting: dict[str, str]) -> None:
    other = case(batch=1, **GPU | setting)
    entries = replicates(PLAIN, 192e-6, 190e-6) + replicates(other, 150e-6, 149e-6)
    assert {one.kind for one in told(tmp_path, entries)} == {"launch"}
    busy = replicates(PLAIN, 4e-3, 190e-6) + replicates(other, 2e-3, 149e-6)
    assert {"best", "speedup"} <= {one.kind for one in told(tmp_path / "busy", busy)}


def test_the_headline_praises_no_setting_of_launch_bound_rows(tmp_path: Path) -> None:
    other = case(batch=1, **GPU | {"amp": "bfloat16"})
    entries = replicates(PLAIN, 192e-6, 190e-6) + replicates(other, 150e-6, 149e-6)
    assert "amp" not in headlines.of_run(run_of(tmp_path / "run", entries))


def test_cuda_graphs_are_praised_for_launch_bound_calls(tmp_path: Path) -> None:
    entries = replicates(PLAIN, 192e-6, 190e-6) + replicates(GRAPHS, 123e-6, 20e-6)
    (best,) = [one.text for one in told(tmp_path, entries) if one.kind == "best"]
    assert best.startswith("compile reduce-overhead is the fastest setting")


@pytest.mark.parametrize(("issue_s", "flagged"), [(0.91e-3, True), (0.89e-3, False), (None, False)])
def test_a_row_is_launch_bound_from_nine_tenths_on(
    tmp_path: Path, issue_s: float | None, flagged: bool
) -> None:
    (row,) = run_of(tmp_path / "run", replicates(PLAIN, 1e-3, issue_s)).rows
    assert ("launch-bound" in row.flag_names) is flagged
    assert row.host_issue_s == issue_s
