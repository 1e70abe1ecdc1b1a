"""The differences that rounding explains: pure figures."""

import pytest
import torch
from torch import Tensor

from bench.worker.checks import matching, stability

SIZE = 1000


def places(*numbers: int) -> Tensor:
    found = torch.zeros(SIZE, dtype=torch.bool)
    found[list(numbers)] = True
    return found


def numbers(*moved: int, by: float = 1.0) -> Tensor:
    return places(*moved).double() * by


WITNESSES = [(0, 1, 2), (1, 2, 3), (0, 2, 4)]
EXACT = torch.ones(SIZE, dtype=torch.float64)


def test_choices_that_the_witnesses_make_otherwise_as_well_are_explained() -> None:
    told = stability.of_choices(places(0, 3), [places(*one) for one in WITNESSES])
    assert told.explained
    assert told.most == 9  # three times the most of a witness


def test_choices_elsewhere_are_few_or_wrong() -> None:
    witnesses = [places(*one) for one in WITNESSES]
    few = stability.of_choices(places(500, 501, 502, 503), witnesses)  # 3 x 1 missed by a witness
    assert (few.explained, few.few) == (False, True)
    many = stability.of_choices(places(*range(500, 600)), witnesses)
    assert (many.explained, many.few) == (False, False)


def test_more_choices_than_three_times_those_of_a_witness_are_not_explained() -> None:
    witnesses = [places(*range(100)), places(*range(100))]
    assert stability.of_choices(places(*range(90)), witnesses).explained
    assert not stability.of_choices(places(*range(100), *range(400, 700)), witnesses).explained


def test_without_witnesses_no_choice_is_explained() -> None:
    assert not stability.of_choices(places(1), []).explained
    assert stability.of_choices(places(), []).explained


def test_numbers_may_jump_where_a_witness_jumps_and_nowhere_else() -> None:
    witnesses = [numbers(*one) for one in WITNESSES]
    same = stability.of_numbers(numbers(0, 3), witnesses, EXACT, bound=0.1)
    assert same.explained
    assert same.most == pytest.approx(3.0)  # root of three times three squares
    assert not stability.of_numbers(
        numbers(700, 701, 702, 703), witnesses, EXACT, bound=0.1
    ).explained


def test_numbers_within_the_bound_need_no_witness() -> None:
    assert stability.of_numbers(numbers(1, by=0.05), [], EXACT, bound=0.1).explained
    assert not stability.of_numbers(numbers(1, by=0.2), [], EXACT, bound=0.1).explained


def test_most_of_a_result_that_hangs_on_rounding_is_said_to_be_unstable() -> None:
    witnesses = [numbers(*range(600)), numbers(*range(300, 700))]
    assert stability.of_numbers(numbers(*range(500)), witnesses, EXACT, bound=0.1).unstable
    assert not stability.of_numbers(numbers(1), witnesses[:0], EXACT, bound=0.1).unstable


def rows(*values: float) -> tuple[Tensor, ...]:
    return (torch.tensor([[value, value] for value in values], dtype=torch.float64).view(-1, 2),)


def test_rows_are_held_against_each_other_in_any_order() -> None:
    told = matching.rows(rows(3, 1, 2), rows(1, 2, 3), [], near=0.01)
    assert told is not None
    assert (told.unmatched, told.rows, told.explained) == (0, 6, True)


def test_rows_that_come_and_go_with_the_witnesses_are_explained() -> None:
    told = matching.rows(rows(1, 2), rows(1, 2, 3), [rows(1, 2, 3, 4)], near=0.01)
    assert told is not None
    assert (told.unmatched, told.explained, told.share) == (1, True, 0.2)
    other = matching.rows(rows(7, 8), rows(1, 2, 3), [rows(1, 2, 3)], near=0.01)
    assert other is not None
    assert (other.unmatched, other.explained, other.few) == (5, False, False)


def test_results_that_differ_in_more_than_the_number_of_rows_are_not_matched() -> None:
    assert matching.rows((torch.zeros(2, 3),), (torch.zeros(4, 5),), [], near=0.1) is None
    assert matching.rows((torch.zeros(2),), (torch.zeros(2, 2),), [], near=0.1) is None
    assert matching.rows((), (torch.zeros(2, 2),), [], near=0.1) is None


def test_no_row_at_all_is_matched_with_none() -> None:
    told = matching.rows(rows(), rows(1.0), [rows()], near=0.1)
    assert told is not None
    assert (told.unmatched, told.explained) == (1, True)
