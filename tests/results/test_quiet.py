"""Which replicates count where other work disturbed some."""

import pytest

from bench.core.records import Measurement
from bench.results.quiet import counted
from tests.support.cases import case


def replicate(number: int, ratio: float) -> Measurement:
    return Measurement(
        case=case(),
        replicate=number,
        samples=(),
        flags=("contended",) if ratio > 0.1 else (),
        facts={"contention_ratio": ratio},
    )


@pytest.mark.parametrize(
    ("found", "asked", "kept"),
    [
        ([0.0, 0.7, 0.0], 3, [0.0, 0.7, 0.0]),  # none more than was asked for
        ([0.0, 0.7, 0.0, 0.0], 3, [0.0, 0.0, 0.0]),
        ([0.9, 0.7, 0.0, 0.0], 3, [0.7, 0.0, 0.0]),  # the least disturbed ones fill up
        ([0.0, 0.0, 0.0, 0.05], 3, [0.0, 0.0, 0.0, 0.05]),  # what is undisturbed stays
        ([0.9, 0.7, 0.8, 0.6], 3, [0.7, 0.8, 0.6]),
    ],
)
def test_the_most_disturbed_replicates_beyond_those_asked_for_do_not_count(
    found: list[float], asked: int, kept: list[float]
) -> None:
    entries = [replicate(number, ratio) for number, ratio in enumerate(found)]
    left = [one for one in counted(entries, asked) if isinstance(one, Measurement)]
    assert [one.facts["contention_ratio"] for one in left] == kept
