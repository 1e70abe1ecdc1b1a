"""What `bench ab` makes of its pairs, beyond the decision itself."""

from bench.ab_outcome import _by_stage
from bench.read.decide import Case, decide

QUIET = (0.001, -0.001, 0.0, 0.002, -0.002, 0.0)


def off(by: float) -> tuple[float, ...]:
    return tuple(by + one for one in QUIET)


def test_a_null_case_that_was_off_in_one_stage_is_not_hidden_by_the_other() -> None:
    cases = [Case(key="a", first=QUIET)]
    for null in (
        Case(key="n", first=off(0.15), fresh=QUIET),
        Case(key="n", first=off(0.15), fresh=(0.0,)),
        Case(key="n", first=QUIET, fresh=off(0.15)),
    ):
        assert decide(cases, _by_stage([null]), 0.05)[0].verdict == "UNTRUSTED"
    quiet = Case(key="n", first=QUIET, fresh=QUIET)
    assert decide(cases, _by_stage([quiet]), 0.05)[0].verdict == "SAME"
