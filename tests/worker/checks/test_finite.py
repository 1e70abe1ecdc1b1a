"""NaN and infinities in an output."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.worker.checks import finite

INF, NAN = math.inf, math.nan
FORBIDDEN = torch.tensor([[1.0, -INF], [2.0, -INF]])


def problems(output: Any, first: Any) -> list[str]:
    return finite.problems(output, finite.infinite_masks(first))


@pytest.mark.parametrize(
    "output",
    [FORBIDDEN, (torch.ones(2), {"bias": FORBIDDEN}), torch.ones(3), torch.tensor([1]), ()],
)
def test_infinities_at_the_places_of_the_first_call_pass(output: Any) -> None:
    assert problems(output, output) == []


@pytest.mark.parametrize(
    ("output", "first", "says"),
    [
        (FORBIDDEN * NAN, FORBIDDEN, "4 of 4 numbers of its tensor 1 (2, 2) are NaN"),
        (
            (torch.ones(2), FORBIDDEN),
            (torch.ones(2), torch.ones(2, 2)),
            "2 of 4 numbers of its tensor 2 (2, 2) are infinite, and were not in the first call",
        ),
        (
            -FORBIDDEN.flip(1),
            FORBIDDEN,
            "2 of 4 numbers of its tensor 1 (2, 2) are infinite, and were not in the first call",
        ),
        (
            torch.full((2,), INF),
            torch.full((2,), INF),
            "2 of 2 numbers of its tensor 1 (2,) are in",
        ),
        (
            torch.full((2,), complex(0, NAN)),
            torch.ones(2),
            "2 of 2 numbers of its tensor 1 (2,) are N",
        ),
        (
            torch.tensor([NAN, 1]).to_sparse(),
            torch.ones(2),
            "1 of 2 numbers of its tensor 1 (2,) are",
        ),
    ],
)
def test_what_does_not_pass_is_named_with_its_place(output: Any, first: Any, says: str) -> None:
    (said,) = problems(output, first)
    assert said.startswith(f"the output is not finite: {says}")


def test_where_it_is_infinite_is_said_in_words() -> None:
    assert finite.first_infinite((torch.ones(2), FORBIDDEN)) == (
        "the output is not finite: 2 of 4 numbers of its tensor 2 (2, 2) are infinite"
    )
    assert finite.first_infinite(torch.ones(2)) is None


def test_another_number_of_rows_is_no_other_place() -> None:
    more: Tensor = torch.cat([FORBIDDEN, FORBIDDEN])
    assert problems(more, FORBIDDEN) == []
