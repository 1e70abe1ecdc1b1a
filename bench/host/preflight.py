"""The system check before a run: what could disturb the measurement, and what to do.

It reads /proc and /sys of Linux.  A check whose file is missing gives no warning.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core import units
from bench.core.text import number_of, printable
from bench.host import allocators, environment

BUSY_CHECK_S = 0.25  # long enough to tell a busy process from one that woke up for a moment
BUSY_SHARE = 0.5  # of one processor
LOAD_SHARE = 0.5  # of the processors
SIBLINGS = "topology/thread_siblings_list"  # processors of one core
NAMED = 2  # processes in a line
LEAST_SHARE = 0.05  # of one processor, of a process that is named
SWAP_BYTES = 100 * 2**20  # idle processes always have some memory in swap


@dataclass(frozen=True, slots=True)
class KernelFolders:
    """Folders of the kernel's files; tests use their own."""

    proc: Path = environment.PROC
    sys: Path = environment.SYS
    groups: Path = environment.GROUPS

    @property
    def processors(self) -> Path:
        return self.sys / "devices/system/cpu"


@dataclass(frozen=True, slots=True)
class Other:
    """Another process.  share: its processor time over the look, 1 is all of one processor."""

    pid: str
    name: str
    share: float

    @property
    def busy(self) -> bool:
        return self.share >= BUSY_SHARE


def warnings(
    folders: KernelFolders | None = None,
    pause: Callable[[], None] = lambda: time.sleep(BUSY_CHECK_S),
    allowed: Sequence[int] | None = None,
    threads: int | None = None,
    others: Sequence[Other] | None = None,
) -> list[str]:
    """Return one line for each thing that could disturb a measurement now.

    pause:   waits for BUSY_CHECK_S; processes that compute meanwhile are busy.
    allowed: numbers of the processors that this process may use; None = ask the system.
    threads: that will compute; None = as many as there are processors.
    others:  processes that were looked at already; None = look now.
    """
    found = disturbances(folders, pause, others)
    return [*found, *too_many_threads(folders, allowed, threads)]


def most_threads(asked: Iterable[str | None], auto: int | None) -> int | None:
    """Return the largest number of threads of some cases; None = unknown.

    asked: values of the axis.  auto: torch's own choice, as the probe finds it.
    """
    found = [auto if one is None or one == "auto" else int(one) for one in asked]
    known = [one for one in found if one is not None]
    return max(known) if known and len(known) == len(found) else None


def too_many_threads(
    folders: KernelFolders | None = None,
    allowed: Sequence[int] | None = None,
    threads: int | None = None,
) -> list[str]:
    """Return a line if more threads compute than there are cores, or than a quota allows."""
    folders = folders or KernelFolders()
    numbers = processors(allowed)
    used = min(len(numbers), threads or len(numbers))
    found = _quota(folders, len(numbers), used), _siblings(folders, numbers, used)
    return [text for text in found if text]


def disturbances(
    folders: KernelFolders | None = None,
    pause: Callable[[], None] = lambda: time.sleep(BUSY_CHECK_S),
    others: Sequence[Other] | None = None,
) -> list[str]:
    """Return one line for each thing but the number of threads.  others: as for `warnings`."""
    folders = folders or KernelFolders()
    if others is None:
        others = other_processes(folders, pause)
    busy = [one for one in others if one.busy]
    found = (
        _load(folders, [] if busy else others),
        _busy(busy),
        _governor(folders),
        _battery(folders),
        _swap(folders),
        allocators.replaced_by(os.environ),
    )
    return [text for text in found if text]


def _load(folders: KernelFolders, others: Sequence[Other]) -> str | None:
    """Compare the load with all processors of the machine: it is the load of all of them.

    others: the busiest first, to be named.
    """
    load = _number((read_text(folders.proc / "loadavg").split() or [""])[0])
    names = (line.partition(" ")[0] for line in read_text(folders.proc / "stat").splitlines())
    there = sum(name.removeprefix("cpu").isdecimal() for name in names) or os.cpu_count() or 1
    if load <= LOAD_SHARE * there:
        return None
    named = _named([one for one in others if one.share >= LEAST_SHARE])
    busiest = f", most by {named}" if named else ""
    return (
        f"the machine is busy (load {load:.1f} on {number_of(there, 'processor')}{busiest}): "
        "expect wide intervals"
    )


def _busy(busy: Sequence[Other]) -> str | None:
    """Name the busiest.  Owners and arguments are left out, because outputs are published."""
    if not busy:
        return None
    who, them = ("process is", "it") if len(busy) == 1 else ("processes are", "them")
    return (
        f"{len(busy)} other {who} computing ({_named(busy)}): end {them}, or expect rows flagged "
        "contended"
    )


def _named(others: Sequence[Other]) -> str:
    """Return `4711 python 99 % of a processor, 4712 cc1plus 52 %, …`; empty without any."""
    shown = [f"{one.pid} {one.name} {100 * one.share:.0f} %" for one in others[:NAMED]]
    first = [f"{shown[0]} of a processor"] if shown else []
    return ", ".join([*first, *shown[1:], *(["…"] if len(others) > NAMED else [])])


def other_processes(
    folders: KernelFolders | None = None,
    pause: Callable[[], None] = lambda: time.sleep(BUSY_CHECK_S),
    own: Collection[int] = (),
) -> list[Other]:
    """Return the other processes with what they computed during the pause, the busiest first.

    own: numbers of processes that this one has started, and that will have ended.
    """
    proc = (folders or KernelFolders()).proc
    begun_s, before = _uptime_s(proc), {pid: ticks for pid, _, ticks in _ticks(proc)}
    pause()
    later_s = _uptime_s(proc)
    look_s = later_s - begun_s if later_s > begun_s else BUSY_CHECK_S
    whole = look_s * (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)
    found = [
        Other(pid, name, (ticks - before.get(pid, ticks)) / whole)
        for pid, name, ticks in _ticks(proc)
        if int(pid) not in own
    ]
    return sorted(found, key=lambda one: -one.share)


def _uptime_s(proc: Path) -> float:
    """Return the seconds since the machine was started; 0 if they are unknown."""
    return _number((read_text(proc / "uptime").split() or [""])[0])


def _ticks(proc: Path) -> Iterator[tuple[str, str, int]]:
    """Yield number, name and clock ticks of processor time of each other process.

    Source: proc_pid_stat(5).  The name is that of the command, at most 15 characters.
    """
    try:
        folders = [one for one in proc.iterdir() if one.name.isdigit()]
    except OSError:
        return
    for folder in folders:
        head, _, rest = read_text(folder / "stat").rpartition(")")  # a name may hold anything
        fields = rest.split()
        if len(fields) > 12 and folder.name != str(os.getpid()):
            # A warning has one colon: what is wrong stands before it, the way to mend it behind.
            name = printable(head.partition("(")[2]).replace(":", "").strip() or "?"
            yield folder.name, name, int(_number(fields[11]) + _number(fields[12]))


def processors(allowed: Sequence[int] | None = None) -> Sequence[int]:
    """Return the numbers of the processors that this process may use."""
    return allowed or environment.processors_allowed() or range(os.cpu_count() or 1)


def _quota(folders: KernelFolders, there: int, threads: int) -> str | None:
    quota = environment.quota_cores(folders.proc, folders.groups)
    if quota is None or quota >= threads:
        return None
    return (
        f"the container may use {quota:g} of {number_of(there, 'processor')} and is "
        "halted beyond that: "
        f"--threads {max(1, int(quota))}"
    )


def cores_of(folders: KernelFolders, allowed: Sequence[int]) -> list[str]:
    """Return for each of these processors what those of its core share; empty if unknown."""
    shared = (read_text(folders.processors / f"cpu{number}" / SIBLINGS) for number in allowed)
    return [text for one in shared if (text := one.strip())]


def _siblings(folders: KernelFolders, allowed: Sequence[int], threads: int) -> str | None:
    shared = cores_of(folders, allowed)
    cores = len(set(shared))
    if cores >= min(threads, len(shared)):
        return None
    return (
        f"{len(shared)} processors are {number_of(cores, 'core')} (SMT): use at most "
        f"{number_of(cores, 'thread')} "
        f"(--threads {cores})"
    )


def _governor(folders: KernelFolders) -> str | None:
    paths = folders.processors.glob("cpu[0-9]*/cpufreq/scaling_governor")
    if not any(read_text(path).strip() == "powersave" for path in paths):
        return None
    return (
        "the processor saves power (governor powersave): "
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    )


def _battery(folders: KernelFolders) -> str | None:
    supplies = list((folders.sys / "class/power_supply").glob("*"))
    if not any(read_text(one / "status").strip() == "Discharging" for one in supplies):
        return None
    if any(read_text(one / "online").strip() == "1" for one in supplies):
        return None  # a mouse's battery, or one being kept below full
    return "the machine runs on its battery: plug it in"


def _swap(folders: KernelFolders) -> str | None:
    lines = (line.split() for line in read_text(folders.proc / "meminfo").splitlines())
    kib = {words[0]: _number(words[1]) for words in lines if len(words) > 1}
    used_bytes = 1024 * (kib.get("SwapTotal:", 0) - kib.get("SwapFree:", 0))
    if used_bytes < SWAP_BYTES:
        return None
    return (
        f"{units.bytes_(used_bytes)} of memory are in swap: memory is or was short; "
        "end other programs"
    )


def read_text(path: Path) -> str:
    """Return a file of the kernel; empty if it is not there, or its process has ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
