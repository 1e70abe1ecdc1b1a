"""Find the kinds of machine with the most images per second and per joule.

Each kind stands for itself with its best settings: that is what somebody gets who buys time on it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
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
    """Return a finding for each network, input and mode that several kinds of machines measured."""
    newest: dict[str, Results] = {}
    for run in sorted(runs, key=lambda one: one.description.started or ""):
        for machine in run.machines:
            newest[str(machine)] = run
    if len(newest) < 2:
        return []
    works: dict[tuple[str, str, str], dict[str, Row]] = {}
    for machine, run in newest.items():
        for row in run.rows:
            if not _counts(row):
                continue
            work = (str(row.subject), str(row.input), str(row.mode))
            own = works.setdefault(work, {})
            if _rate(row) > (_rate(own[machine]) if machine in own else 0.0):
                own[machine] = row
    compared = {work: list(own.values()) for work, own in works.items() if len(own) > 1}
    inputs = Counter((subject, mode) for subject, _, mode in compared)
    return [
        _finding(mode, f"{subject} on {shape}" if inputs[subject, mode] > 1 else subject, rows)
        for (subject, shape, mode), rows in compared.items()
    ]


def _counts(row: Row) -> bool:
    """Return whether it is the whole phase of a whole network, with a throughput that can be."""
    return (
        row.status == "ok"
        and row.phase == whole_phase(str(row.mode))
        and row.images_per_s is not None
        and "implausible" not in row.flag_names
        and _is_whole(str(row.subject))
    )


def _is_whole(subject: str) -> bool:
    try:
        return parse(subject).layer is None
    except SubjectError:
        return False


def _rate(row: Row) -> float:
    return row.images_per_s or 0.0


def _finding(mode: str, subject: str, rows: Sequence[Row]) -> Insight:
    """rows: one of each kind of machine."""
    seen = Counter(map(_device, rows))
    offers = sorted(
        (_offer(row, alone=seen[_device(row)] == 1) for row in rows), key=lambda one: -one.per_s
    )
    first, second = offers[0], offers[1]
    names = case_names([one.row for one in offers], short=True)
    told = [f"{one.machine} {_images(one)}" for one in offers]
    if first.surely_above(second):
        text = (
            f"{mode} of {subject}: {first.machine} gives most images a second, "
            f"{_short(first.per_s / second.per_s)} times as many as {second.machine}: "
            f"{listed(told)}."
        )
    else:
        text = (
            f"{mode} of {subject}: {first.machine} and {second.machine} cannot be told apart by "
            f"their images a second: {listed(told)}."
        )
    counted = [(one.machine, one.per_j) for one in offers if one.per_j is not None]
    if counted:
        best = max(counted, key=lambda one: one[1])
        each = listed([f"{machine} {_short(per_j)}" for machine, per_j in counted])
        text += f" Images for a joule, counted a single time: {each}"
        text += f"; {best[0]} gives most." if len(counted) > 1 else "."
    settings = [f"{one.machine}: {names.of(one.row) or one.row.case_id}" for one in offers]
    return Insight(
        text=text,
        evidence=f"best settings of each machine: {'; '.join(settings)}",
        kind="machine",
        case_ids=tuple(str(one.row.case_id) for one in offers),
    )


def _device(row: Row) -> str:
    return str(row.device_name or row.device)


def _offer(row: Row, *, alone: bool) -> Offer:
    """alone: no other kind has its name, as one with another driver or number of processors has."""
    batch = row.batch or 0
    low = batch / row.pipelined_high_s if row.pipelined_high_s else None
    high = batch / row.pipelined_low_s if row.pipelined_low_s else None
    machine = _device(row) if alone else f"{_device(row)} ({str(row.machine_id)[:8]})"
    return Offer(machine, row, _rate(row), low, high)


def _images(one: Offer) -> str:
    if one.low is None or one.high is None:
        return f"{_short(one.per_s)} (no interval)"
    return f"{_short(one.per_s)} ({_short(one.low)}–{_short(one.high)})"


def _short(value: float) -> str:
    """Three digits; from a thousand on `12.3 k`."""
    return f"{value:.3g}" if value < 999.5 else units.count(value)
