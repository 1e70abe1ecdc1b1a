"""Tables of several runs: before and after for two, a history for more."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare import speedup
from bench.compare.groups import records
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.core.text import printable, shortened
from bench.results.load import RunData

MOST_ROWS = 400
MOST_CELLS = 12_000  # of a history
MOST_CHARS = 160  # of a name


@dataclass(frozen=True, slots=True)
class Change:
    """A phase of a case in two runs."""

    case: str
    phase: str
    before: str
    after: str
    gain: str
    interval: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes.  told: the runs compared, and whether they can say anything about the code."""

    told: str
    rows: tuple[Change, ...]
    left_out: str


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a run's column: a short text, and all of it."""

    shown: str
    full: str


@dataclass(frozen=True, slots=True)
class Past:
    """The times of a case, run by run."""

    case: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All cases over time.  told: the order of the runs, and their machines."""

    told: str
    runs: tuple[Head, ...]
    rows: tuple[Past, ...]
    left_out: str = ""


def changes(a: RunData, b: RunData) -> Changes:
    """The changes from a to b, the largest first."""
    gains = sorted(speedup.between(a, b), key=lambda one: -abs(_log(one.gain)))
    alone = [*speedup.only_in(a, b), *speedup.only_in(b, a)]
    notes = [f"{len(alone)} cases are in one of the runs only."] if alone else []
    if len(gains) > MOST_ROWS:
        notes.append(f"The {len(gains) - MOST_ROWS} smallest changes are left out.")
    return Changes(
        told=f"{name(b)} against {name(a)}, the largest change first. {_machines([a, b])}",
        rows=tuple(map(_change, gains[:MOST_ROWS], speedup.verdicts(gains))),
        left_out=" ".join(notes),
    )


def _log(gain: float) -> float:
    return max(gain, 1 / gain) if gain > 0 else 0.0


def _change(one: speedup.Gain, verdict: str) -> Change:
    ends = "" if one.low is None or one.high is None else f"{one.low:.2f} – {one.high:.2f}"
    return Change(
        case=_text(one.base_case_id),
        phase=_text(one.phase),
        before=units.seconds(one.base_s),
        after=units.seconds(one.value_s),
        gain=units.speedup(one.gain),
        interval=ends,
        verdict=verdict,
    )


def history(runs: Sequence[RunData]) -> History:
    """The whole phase of every case; the runs are ordered by their start."""
    ordered = sorted(runs, key=lambda run: str(run.run.get("started", "")))
    cells: dict[str, list[str]] = {}
    for place, run in enumerate(ordered):
        for row in records(run.rows):
            if row.phase == whole_phase(str(row.mode)):
                own = cells.setdefault(str(row.case_id), [""] * len(ordered))
                own[place] = _time(row)
    most = min(MOST_ROWS, max(10, MOST_CELLS // len(ordered)))
    return History(
        told=f"One call and its 95 % interval, the oldest run first. {_machines(runs)}",
        runs=tuple(Head(_short(run), name(run)) for run in ordered),
        rows=tuple(Past(_text(case), tuple(own)) for case, own in list(cells.items())[:most]),
        left_out=f"{len(cells) - most} more cases are left out." if len(cells) > most else "",
    )


def _time(row: Row) -> str:
    time_s = row.latency_median_s if row.latency_median_s is not None else row.device_s
    if row.latency_low_s is None or row.latency_high_s is None:
        return units.seconds(time_s)
    low, high = units.seconds(row.latency_low_s), units.seconds(row.latency_high_s)
    return f"{units.seconds(time_s)} ({low} – {high})"


def name(run: RunData) -> str:
    """The id of the run, or the name of its folder."""
    ids = [one for one in run.rows["run_id"] if one]
    return _text(str(ids[0] if ids else run.path.name))


def _text(text: str) -> str:
    return shortened(printable(text), MOST_CHARS)


def _short(run: RunData) -> str:
    """The commit, or the name of the run where the commit is unknown."""
    environment = run.run.get("environment")
    commit = environment.get("git_commit") if isinstance(environment, dict) else None
    dirty = "+" if isinstance(environment, dict) and environment.get("git_dirty") else ""
    return f"{printable(str(commit)[:8])}{dirty}" if commit else name(run)[:24]


def _machines(runs: Sequence[RunData]) -> str:
    machines = {one for run in runs for one in run.rows["machine_id"] if one}
    if len(machines) > 1:
        return (
            "They ran on different machines: what differs says nothing of the code. `bench ab` "
            "measures two revisions on one machine."
        )
    return (
        "Two runs of identical code on one machine differ by some per cent; `bench ab` settles "
        "what is close."
    )
