"""Sizes of inputs."""

from dataclasses import replace

import pytest

from bench.plan.case_costs import input_bytes
from tests.support.cases import PLAIN


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3,224,224", 2 * 150528),
        ("3,4; 10:int64<1000", 2 * 22),
        ("own", 0),
        (":int64<5", 2),
    ],
)
def test_the_bytes_of_inputs_are_those_of_their_shapes(text: str, numbers: int) -> None:
    assert input_bytes(replace(PLAIN, input=text, batch=2)) == 4 * numbers
