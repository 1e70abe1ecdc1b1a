"""Explain the verdicts of a comparison: profile the cases that changed, and name the causes."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.ab.ab_plan import Planned
from bench.ab.profiles import PairProfiler
from bench.core.errors import UserError
from bench.core.records import Failure
from bench.core.text import number_of
from bench.engine.workers import Experience
from bench.explain import text
from bench.explain.explanation import Explanation, explain
from bench.results import pair_profiles
from bench.results.loading import ReadError
from bench.results.profile_tables import ProfileReadError
from bench.verdict.report import TIMES, Finding, Verdict

MOST_CASES = 3  # those that changed most
CASE_S = 25.0  # no round after the third begins later
NEEDED_S = 40.0  # of a budget, for one case with its start


def cases(findings: Sequence[Finding], asked: bool | None) -> list[str]:
    """Return the cases to explain, those that changed most first.

    asked: True also explains cases that improved, False none.
    """
    if asked is False:
        return []
    wanted: tuple[Verdict, ...] = ("REGRESSED", "IMPROVED") if asked else ("REGRESSED",)
    changed: dict[str, float] = {}
    for one in findings:
        if one.verdict in wanted:
            # A counted figure has no time, but is explained all the same.
            size = abs((one.ratio or 1.0) - 1.0) if one.figure in TIMES else 0.0
            changed[one.case_id] = max(size, changed.get(one.case_id, 0.0))
    return sorted(changed, key=lambda one: -changed[one])


def explained(
    keys: Sequence[str],
    planned: Planned,
    path: Path,
    experience: Experience,
    *,
    left_s: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Explanation], list[str]]:
    """Return the explanations, and notes about cases that have none.

    Nothing that goes wrong here changes a verdict: it becomes a note.

    left_s: of the budget; None without one.
    """
    notes: list[str] = []
    if not keys:
        return [], notes
    if left_s is not None and left_s < NEEDED_S:
        return [], ["The budget was used up before the causes could be looked for (--explain)."]
    room = MOST_CASES if left_s is None else min(MOST_CASES, int(left_s // NEEDED_S))
    if len(keys) > room:
        notes.append(
            f"The causes of {number_of(len(keys) - room, 'more case')} were not looked for: "
            "bench profile A B explains every case."
        )
    chosen = [planned.cases[key] for key in keys[:room]]
    experience.tell(f"profiling {number_of(len(chosen), 'changed case')} to find the causes")
    folder, scratch = path / pair_profiles.FOLDER, path / ".scratch" / "profiles"
    shutil.rmtree(folder, ignore_errors=True)  # of the comparison before a resume
    found: list[Explanation] = []
    profiler = PairProfiler(
        sides={side.name: side for side in planned.sides},
        run=planned.run,
        directory=folder,
        scratch=scratch,
        tell=experience.tell,
        experience=experience,
    )
    try:
        with profiler.open(chosen):
            for sides in chosen:
                both = profiler.profile(sides, until_s=clock() + CASE_S)
                if isinstance(both, Failure):
                    notes.append(f"The causes were not found: {both.case.case_id}: {both.told}")
                else:
                    found.append(explain(both["A"], both["B"]))
    except (UserError, ProfileReadError, ReadError, OSError) as error:
        notes.append(f"The causes were not found: {error}")
    except KeyboardInterrupt:
        notes.append("The search for the causes was interrupted; the verdicts stand.")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if found:
        try:
            text.write_table(path, found)
        except OSError as error:
            notes.append(f"{path / text.TABLE}: cannot be written: {error.strerror or error}")
    return found, notes
