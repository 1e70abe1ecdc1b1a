"""A time is that of compiled code only if compiled code ran."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bench
from bench.api import compiled
from bench.api.session import SessionError
from bench.worker.model import compile_tools
from bench.worker.model.torch_compile import CompileState

QUICK: dict[str, Any] = {"samples_s": 0.002, "warmup_s": 0.0}

BEFORE = CompileState(
    graphs=3,
    frames_total=5,
    frames_ok=4,
    graph_breaks=2,
    warm=False,
    cudagraph_skips=0,
    cudagraph_recorded=None,
    recompile_limit=False,
)


@pytest.mark.parametrize(
    ("after", "share", "words"),
    [
        ({}, None, None),
        ({}, 0.89, None),
        ({}, 0.95, "95% of the operators ran as eager code: torch compiled nothing of it"),
        ({"frames_total": 6, "frames_ok": 5, "graphs": 4}, 0.6, None),
        ({"frames_total": 6}, 0.6, "60% .* torch gave some of the code up"),
        ({"graph_breaks": 3}, 0.6, "torch gave some of the code up"),
        ({"graph_breaks": 3}, 0.5, None),
    ],
)
def test_the_share_of_eager_operators_decides(after: Any, share: Any, words: str | None) -> None:
    said = compiled._said(BEFORE, replace(BEFORE, **after), share)
    assert (said is None) == (words is None)
    assert re.search(words or "", said or "")


@torch.compiler.disable  # type: ignore[untyped-decorator]
def never(x: Tensor) -> Tensor:
    return (x * 2).relu() + 1


def calls_never(x: Tensor) -> Tensor:
    out: Tensor = never(x)
    return out


def often(x: Tensor) -> Tensor:
    return (x * 3).relu() + 1


needs_compiler = pytest.mark.skipif(
    compile_tools.missing("cpu") is not None, reason="no C++ compiler"
)


@pytest.mark.slow
@needs_compiler
def test_code_that_dynamo_does_not_compile_is_refused() -> None:
    with pytest.raises(SessionError, match="of the operators ran as eager code"):
        bench.measure(calls_never, torch.randn(8, 8), compile=True, **QUICK)
    with pytest.raises(SessionError, match="of the operators ran as eager code"):
        bench.compare({"a": often, "b": calls_never}, torch.randn(8, 8), compile=True, **QUICK)


@pytest.mark.slow
@needs_compiler
def test_code_that_was_compiled_too_often_is_refused_and_the_same_again_is_not() -> None:
    limit: Any = torch._dynamo.config
    torch.compiler.reset()
    with limit.patch(recompile_limit=1):
        for _ in range(2):
            found = bench.measure(often, torch.randn(8, 8), compile=True, **QUICK)
            assert found.settings["compile"] == "default"
        with pytest.raises(SessionError, match="100% of the operators ran as eager code"):
            bench.measure(often, torch.randn(9, 9), compile=True, **QUICK)
    torch.compiler.reset()


def _twice(x: Tensor) -> Tensor:
    return x * 2


def _with_a_compiled_part() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].compile(backend="eager")
    return model


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: torch.compile(nn.ReLU(), backend="eager"), "OptimizedModule"),
        (lambda: torch.compile(_twice, backend="eager"), "_twice"),
        (_with_a_compiled_part, "0 of Sequential"),
    ],
    ids=["module", "function", "part"],
)
def test_what_is_compiled_already_is_not_measured_as_uncompiled(make: Any, what: str) -> None:
    said = f"^compile=off was asked for, but {what} is compiled already"
    with pytest.raises(SessionError, match=said):
        bench.measure(make(), torch.randn(3, 4), compile="off", **QUICK)


def test_a_function_that_uses_a_compiled_model_is_named_with_it() -> None:
    model = torch.compile(nn.ReLU(), backend="eager")
    said = r"but OptimizedModule of b is compiled already"
    with pytest.raises(SessionError, match=said):
        bench.compare({"a": _twice, "b": lambda x: model(x)}, torch.ones(3), compile="off")


def test_code_that_is_kept_from_the_compiler_is_uncompiled() -> None:
    found = bench.measure(never, torch.randn(3, 4), compile=False, **QUICK)
    assert found.settings["compile"] == "off"
