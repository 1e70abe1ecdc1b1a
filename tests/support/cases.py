"""Cases for the tests, so that each names only what it is about."""

from dataclasses import replace
from typing import Any

from bench.core.records import Case

PLAIN = Case(
    subject="convnet",
    mode="inference",
    batch=8,
    input="3,224,224",
    device="cpu",
    dtype="float32",
    amp="off",
    memory_format="contiguous",
    compile="off",
    threads="auto",
    allocator="retained",
    grad_mode="inference_mode",
)


def case(**changes: Any) -> Case:
    """The plain case but for `changes`."""
    return replace(PLAIN, **changes)
