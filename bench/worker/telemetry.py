"""What else the machine did around the samples: waiting for a processor, page faults.

Read from Linux' /proc and from getrusage(2); what a system lacks is None.
"""

import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.worker.stopwatch import wall_clock

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# From here on a case is flagged `contended`.  Run-queue wait was 0.04 s of 3 s on a quiet machine
# (ratio 0.013) and 2.2 s of 3 s beside one busy process (0.73), two threads on two cores: 0.1 is
# the geometric mean of the two, a factor of seven from either.
CONTENDED_RATIO = 0.1

TASKS = Path("/proc/self/task")
STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Counters of this process since its start."""

    at_s: float
    run_wait_ns: Mapping[int, int] | None  # by thread: ready to run, but no processor free
    page_faults: int | None  # minor: a page that had to be mapped, without the disk
    involuntary_switches: int | None
    stolen_s: float | None = None  # by the hypervisor, of the processors it may run on, together
    run_ns: Mapping[int, int] | None = None  # by thread: on a processor
    processors: int | None = None  # that it may run on


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What happened between two snapshots.  None: unknown."""

    wall_s: float
    # Run-queue wait of all threads, and what a hypervisor took, / wall; may exceed 1.  Threads
    # that wait for each other, being more than there are processors, lost nothing to anybody:
    # never more than what the processors had left beside this process.
    contention_ratio: float | None
    page_faults: int | None
    involuntary_switches: int | None
    threads_ended: int  # their waiting is not in the ratio, which is then too low

    @property
    def contended(self) -> bool | None:
        if self.contention_ratio is None:
            return None
        return self.contention_ratio >= CONTENDED_RATIO


@dataclass(slots=True)
class Meter:
    """Adds up what happened over the blocks of samples of one case."""

    look: "Callable[[], Snapshot]" = field(default_factory=lambda: snapshot)
    blocks: list[Difference] = field(default_factory=list)
    _since: Snapshot | None = None

    def start(self) -> None:
        self._since = self.look()

    def stop(self) -> None:
        assert self._since is not None, "stopped before it was started"
        self.blocks.append(difference(self._since, self.look()))
        self._since = None

    @property
    def contention_ratio(self) -> float | None:
        """Time lost to others in all blocks / their time; None where a block's is unknown."""
        waits = [one.contention_ratio for one in self.blocks]
        wall_s = math.fsum(one.wall_s for one in self.blocks)
        if wall_s <= 0 or None in waits:
            return None
        return math.fsum((one.contention_ratio or 0) * one.wall_s for one in self.blocks) / wall_s

    @property
    def contended(self) -> bool:
        ratio = self.contention_ratio
        return ratio is not None and ratio >= CONTENDED_RATIO

    def facts(self, calls: int) -> dict[str, float]:
        """By column name; unknown ones are left out.  calls: made during the blocks."""
        found: dict[str, float] = {}
        faults = [one.page_faults for one in self.blocks]
        if calls and None not in faults:
            found["page_faults"] = sum(one or 0 for one in faults) / calls
        if (ratio := self.contention_ratio) is not None:
            found["contention_ratio"] = ratio
        switches = [one.involuntary_switches for one in self.blocks]
        if switches and None not in switches:
            found["involuntary_switches"] = float(sum(one or 0 for one in switches))
        return found


def snapshot(
    tasks: Path = TASKS, clock: Callable[[], float] = wall_clock, stat: Path = STAT
) -> Snapshot:
    """The counters now.

    tasks: where the kernel lists the threads of this process; stat: the time of the processors.
    """
    # RUSAGE_SELF is the whole process, all its threads.
    usage = resource.getrusage(resource.RUSAGE_SELF) if resource else None
    ran, waited = _schedule_ns(tasks)
    allowed = processors()
    return Snapshot(
        at_s=clock(),
        run_wait_ns=waited,
        run_ns=ran,
        processors=len(allowed) if allowed else os.cpu_count(),
        page_faults=usage.ru_minflt if usage else None,
        involuntary_switches=usage.ru_nivcsw if usage else None,
        stolen_s=_stolen_s(stat, allowed),
    )


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """What happened from `before` to `after`."""
    wall_s = after.at_s - before.at_s
    early, late = before.run_wait_ns, after.run_wait_ns
    ratio, ended = None, 0
    if early is not None and late is not None and wall_s > 0:
        lost_s = _since_s(early, late)
        if before.run_ns is not None and after.run_ns is not None and after.processors:
            left_s = after.processors * wall_s - _since_s(before.run_ns, after.run_ns)
            lost_s = min(lost_s, max(0.0, left_s))
        stolen_s = max(0.0, (after.stolen_s or 0.0) - (before.stolen_s or 0.0))
        ratio = (lost_s + stolen_s) / wall_s
        ended = len(early.keys() - late.keys())
    return Difference(
        wall_s=wall_s,
        contention_ratio=ratio,
        page_faults=_minus(after.page_faults, before.page_faults),
        involuntary_switches=_minus(after.involuntary_switches, before.involuntary_switches),
        threads_ended=ended,
    )


def processors() -> frozenset[int] | None:
    """That this process may run on, where the system tells."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _since_s(early: Mapping[int, int], late: Mapping[int, int]) -> float:
    """Of all threads, from their counts in ns.

    One that is new has counted since its start, and so has one that got the number of one that
    ended (its count is then lower than before).
    """
    return math.fsum(
        (now - early.get(thread, 0) if now >= early.get(thread, 0) else now) / 1e9
        for thread, now in late.items()
    )


def _schedule_ns(tasks: Path) -> tuple[dict[int, int] | None, dict[int, int] | None]:
    """By thread on a processor, and ready for one.

    The first two figures of its schedstat (Documentation/scheduler/sched-stats.rst).
    """
    ran: dict[int, int] = {}
    waits: dict[int, int] = {}
    try:
        threads = list(tasks.iterdir())
    except OSError:
        return None, None
    for thread in threads:
        try:
            on, ready, *_ = map(int, (thread / "schedstat").read_text().split())
            ran[int(thread.name)], waits[int(thread.name)] = on, ready
        except FileNotFoundError:
            continue  # ended meanwhile, or a kernel without schedstat
        except (OSError, ValueError):
            return None, None
    return ran or None, waits or None


def _stolen_s(stat: Path, allowed: Collection[int] | None) -> float | None:
    """Eighth figure of each processor's line, in ticks (proc_stat(5)) of 10 ms, whole ones.

    allowed: the numbers of the processors that count; None: all.
    """
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines()]
        ticks = [
            int(line[8])
            for line in lines
            if line[0][:3] == "cpu" and line[0][3:].isdecimal()
            if allowed is None or int(line[0][3:]) in allowed
        ]
        return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None
    except (OSError, ValueError, IndexError):
        return None


def _minus(late: int | None, early: int | None) -> int | None:
    return None if late is None or early is None else late - early
