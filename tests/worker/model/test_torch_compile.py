"""Dynamo's counters, put into words: when samples are not of compiled code."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.worker.model.torch_compile import (
    CompileState,
    compiled_despite_off,
    in_parts,
    problem,
    take_apart,
    uses_cuda_graphs,
)

FINE = CompileState(
    graphs=1,
    frames_total=1,
    frames_ok=1,
    graph_breaks=0,
    warm=False,
    cudagraph_skips=0,
    cudagraph_recorded=True,
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
        (
            {},
            {"cudagraph_recorded": False},
            "no CUDA graph was recorded, so that nothing was replayed",
        ),
    ],
)
def test_what_was_not_compiled_is_said(
    before: dict[str, Any], after: dict[str, Any], words: str
) -> None:
    assert problem(replace(FINE, **before), replace(FINE, **after), cuda_graphs=True) == words


def test_a_loop_that_dynamo_gives_up_is_compiled_code_where_its_layers_are() -> None:
    given_up = replace(FINE, frames_total=3, frames_ok=2, graphs=2)
    assert problem(given_up, given_up, cuda_graphs=False, eager=0.5) is None
    assert problem(given_up, given_up, cuda_graphs=False, eager=0.51) == (
        "51% of the operators ran as eager code, outside of the graphs"
    )
    assert in_parts(given_up)
    assert in_parts(replace(FINE, graph_breaks=1))
    assert not in_parts(FINE)


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pre, self.inner = nn.Linear(4, 4), nn.Linear(4, 4)


def test_what_is_compiled_already_is_taken_apart_and_named() -> None:
    whole, called, child = Part(), Part(), Part()
    inner = child.inner
    assert take_apart(Part())[1] == ()
    assert take_apart(torch.compile(whole)) == (whole, ("itself",))  # type: ignore[arg-type]
    called.inner.compile()
    assert take_apart(called) == (called, ("inner",))
    assert called.inner._compiled_call_impl is None
    child.inner = torch.compile(inner)  # type: ignore[assignment]
    assert take_apart(child) == (child, ("inner",))
    assert child.inner is inner


def test_compiled_code_under_compile_off_is_said_with_what_to_do() -> None:
    assert compiled_despite_off((), 0) is None
    assert compiled_despite_off(("itself", "a"), 0) == (
        "compile=off was asked for, but the subject is compiled already (itself and 1 more): "
        "give it uncompiled, or ask for --compile"
    )
    assert "compiles code of its own in its forward (2 frames)" in str(compiled_despite_off((), 2))


def test_skipped_cuda_graphs_matter_where_they_were_asked_for() -> None:
    assert problem(FINE, replace(FINE, cudagraph_skips=4), cuda_graphs=False) is None
    assert problem(FINE, replace(FINE, cudagraph_recorded=False), cuda_graphs=False) is None
    assert problem(FINE, replace(FINE, cudagraph_recorded=None), cuda_graphs=True) is None
    assert uses_cuda_graphs("reduce-overhead", "cuda")
    assert not uses_cuda_graphs("default", "cuda")
    assert not uses_cuda_graphs("reduce-overhead", "cpu")
