"""The choice of replicates if other work disturbed some."""

import pytest

from bench.core.records import Case, Measurement
from bench.results.quiet import counted
from tests.support.cases import case


def replicate(number: int, ratio: float, of: Case | None = None) -> Measurement:
    return Measurement(
        case=of or case(),
        replicate=number,
        samples=(),
        flags=("contended",) if ratio > 0.1 else (),
        metrics={"contention_ratio": ratio},
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
    assert [one.metrics["contention_ratio"] for one in left] == kept


AMP = case(amp="bfloat16")


def kept(of: Case, *entries: Measurement) -> list[int]:
    found = [one for one in counted(entries, 3) if isinstance(one, Measurement)]
    return [one.replicate for one in found if one.case == of]


def test_two_cases_drop_the_same_replicate_so_that_as_many_as_were_asked_for_are_paired() -> None:
    """Each alone would drop its own worst: 1 and 2.  Then only 0 and 3 would be common."""
    plain = [replicate(n, ratio) for n, ratio in enumerate([0.5, 0.9, 0.6, 0.5])]
    amp = [replicate(n, ratio, AMP) for n, ratio in enumerate([0.5, 0.6, 0.8, 0.5])]
    assert kept(case(), *plain, *amp) == [0, 2, 3]
    assert kept(AMP, *plain, *amp) == [0, 2, 3]


def test_a_replicate_that_another_case_is_paired_with_stays_however_disturbed() -> None:
    """A base that was measured again for a lower block has four; its first partner only three."""
    plain = [replicate(n, ratio) for n, ratio in enumerate([0.5, 0.9, 0.6, 0.5])]
    amp = [replicate(n, 0.5, AMP) for n in range(3)]
    compiled = replicate(3, 0.5, case(compile="default"))
    assert kept(case(), *plain, *amp, compiled) == [0, 1, 2, 3]
    assert kept(case(), *plain, *amp) == [0, 1, 2]


def test_cases_of_another_network_hold_no_replicate() -> None:
    plain = [replicate(n, ratio) for n, ratio in enumerate([0.5, 0.9, 0.6, 0.5])]
    other = [replicate(n, 0.5, case(subject="my.models:net")) for n in range(3)]
    assert kept(case(), *plain, *other) == [0, 2, 3]
