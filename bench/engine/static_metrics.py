"""Requests of the work done once per case outside the timing: reference and static metrics."""

from collections.abc import Callable

from bench.core.protocol import Job
from bench.core.records import Case, Entry, Failure, StaticMetrics
from bench.core.subject import parse
from bench.results.run_directory import Folders

Ask = Callable[[Job, Case], Entry]


def find(case: Case, ask: Ask, folders: Folders) -> StaticMetrics:
    """Return the static metrics of a case, checked against its reference.

    Where a part fails, `problems` says why.
    """
    _need_reference(case, ask, folders)
    found = ask("static_metrics", case)
    if isinstance(found, Failure):  # the times are valid; the problem says what is missing
        return StaticMetrics(case=case, metrics={}, problems={"all": found.told})
    assert isinstance(found, StaticMetrics)
    return found


def _need_reference(case: Case, ask: Ask, folders: Folders) -> None:
    """Make the reference once for a subject; a layer makes its own from its input."""
    path = folders.reference(case)
    why_not = path.with_suffix(".txt")
    if parse(case.subject).layer is not None or path.exists() or why_not.exists():
        return
    made = ask("reference", case)
    if isinstance(made, Failure):
        path.parent.mkdir(parents=True, exist_ok=True)
        why_not.write_text(f"there is no float64 reference: {made.told}", encoding="utf-8")
