"""The rows of one case, by phase."""

from bench.core.records import Row, whole_phase
from bench.results.results import Results

Case = dict[str | None, Row]  # phase → row; a case that is not ok has the phase None


def by_case(run: Results) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for row in run.rows:
        cases.setdefault(str(row.case_id), {})[row.phase] = row
    return cases


def is_ok(case: Case) -> bool:
    return all(row.status == "ok" for row in case.values())


def any_row(case: Case) -> Row:
    return next(iter(case.values()))


def whole(case: Case) -> Row | None:
    return case.get(whole_phase(str(any_row(case).mode)))


def same_machine(base: Row, value: Row) -> bool:
    """By fingerprint; an unknown machine is another one."""
    return base.machine_id is not None and base.machine_id == value.machine_id
