"""The verdict on counts of instructions."""

import pytest

from bench.verdict import counted
from bench.verdict.counted import CaseCount, Cause, CountError


def test_the_count_of_a_call_is_free_of_what_is_done_once_for_each_count() -> None:
    assert counted.per_call({1: 10_000 + 500, 3: 10_000 + 1_500, 5: 10_000 + 2_500}) == 500


def test_calls_that_are_not_alike_give_no_count() -> None:
    with pytest.raises(CountError, match="its calls differ from each other: 500 and 600"):
        counted.per_call({1: 1_500, 3: 2_500, 5: 3_700})
    with pytest.raises(CountError, match="more calls took fewer instructions"):
        counted.per_call({1: 1_500, 3: 1_500, 5: 1_400})


def test_a_change_counts_beyond_two_per_mille() -> None:
    same = [1e6, 1e6, 1e6]
    assert counted.decided("k", same, [1.0019e6] * 3).verdict == "SAME"
    assert counted.decided("k", same, [1.0021e6] * 3).verdict == "REGRESSED"
    assert counted.decided("k", same, [0.9979e6] * 3).verdict == "IMPROVED"


def test_what_hash_seeds_scatter_by_widens_the_limit_fourfold() -> None:
    scattered = [1e6, 1.001e6, 1.002e6]  # by 0.2 %
    found = counted.decided("k", scattered, [1.008e6] * 3)
    assert found.limit == pytest.approx(0.008)
    assert found.verdict == "SAME"
    assert counted.decided("k", scattered, [1.010e6] * 3).verdict == "REGRESSED"
    assert counted.decided("k", [1e6] * 3, scattered).limit == pytest.approx(0.008)


def test_another_canary_is_seen_and_callgrinds_has_to_be_exact() -> None:
    of_seeds = [1_000_000.0, 1_020_000.0]
    assert counted.same_canary(of_seeds, of_seeds, "callgrind")
    assert not counted.same_canary(of_seeds, [1_000_000.0, 1_020_001.0], "callgrind")
    assert counted.same_canary(of_seeds, [1_000_900.0, 1_020_000.0], "perf")
    assert not counted.same_canary(of_seeds, [1_000_000.0, 1_021_100.0], "perf")


def test_functions_are_named_by_what_they_add_and_take_away() -> None:
    a = {"conv": 1e6, "old": 50e3, "noise": 10.0}
    b = {"conv": 1e6, "new": 90e3, "noise": 12.0}
    assert counted.causes(a, b) == (Cause("new", 90e3), Cause("old", -50e3))
    assert counted.more_calls({"f": 2, "g": 1}, {"f": 2, "h": 3}) == {"h": 3, "g": -1}


@pytest.mark.parametrize(
    ("verdicts", "missing", "strict", "code"),
    [
        (["SAME", "IMPROVED"], False, False, 0),
        (["SAME", "REGRESSED"], False, False, 1),
        (["SAME", "REGRESSED", "FAILED"], False, False, 4),
        (["SAME", "REGRESSED"], True, False, 4),
        (["FAILED"], False, False, 4),
        (["SAME"], True, False, 4),
        (["UNTRUSTED"], True, True, 4),
        (["UNTRUSTED"], False, False, 0),
        (["UNTRUSTED"], False, True, 3),
        (["UNSUPPORTED"], False, True, 3),
    ],
)
def test_the_exit_code_says_whether_anything_got_worse(
    verdicts: list[counted.Verdict], missing: bool, strict: bool, code: int
) -> None:
    cases = [CaseCount(key="k", verdict=one) for one in verdicts]
    assert counted.exit_code(cases, missing=missing, strict=strict) == code
