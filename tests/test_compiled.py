"""Dynamo's counters, put into words: when samples are not of compiled code."""

from dataclasses import replace
from typing import Any

import pytest

from bench.worker.compiled import CompileState, problem, uses_cuda_graphs

FINE = CompileState(
    graphs=1,
    frames_total=1,
    frames_ok=1,
    graph_breaks=0,
    warm=False,
    cudagraph_skips=0,
    recompile_limit=False,
)


def test_one_graph_and_nothing_after_it_is_compiled_code() -> None:
    assert problem(FINE, FINE, cuda_graphs=True) is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"graphs": 0}, {}, "nothing was compiled: dynamo made no graph, so eager code ran"),
        (
            {"frames_total": 3, "frames_ok": 2},
            {},
            "1 of 3 frames failed to compile and ran as eager code",
        ),
        (
            {},
            {"recompile_limit": True},
            "the recompile limit was hit, so eager code ran",
        ),
        ({}, {"frames_total": 3}, "recompiled 2 times inside the samples"),
        ({}, {"cudagraph_skips": 4}, "CUDA graphs were skipped 4 times"),
    ],
)
def test_what_was_not_compiled_is_said(
    before: dict[str, Any], after: dict[str, Any], words: str
) -> None:
    assert problem(replace(FINE, **before), replace(FINE, **after), cuda_graphs=True) == words


def test_skipped_cuda_graphs_matter_where_they_were_asked_for() -> None:
    assert problem(FINE, replace(FINE, cudagraph_skips=4), cuda_graphs=False) is None
    assert uses_cuda_graphs("reduce-overhead", "cuda")
    assert not uses_cuda_graphs("default", "cuda")
    assert not uses_cuda_graphs("reduce-overhead", "cpu")
