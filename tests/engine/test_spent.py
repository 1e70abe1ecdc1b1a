"""Seconds of a run by what they were spent on."""

from bench.core.records import Failure, Measurement
from bench.engine.spent import Spent
from tests.support.cases import case


def test_an_outcome_is_building_controls_warm_up_and_samples() -> None:
    spent = Spent()
    measured = Measurement(
        case=case(),
        replicate=0,
        samples=(),
        wall_s=5.0,
        timed_s=3.0,
        warmup_s=1.0,
        controls_s=0.5,
    )
    spent.add(measured)
    spent.add(Failure(case=case(), replicate=1, status="crash", reason="it died", wall_s=4.0))
    assert spent == Spent(building_s=1.5 + 4.0, controls_s=0.5, warmup_s=1.0, samples_s=2.0)


def test_compiling_is_a_part_of_its_own() -> None:
    spent = Spent()
    for metrics in ({"compile_cold_s": 6.0}, {"compile_warm_s": 1.0}):
        spent.add(
            Measurement(
                case=case(), replicate=0, samples=(), metrics=metrics, wall_s=9.0, timed_s=2.0
            )
        )
    assert spent == Spent(building_s=1.0 + 6.0, compiling_s=6.0 + 1.0, samples_s=4.0)


def test_what_no_part_accounts_for_is_waiting() -> None:
    spent = Spent(imports_s=2.0, samples_s=3.0)
    assert spent.completed(9.0) == Spent(imports_s=2.0, samples_s=3.0, waiting_s=4.0)
    assert spent.completed(4.0).waiting_s == 0.0


def test_devices_side_by_side_count_the_time_that_passed() -> None:
    before = Spent(imports_s=2.0, samples_s=1.0)
    after = Spent(imports_s=2.0, samples_s=5.0, warmup_s=4.0)
    assert after.within(before, 4.0) == Spent(imports_s=2.0, samples_s=3.0, warmup_s=2.0)
    assert after.within(before, 9.0) == after


def test_the_sessions_of_a_run_add_up_and_damaged_parts_count_nothing() -> None:
    own = Spent(imports_s=2.0, samples_s=3.0)
    stored = {"imports_s": 1.0, "samples_s": "3", "warmup_s": True, "waiting_s": float("nan")}
    assert own.with_earlier(stored) == Spent(imports_s=3.0, samples_s=3.0)
    assert own.with_earlier(None) == own
