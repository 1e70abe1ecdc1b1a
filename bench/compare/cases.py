"""The rows of one case, by phase."""

from bench.compare.match import Line, lines
from bench.core.records import whole_phase
from bench.results.load import RunData

Case = dict[str | None, Line]  # phase → row; a case that is not ok has the phase None


def by_case(run: RunData) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for line in lines(run.rows):
        cases.setdefault(line["case_id"], {})[line["phase"]] = line
    return cases


def is_ok(case: Case) -> bool:
    return all(line["status"] == "ok" for line in case.values())


def any_row(case: Case) -> Line:
    return next(iter(case.values()))


def whole(case: Case) -> Line | None:
    return case.get(whole_phase(str(any_row(case)["mode"])))


def same_machine(base: Line, value: Line) -> bool:
    """By fingerprint; an unknown machine is another one."""
    machine = base["machine_id"]
    return machine is not None and machine == value["machine_id"]
