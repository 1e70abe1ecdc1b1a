"""The rows of one case, by phase."""

from bench.core.records import Row, whole_phase
from bench.results.results import Results

CaseRows = dict[str | None, Row]  # phase → row; a case that is not ok has the phase None


def by_case(run: Results) -> dict[str, CaseRows]:
    """Return the rows of a run by case_id."""
    cases: dict[str, CaseRows] = {}
    for row in run.rows:
        cases.setdefault(str(row.case_id), {})[row.phase] = row
    return cases


def is_ok(case: CaseRows) -> bool:
    """Return whether the case was measured."""
    return all(row.status == "ok" for row in case.values())


def any_row(case: CaseRows) -> Row:
    """Return one of the rows, for the figures that all of them share."""
    return next(iter(case.values()))


def whole(case: CaseRows) -> Row | None:
    """Return the row of the whole phase; None if the case is not ok."""
    return case.get(whole_phase(str(any_row(case).mode)))


def same_machine(base: Row, value: Row) -> bool:
    """Return whether the machine IDs are equal; an unknown machine is not the same as any."""
    return base.machine_id is not None and base.machine_id == value.machine_id
