"""Results of another machine for the same plan are not searched again."""

from bench.core.records import Failure, StaticMetrics
from bench.engine.run_so_far import Known, RunSoFar
from tests.support.cases import case
from tests.support.results import measurement


def test_calls_per_sample_are_those_of_the_first_machine_until_this_one_has_its_own() -> None:
    seen = RunSoFar()
    seen.learn(Known(calls={case().case_id: 77}))
    assert seen.calls(case()) == 77
    assert seen.calls(case(batch=1)) is None
    seen.add(measurement(case(), 0, 1.0))
    assert seen.calls(case()) == 10


def test_static_metrics_that_are_known_are_not_missing_and_a_wrong_case_is_given_up() -> None:
    seen = RunSoFar()
    seen.learn(Known(static_metrics=(case().case_id,), wrong=(case(batch=1).case_id,)))
    assert case().case_id in seen.with_static_metrics
    assert not seen.given_up(case())
    assert seen.given_up(case(batch=1))


def test_nothing_known_changes_nothing() -> None:
    seen = RunSoFar()
    seen.learn(Known())
    seen.add(StaticMetrics(case=case(), metrics={}))
    seen.add(Failure(case=case(), replicate=0, status="error", reason="no"))
    assert seen.with_static_metrics == {case().case_id}
    assert not seen.given_up(case())
