"""The tables of several runs: before and after for two runs, a history for more."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare import speedup
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.core.text import are, number_of, printable, shortened
from bench.results.results import Results

MOST_ROWS = 400
MOST_CELLS = 12_000  # cells of a history
MOST_CHARS = 160  # characters of a name
MOST_NAMED = 3  # cases that are ok in one run only


@dataclass(frozen=True, slots=True)
class Change:
    """A phase of a case in two runs."""

    case: str
    phase: str
    before: str
    after: str
    speedup: str
    interval: str
    verdict: str

    @property
    def css(self) -> str:
        """The class of the verdict's colour; `slower if alone` has none, as on a terminal."""
        return self.verdict if self.verdict in ("faster", "slower") else ""


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes.  note: the runs compared, and how far a change is due to the code."""

    note: str
    rows: tuple[Change, ...]
    left_out: str


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a run's column: a short text, and the full one."""

    shown: str
    full: str


@dataclass(frozen=True, slots=True)
class Past:
    """The times of a case, run by run."""

    case: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All cases over time.  note: the order of the runs, and their machines."""

    note: str
    runs: tuple[Head, ...]
    rows: tuple[Past, ...]
    left_out: str = ""


def changes(a: Results, b: Results) -> Changes:
    """Return the changes from a to b, the largest first."""
    speedups = sorted(speedup.between(a, b), key=lambda one: -abs(_log(one.ratio)))
    alone = [*speedup.only_in(a, b), *speedup.only_in(b, a)]
    notes = (
        [f"{number_of(len(alone), 'case')} {are(len(alone))} in one of the runs only."]
        if alone
        else []
    )
    notes += filter(None, (_only_ok(a, b), _only_ok(b, a)))
    if len(speedups) > MOST_ROWS:
        left = len(speedups) - MOST_ROWS
        told = "The smallest change is" if left == 1 else f"The {left:,} smallest changes are"
        notes.append(f"{told} left out.")
    return Changes(
        note=f"{name(b)} against {name(a)}, the largest change first. {_machines([a, b])}",
        rows=tuple(map(_change, speedups[:MOST_ROWS], speedup.verdicts(speedups))),
        left_out=" ".join(notes),
    )


def _only_ok(ok: Results, other: Results) -> str:
    """Name the cases that have figures in one run and none in the other; empty without any."""
    bad = {row.case_id: row.status for row in other.rows if row.status != "ok"}
    good = dict.fromkeys(row.case_id for row in ok.rows if row.status == "ok")
    cases = [f"{_text(str(case))} ({bad[case]})" for case in good if case in bad]
    if not cases:
        return ""
    more = f" and {len(cases) - MOST_NAMED} more" if len(cases) > MOST_NAMED else ""
    count = f"{number_of(len(cases), 'case')} {are(len(cases))}"
    return f"{count} ok in {name(ok)} only: {', '.join(cases[:MOST_NAMED])}{more}."


def _log(ratio: float) -> float:
    return max(ratio, 1 / ratio) if ratio > 0 else 0.0


def _change(one: speedup.Speedup, verdict: str) -> Change:
    ends = "" if one.low is None or one.high is None else f"{one.low:.2f} – {one.high:.2f}"
    return Change(
        case=_text(one.base_case_id),
        phase=_text(one.phase),
        before=units.seconds(one.base_s),
        after=units.seconds(one.value_s),
        speedup=units.speedup(one.ratio),
        interval=ends,
        verdict=verdict,
    )


def history(runs: Sequence[Results]) -> History:
    """Return the latency of every case in each run, the oldest run first."""
    ordered = sorted(runs, key=lambda run: run.description.started or "")
    cells: dict[str, list[str]] = {}
    for place, run in enumerate(ordered):
        for row in run.rows:
            if row.phase in (None, whole_phase(str(row.mode))):
                own = cells.setdefault(str(row.case_id), [""] * len(ordered))
                own[place] = _time(row)
    most = min(MOST_ROWS, max(10, MOST_CELLS // len(ordered)))
    left = len(cells) - most
    return History(
        note=f"One call and its 95 % interval, the oldest run first. {_machines(runs)}",
        runs=tuple(Head(_short(run), name(run)) for run in ordered),
        rows=tuple(Past(_text(case), tuple(own)) for case, own in list(cells.items())[:most]),
        left_out=f"{number_of(left, 'more case')} {are(left)} left out." if left > 0 else "",
    )


def _time(row: Row) -> str:
    """Return the time with its interval, or the status of a case that has none."""
    if row.status != "ok":
        return str(row.status)
    time_s = row.latency_median_s if row.latency_median_s is not None else row.device_s
    if row.latency_low_s is None or row.latency_high_s is None:
        return units.seconds(time_s)
    low, high = units.seconds(row.latency_low_s), units.seconds(row.latency_high_s)
    return f"{units.seconds(time_s)} ({low} – {high})"


def name(run: Results) -> str:
    """Return the name of a run: its run_id, or the name of its folder."""
    return _text(next((row.run_id for row in run.rows if row.run_id), run.path.name))


def _text(text: str) -> str:
    return shortened(printable(text), MOST_CHARS)


def _short(run: Results) -> str:
    """Return the short commit, with `+` for uncommitted changes, or else the start of the name."""
    environment = run.description.environment
    if not environment.git_commit:
        return name(run)[:24]
    return f"{printable(environment.git_commit[:8])}{'+' if environment.git_dirty else ''}"


def _machines(runs: Sequence[Results]) -> str:
    if len({one for run in runs for one in run.machines}) > 1:
        return (
            "The runs come from different machines, so the differences say nothing about the code. "
            "`bench ab` measures two revisions on one machine."
        )
    return (
        "Two runs of identical code on one machine differ by some per cent; `bench ab` shows which "
        "small differences are real."
    )
