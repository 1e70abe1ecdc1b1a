"""Find the kinds of machine with the most images per second and per joule.

Each kind stands for itself with its best settings: that is what somebody gets who buys time on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.records import Row, whole_phase
from bench.core.row_names import case_names
from bench.core.subject import SubjectError, parse
from bench.insights.insight import Insight, listed
from bench.results.results import Results


@dataclass(frozen=True, slots=True)
class Offer:
    """The best row of one kind of machine.  low, high: images a second; None without interval."""

    machine: str
    row: Row
    per_s: float
    low: float | None
    high: float | None

    @property
    def per_j(self) -> float | None:
        """Images for one joule, as counted a single time; None where energy is not counted."""
        used_j = self.row.energy_j_per_image
        return 1 / used_j if used_j else None

    def surely_above(self, other: "Offer") -> bool:
        return self.low is not None and other.high is not None and self.low > other.high


def of_runs(runs: Sequence[Results]) -> list[Insight]:
    """Return a finding for each network and mode that several kinds of machines measured."""
    newest: dict[str, Results] = {}
    for run in sorted(runs, key=lambda one: one.description.started or ""):
        for machine in run.machines:
            newest[str(machine)] = run
    if len(newest) < 2:
        return []
    works: dict[tuple[str, str], dict[str, Row]] = {}
    for machine, run in newest.items():
        for row in run.rows:
            if not _counts(row):
                continue
            own = works.setdefault((str(row.subject), str(row.mode)), {})
            if _rate(row) > (_rate(own[machine]) if machine in own else 0.0):
                own[machine] = row
    return [_finding(work, list(own.values())) for work, own in works.items() if len(own) > 1]


def _counts(row: Row) -> bool:
    """Return whether it is the whole phase of a whole network that measured its throughput."""
    return (
        row.status == "ok"
        and row.phase == whole_phase(str(row.mode))
        and row.images_per_s is not None
        and _is_whole(str(row.subject))
    )


def _is_whole(subject: str) -> bool:
    try:
        return parse(subject).layer is None
    except SubjectError:
        return False


def _rate(row: Row) -> float:
    return row.images_per_s or 0.0


def _finding(work: tuple[str, str], rows: Sequence[Row]) -> Insight:
    offers = sorted(map(_offer, rows), key=lambda one: -one.per_s)
    subject, mode = work
    first, second = offers[0], offers[1]
    names = case_names([one.row for one in offers], short=True)
    told = [f"{one.machine} {_images(one)}" for one in offers]
    if first.surely_above(second):
        text = (
            f"{mode} of {subject}: {first.machine} gives most images a second, "
            f"{first.per_s / second.per_s:.3g} times as many as {second.machine}: {listed(told)}."
        )
    else:
        text = (
            f"{mode} of {subject}: {first.machine} and {second.machine} cannot be told apart by "
            f"their images a second: {listed(told)}."
        )
    counted = [(one.machine, one.per_j) for one in offers if one.per_j is not None]
    if counted:
        best = max(counted, key=lambda one: one[1])
        each = listed([f"{machine} {per_j:.3g}" for machine, per_j in counted])
        text += f" Images for a joule, counted a single time: {each}"
        text += f"; {best[0]} gives most." if len(counted) > 1 else "."
    settings = [f"{one.machine}: {names.of(one.row) or one.row.case_id}" for one in offers]
    return Insight(
        text=text,
        evidence=f"best settings of each machine: {'; '.join(settings)}",
        kind="machine",
        case_ids=tuple(str(one.row.case_id) for one in offers),
    )


def _offer(row: Row) -> Offer:
    batch = row.batch or 0
    low = batch / row.pipelined_high_s if row.pipelined_high_s else None
    high = batch / row.pipelined_low_s if row.pipelined_low_s else None
    machine = str(row.device_name or row.device)
    return Offer(machine, row, _rate(row), low, high)


def _images(one: Offer) -> str:
    if one.low is None or one.high is None:
        return f"{one.per_s:,.4g} (no interval)"
    return f"{one.per_s:,.4g} ({one.low:,.4g}–{one.high:,.4g})"
