"""The largest batch of a case that fits into memory: by doubling, then by bisection.

Each attempt is a process of its own, which makes real calls in the mode of the case.  Attempts for
which memory does not do are no failures of the run.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from bench.core.records import Case, Entry, Failure, Status

MOST = 9_999_999  # as the axis allows
# The search ends where the smallest batch that does not fit is nearer than this share of it.
EXACT = 1 / 64
TOO_LARGE: frozenset[Status] = frozenset({"oom", "timeout"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The result of the search.

    batch:   the largest that fits; None where no attempt did.
    refused: the smallest that does not; None where the search ended without one.
    reason:  why the refused batch does not, or why the search ended.
    """

    batch: int | None
    refused: int | None
    status: Status
    reason: str
    attempts: int


def find(case: Case, attempt: Callable[[Case], Entry]) -> Largest:
    """Look for the largest batch of a case.  attempt: makes calls of a case in a new process.

    Batch 1 may fail for itself (BatchNorm in training needs two values): then 2 is tried.
    """
    fits: int | None = None
    low, refused, attempts = 0, MOST + 1, 0  # low: nothing up to it has to be tried
    status: Status = "ok"
    reason = f"batch {MOST} fits, and no larger one can be asked for"
    while refused - low > max(1.0, refused * EXACT):
        batch = _next(low, refused)
        entry = attempt(dataclasses.replace(case, batch=batch))
        attempts += 1
        if not isinstance(entry, Failure):
            fits = low = batch
        elif entry.status in TOO_LARGE:
            refused, status, reason = batch, entry.status, entry.reason
        elif batch == 1:
            low = 1
        else:
            status, reason = entry.status, f"batch {batch} failed: {entry.reason}"
            return Largest(
                batch=fits, refused=None, status=status, reason=reason, attempts=attempts
            )
    return Largest(
        batch=fits,
        refused=None if refused > MOST else refused,
        status=status,
        reason=reason,
        attempts=attempts,
    )


def _next(low: int, refused: int) -> int:
    """Return twice the last size until one was refused, then the middle."""
    if refused > MOST:
        return min(max(1, 2 * low), MOST)
    return (low + refused) // 2


def described(found: Largest) -> str:
    """Return the result in words, without the name of the case."""
    attempts = f"{found.attempts} attempt{'' if found.attempts == 1 else 's'}"
    if found.batch is None:
        return f"no batch fits after {attempts}: {found.status}: {found.reason}"
    if found.refused is None:
        return f"batch {found.batch} fits; the search ended after {attempts}: {found.reason}"
    slow = "the calls of a measurement take longer than --timeout"
    why = "memory runs out" if found.status == "oom" else slow
    return f"batch {found.batch} fits, and at {found.refused} {why} ({attempts})"
