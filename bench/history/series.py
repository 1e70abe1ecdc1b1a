"""Series: the times of one case on one kind of machine with one sampling, over the commits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.core.records import Row
from bench.history.blessed import Blessing, is_of
from bench.history.commits import Commit, Line
from bench.history.store import LeftOut, Run, Time
from bench.results.run_json import Sampling

# Flags of a time that says nothing about the code.
DISTURBED = frozenset({"contended", "throttled", "growing", "implausible", "parallel"})


def is_disturbed(time: Time) -> bool:
    """Return whether something else than the code decided a time."""
    return not DISTURBED.isdisjoint(time.row.flag_names)


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a series.

    place: of its commit on the line.
    """

    place: int
    commit: Commit
    run: Run
    time: Time

    @property
    def is_disturbed(self) -> bool:
        return is_disturbed(self.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The runs of a case, in the order of their commits.

    points:  all of them.
    counted: index of the first point that counts: where its last blessing begins, or 0.
    """

    case_id: str
    machine: str
    kind: str
    sampling: Sampling
    points: tuple[Point, ...]
    counted: int = 0
    blessing: Blessing | None = None

    @property
    def row(self) -> Row:
        """The newest row, for names."""
        return self.points[-1].time.row

    @property
    def judged(self) -> tuple[Point, ...]:
        """The points that steps are looked for in: undisturbed ones, since the last blessing."""
        return tuple(one for one in self.points[self.counted :] if not one.is_disturbed)

    @property
    def disturbed(self) -> int:
        """The number of points since the last blessing that do not count."""
        return sum(one.is_disturbed for one in self.points[self.counted :])


@dataclass(frozen=True, slots=True)
class Gathered:
    """All series of a store, and the runs that are in none."""

    series: tuple[Series, ...]
    left: tuple[LeftOut, ...]


def gather(
    runs: Iterable[Run], line: Line, blessings: Sequence[Blessing] = (), cases: Sequence[str] = ()
) -> Gathered:
    """Sort runs into series.

    cases: case ids or patterns with `*`; () = every case.
    """
    left: list[LeftOut] = []
    found: dict[tuple[object, ...], list[Point]] = {}
    for run in runs:
        if why := _why_not(run, line):
            left.append(LeftOut(run.path, why))
            continue
        place = line.places[str(run.commit)]
        for case_id, time in run.times.items():
            if not cases or any(is_of(one, case_id) for one in cases):
                key = (case_id, run.machine, run.sampling)
                found.setdefault(key, []).append(Point(place, line.commits[place], run, time))
    return Gathered(
        tuple(_series(points, line, blessings) for points in found.values()), tuple(left)
    )


def _why_not(run: Run, line: Line) -> str:
    if run.commit is None:
        return "no commit is stored in it"
    if run.dirty is None:
        return "it is not known whether its tree had uncommitted changes"
    if run.dirty:
        return "its tree had uncommitted changes"
    if run.machine is None:
        return "its machine is unknown"
    if run.commit not in line.places:
        more = "; the clone is shallow: git fetch --unshallow" if line.shallow else ""
        return f"its commit {run.commit[:8]} is not on the first-parent line{more}"
    if not run.times:
        return "no case of it has a time"
    return ""


def _series(points: list[Point], line: Line, blessings: Sequence[Blessing]) -> Series:
    """Return the points as a series by commit; the clock orders only runs of one commit."""
    ordered = sorted(points, key=lambda one: (one.place, one.run.started, one.run.run_id))
    last = ordered[-1]
    case_id = str(last.time.row.case_id)
    own = [
        (line.places[one.at], one)
        for one in blessings
        if one.at in line.places and is_of(one.case, case_id)
    ]
    place, blessing = max(own, key=lambda one: one[0], default=(0, None))
    counted = sum(one.place < place for one in ordered)
    return Series(
        case_id=case_id,
        machine=str(last.run.machine),
        kind=last.run.kind,
        sampling=last.run.sampling,
        points=tuple(ordered),
        counted=counted,
        blessing=blessing,
    )


def changed_marks(before: Run, after: Run) -> dict[str, tuple[str, str]]:
    """Return what differs around the code: torch, driver, kernel, Python and the suite."""
    both = [name for name in before.marks if name in after.marks]
    pairs: Mapping[str, tuple[str, str]] = {
        name: (before.marks[name], after.marks[name]) for name in both
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def splits(points: Sequence[Point]) -> list[int]:
    """Return where a step can be: between two commits, or where a version changed."""
    return [
        index
        for index in range(1, len(points))
        if points[index].place != points[index - 1].place
        or changed_marks(points[index - 1].run, points[index].run)
    ]
