"""The measurements of an interrupted search are not made again."""

import dataclasses
from pathlib import Path

from bench.core.records import Failure, StaticMetrics
from bench.results.journal import Journal
from bench.tune.earlier import Earlier
from tests.support.cases import case
from tests.support.results import measurement

PLAIN = case(mode="inference", batch=8)
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
WHOLE = [measurement(PLAIN, 0, 0.010), measurement(LAST, 0, 0.008)]


def test_a_whole_round_is_taken_from_the_journal_and_a_part_is_not() -> None:
    found = Earlier.of([*WHOLE, measurement(PLAIN, 1, 0.011)])
    assert found.round(0, [PLAIN, LAST]) == {PLAIN.case_id: WHOLE[0], LAST.case_id: WHOLE[1]}
    assert found.round(1, [PLAIN, LAST]) is None
    assert found.round(2, [PLAIN]) is None


def test_a_failure_is_an_outcome_and_the_last_of_repeats_counts() -> None:
    failed = Failure(case=LAST, replicate=0, status="oom", reason="no memory")
    found = Earlier.of([*WHOLE, failed])
    assert found.round(0, [LAST]) == {LAST.case_id: failed}


def test_checks_are_kept_by_case() -> None:
    facts = StaticMetrics(case=LAST, metrics={"peak_bytes": 8.0})
    assert Earlier.of([facts]).statics == {LAST.case_id: facts}


def test_a_round_that_was_cut_and_measured_again_is_of_the_second_time_alone(
    tmp_path: Path,
) -> None:
    cut = [measurement(PLAIN, 2, 0.010)]
    again = [measurement(PLAIN, 2, 0.020), measurement(LAST, 2, 0.016)]
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for entry in [*cut, *again]:
        journal.append(entry)
    journal.close()
    found = Earlier.read(path).round(2, [PLAIN, LAST])
    assert found == {PLAIN.case_id: again[0], LAST.case_id: again[1]}


def test_a_round_that_was_cut_twice_does_not_become_whole() -> None:
    """The first search measured plain out of its turn, when the budget had ended."""
    first = [measurement(LAST, 0, 0.016), measurement(PLAIN, 0, 0.020)]
    second = [measurement(LAST, 0, 0.017)]
    assert Earlier.of([*first, *second]).round(0, [PLAIN, LAST]) is None
