"""What is asked for once a case, outside the timing: its reference, then its counted figures."""

from collections.abc import Callable

from bench.core.records import Case, Entry, Facts, Failure
from bench.core.subject import parse
from bench.engine.session import Folders

Ask = Callable[[str, Case], Entry]  # a job of `bench.worker.case_process`, and the case


def facts(case: Case, ask: Ask, folders: Folders) -> Facts:
    """Its counted figures, held against its reference; of what failed the problems say why."""
    _need_reference(case, ask, folders)
    found = _again("facts", case, ask)
    if isinstance(found, Failure):  # the speed stands; what is missing says why
        return Facts(case=case, facts={}, problems={"all": found.reason})
    assert isinstance(found, Facts)
    return found


def _need_reference(case: Case, ask: Ask, folders: Folders) -> None:
    """Once for all settings of a subject; a layer makes its own, on the input that it got."""
    path = folders.reference(case)
    why_not = path.with_suffix(".txt")
    if parse(case.subject).layer is not None or path.exists() or why_not.exists():
        return
    made = _again("reference", case, ask)
    if isinstance(made, Failure):
        path.parent.mkdir(parents=True, exist_ok=True)
        why_not.write_text(f"there is no float64 reference: {made.reason}", encoding="utf-8")


def _again(job: str, case: Case, ask: Ask) -> Entry:
    """Once more where it crashed: a kill from outside shall not cost what is asked for once."""
    found = ask(job, case)
    if isinstance(found, Failure) and found.status == "crash":
        return ask(job, case)
    return found
