"""Requests of the work done once per case outside the timing: reference and static metrics."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from bench.core.protocol import Job
from bench.core.records import Case, Entry, Failure, StaticMetrics
from bench.core.subject import parse
from bench.results.run_directory import Folders

Ask = Callable[[Job, Case], Entry]


def find(case: Case, ask: Ask, folders: Folders, *, limit_s: float | None = None) -> StaticMetrics:
    """Return the static metrics of a case, checked against its reference.

    Where a part fails, `problems` says why.

    limit_s: the time limit of each request.  It is kept in the result of a case that reached it.
    """
    late = _need_reference(case, ask, folders, limit_s)
    found = ask("static_metrics", case)
    if isinstance(found, Failure):  # the times are valid; the problem says what is missing
        late = late or found.status == "timeout"
        found = StaticMetrics(case=case, metrics={}, problems={"all": found.told})
    assert isinstance(found, StaticMetrics)
    return dataclasses.replace(found, limit_s=limit_s if late else None)


def _need_reference(case: Case, ask: Ask, folders: Folders, limit_s: float | None) -> bool:
    """Make the reference of a subject if there is none yet.  Layers make their own.

    Return whether it is missing because the time limit ended its work.
    """
    path = folders.reference(case)
    why_not, late = path.with_suffix(".txt"), path.with_suffix(".late")
    if parse(case.subject).layer is not None or path.exists():
        return False
    if why_not.exists() and not _may_try_again(late, limit_s):
        return late.exists()
    for file in (why_not, late):
        file.unlink(missing_ok=True)
    made = ask("reference", case)
    if not isinstance(made, Failure):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    why_not.write_text(f"there is no float64 reference: {made.told}", encoding="utf-8")
    if made.status == "timeout" and limit_s is not None:
        late.write_text(repr(limit_s), encoding="utf-8")
    return late.exists()


def _may_try_again(late: Path, limit_s: float | None) -> bool:
    """Return whether the time limit that ended the last try is shorter than the present one."""
    return late.exists() and limit_s is not None and float(late.read_text("utf-8")) < limit_s
