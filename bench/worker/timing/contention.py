"""Measures other work on the machine during the samples: waits for a processor, page faults.

It reads Linux' /proc and getrusage(2).  A figure that a system lacks is None.
"""

import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.worker.timing.stopwatch import wall_clock

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# A case is flagged `contended` from this share on.  Two threads on two cores waited together for
# 0.04 s of 3 s on a quiet machine and for 2.2 s beside one busy process: the one that waited more
# for 0.007 to 0.013 of the time, and for 0.37 to 0.73.  The wait of the most delayed thread does
# not grow with their number, as the sum does.
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
    stolen_s: Mapping[int, float] | None = None  # by the hypervisor, of each processor it may use
    run_ns: Mapping[int, int] | None = None  # by thread: on a processor
    processors: int | None = None  # that it may run on


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The difference of two snapshots.  None: unknown."""

    wall_s: float
    # Run-queue wait of the thread that waited most, and what a hypervisor took of the processor
    # of which it took most, / wall: a step is as late as the last of its threads.  Threads that
    # wait for each other, being more than there are processors, lost nothing to anybody: never
    # more than what the processors had left beside this process.
    contention_ratio: float | None
    page_faults: int | None
    involuntary_switches: int | None

    @property
    def contended(self) -> bool | None:
        if self.contention_ratio is None:
            return None
        return self.contention_ratio >= CONTENDED_RATIO


@dataclass(slots=True)
class Meter:
    """Adds up the differences over the blocks of samples of one case."""

    take_snapshot: "Callable[[], Snapshot]" = field(default_factory=lambda: snapshot)
    blocks: list[Difference] = field(default_factory=list)
    _since: Snapshot | None = None

    def start(self) -> None:
        self._since = self.take_snapshot()

    def stop(self) -> None:
        assert self._since is not None, "stopped before it was started"
        self.blocks.append(difference(self._since, self.take_snapshot()))
        self._since = None

    @property
    def contention_ratio(self) -> float | None:
        """Return the time lost to others in all blocks / their time; None if that of a block is
        unknown.
        """
        waits = [one.contention_ratio for one in self.blocks]
        wall_s = math.fsum(one.wall_s for one in self.blocks)
        if wall_s <= 0 or None in waits:
            return None
        return math.fsum((one.contention_ratio or 0) * one.wall_s for one in self.blocks) / wall_s

    @property
    def contended(self) -> bool:
        ratio = self.contention_ratio
        return ratio is not None and ratio >= CONTENDED_RATIO

    def columns(self, calls: int) -> dict[str, float]:
        """Return the columns by name; unknown ones are left out.  calls: made during the blocks."""
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
    """Return the counters now.

    tasks: the kernel's list of the threads of this process.
    stat:  the kernel's times of the processors.
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
    """Return the difference from `before` to `after`."""
    wall_s = after.at_s - before.at_s
    early, late = before.run_wait_ns, after.run_wait_ns
    ratio = None
    if early is not None and late is not None and wall_s > 0:
        lost_s = max(_since_s(early, late), default=0.0)
        counts = True
        if before.run_ns is not None and after.run_ns is not None and after.processors:
            ran_s = math.fsum(_since_s(before.run_ns, after.run_ns))
            counts = ran_s + lost_s > 0  # else this kernel lists them and leaves them at 0
            lost_s = min(lost_s, max(0.0, after.processors * wall_s - ran_s))
        if counts:
            ratio = (lost_s + _most_stolen_s(before.stolen_s, after.stolen_s)) / wall_s
    return Difference(
        wall_s=wall_s,
        contention_ratio=ratio,
        page_faults=_increase(after.page_faults, before.page_faults),
        involuntary_switches=_increase(after.involuntary_switches, before.involuntary_switches),
    )


def processors() -> frozenset[int] | None:
    """Return the processors that this process may run on, if the system tells."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _since_s(early: Mapping[int, int], late: Mapping[int, int]) -> list[float]:
    """Return the seconds of each thread since the earlier count, from counts in ns.

    A new thread has counted since its start, and so has one with the number of an ended thread (its
    count is then lower than before).
    """
    return [
        (now - early.get(thread, 0) if now >= early.get(thread, 0) else now) / 1e9
        for thread, now in late.items()
    ]


def _most_stolen_s(early: Mapping[int, float] | None, late: Mapping[int, float] | None) -> float:
    taken = [at - (early or {}).get(number, at) for number, at in (late or {}).items()]
    return max([0.0, *taken])


def _schedule_ns(tasks: Path) -> tuple[dict[int, int] | None, dict[int, int] | None]:
    """Return the ns of each thread on a processor, and those ready for one.

    They are the first two figures of its schedstat (Documentation/scheduler/sched-stats.rst).
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


def _stolen_s(stat: Path, allowed: Collection[int] | None) -> dict[int, float] | None:
    """Return by processor the eighth figure of its line, in ticks (proc_stat(5)) of 10 ms.

    allowed: the numbers of the processors that count; None: all.
    """
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines()]
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
        found = {
            int(line[0][3:]): int(line[8]) * tick_s
            for line in lines
            if line[0][:3] == "cpu" and line[0][3:].isdecimal()
            if allowed is None or int(line[0][3:]) in allowed
        }
        return found or None
    except (OSError, ValueError, IndexError):
        return None


def _increase(late: int | None, early: int | None) -> int | None:
    return None if late is None or early is None else late - early
