"""The part of `bench doctor` that reads the kernel's files of the processor and of memory.

A check whose file is missing says nothing.  Sources: the Linux kernel's documentation (amd-pstate,
cpufreq, intel_pstate, transhuge, perf-security), proc_stat(5), cgroups(7).
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.core import units
from bench.core.text import times
from bench.host import environment
from bench.host.finding import Finding
from bench.host.preflight import KernelFolders, read_text

LEAST_FREE_BYTES = 2 * 2**30  # torch, a network and its float64 reference take less
MOST_PARANOID = 2  # up to here a user may count the events of processes of their own
STOLEN_SHARE = 0.01  # of the machine's processor time
SAVING = ("power", "balance_power")  # values of energy_performance_preference
CAPPED = 0.95  # of the highest clock rate


def findings(places: KernelFolders) -> Iterator[Finding]:
    """Yield the findings of the checks that look once."""
    yield from _huge_pages(places)
    yield from _boost(places)
    yield from _preference(places)
    yield from _capped(places)
    yield from _memory(places)
    yield from _perf(places)


def _huge_pages(places: KernelFolders) -> Iterator[Finding]:
    file = places.sys / "kernel/mm/transparent_hugepage/enabled"
    if "[never]" in read_text(file):
        yield Finding(
            "spoils",
            "the kernel gives no huge pages, so that times differ more from process to process",
            f"echo madvise | sudo tee {file}",
        )


def _boost(places: KernelFolders) -> Iterator[Finding]:
    """Report boost.  Each driver has its own switch; amd-pstate has one per processor as well."""
    switches = [
        (places.processors / "intel_pstate/no_turbo", "0", "1"),
        (places.processors / "cpufreq/boost", "1", "0"),
        (places.processors / "cpu0/cpufreq/boost", "1", "0"),
    ]
    for file, boosted, off in switches:
        if read_text(file).strip() == boosted:
            every = str(file).replace("/cpu0/", "/cpu*/")
            yield Finding(
                "spoils",
                "the clock rate is boosted while the processor is cool, so that times drift",
                f"echo {off} | sudo tee {every}, or compare with bench ab, whose sides take turns",
            )
            return


def _preference(places: KernelFolders) -> Iterator[Finding]:
    """Report a preference for low power, which also decides in intel_pstate and amd-pstate."""
    file = places.processors / "cpu0/cpufreq/energy_performance_preference"
    found = read_text(file).strip()
    if found in SAVING:
        driver = read_text(file.with_name("scaling_driver")).strip() or "its driver"
        yield Finding(
            "spoils",
            f"{driver} prefers low power to speed (energy_performance_preference is {found})",
            f"echo performance | sudo tee {str(file).replace('/cpu0/', '/cpu*/')}",
        )


def _capped(places: KernelFolders) -> Iterator[Finding]:
    folder = places.processors / "cpu0/cpufreq"
    limit, highest = _number(folder / "scaling_max_freq"), _number(folder / "cpuinfo_max_freq")
    if _number(places.processors / "intel_pstate/no_turbo"):
        # Older kernels still tell the boosted rate then, to which nothing can raise the limit.
        highest = _number(folder / "base_frequency")
    if limit is not None and highest and limit < CAPPED * highest:
        yield Finding(
            "spoils",
            f"the clock rate is limited to {limit / 1e6:.1f} GHz of {highest / 1e6:.1f} GHz",
            f"echo {highest:.0f} | sudo tee {places.processors}/cpu*/cpufreq/scaling_max_freq",
        )


def _memory(places: KernelFolders) -> Iterator[Finding]:
    limit = _group_limit_bytes(places)
    if limit is not None:
        text = f"the container may use {units.bytes_(limit)} of memory"
        if limit < LEAST_FREE_BYTES:
            mend = "give the container more memory, or measure smaller batch sizes"
            yield Finding("spoils", f"{text}, so that cases may end as oom", mend)
        else:
            yield Finding("ok", text)
    available = next(
        (
            1024 * int(line.split()[1])
            for line in read_text(places.proc / "meminfo").splitlines()
            if line.startswith("MemAvailable:")
        ),
        None,
    )
    if available is not None and available < LEAST_FREE_BYTES:
        yield Finding(
            "spoils",
            f"{units.bytes_(available)} of memory are free, so that cases may end as oom",
            "end other programs, or measure smaller batch sizes",
        )


def _group_limit_bytes(places: KernelFolders) -> float | None:
    """Return the lowest limit of this process' control groups, the inner and outer; None = none."""
    limits = [
        _number(file)
        for name in ("memory.max", "memory.limit_in_bytes")
        for file in environment.cgroup_files("memory", name, places.proc, places.groups)
    ]
    # Version 1 writes "no limit" as a number near 2^63.
    return min((one for one in limits if one is not None and one < 2**60), default=None)


def _perf(places: KernelFolders) -> Iterator[Finding]:
    level = _number(places.proc / "sys/kernel/perf_event_paranoid")
    if level is not None and level > MOST_PARANOID:
        yield Finding(
            "lacks",
            f"only root may read the processor's counters (perf_event_paranoid is {level:.0f}): "
            "perf cannot show why a case is slow",
            f"sudo sysctl kernel.perf_event_paranoid={MOST_PARANOID}",
        )


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters that only grow while the machine runs; None = the kernel has none.

    throttled: how often a processor was slowed for heat.
    stolen:    clock ticks that the host of a virtual machine gave to others.
    ticks:     of all processors together, idle ones too.
    """

    virtual: bool
    throttled: int | None
    stolen: float
    ticks: float

    @property
    def stolen_share(self) -> float:
        return self.stolen / self.ticks if self.ticks else 0.0


def counters(places: KernelFolders) -> Counters:
    """Read them now."""
    throttled = _throttle_counts(places)
    words = read_text(places.proc / "stat").partition("\n")[0].split()
    ticks = [float(one) for one in words[1:9]] if words[:1] == ["cpu"] else []
    return Counters(
        virtual=" hypervisor" in read_text(places.proc / "cpuinfo"),
        throttled=sum(throttled.values()) if throttled else None,
        stolen=ticks[7] if len(ticks) > 7 else 0.0,
        ticks=sum(ticks),
    )


def _throttle_counts(places: KernelFolders) -> dict[tuple[str, ...], int]:
    """Return each count once: all processors of a core, or of a package, show the same one."""
    found: dict[tuple[str, ...], int] = {}
    for file in places.processors.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        processor = file.parents[1]
        package, core = (
            read_text(processor / "topology" / name).strip() or processor.name
            for name in ("physical_package_id", "core_id")
        )
        whole = file.name.startswith("package")
        if (count := _number(file)) is not None:
            found[(file.name, package, "" if whole else core)] = int(count)
    return found


def grown(before: Counters, after: Counters) -> Iterator[Finding]:
    """Yield the findings between two readings."""
    yield from _throttled(before, after)
    if not after.virtual:
        return
    lately = (after.stolen - before.stolen) / max(after.ticks - before.ticks, 1.0)
    always = units.percent(after.stolen_share)
    if max(lately, after.stolen_share) > STOLEN_SHARE:
        yield Finding(
            "spoils",
            "the host gave processor time of this virtual machine to others: "
            f"{units.percent(lately)} during this check, {always} since it was started",
            "take a machine with processors of its own, or compare with bench ab, whose sides "
            "take turns",
        )
    else:
        yield Finding(
            "ok", f"this is a virtual machine; its host took {always} of its time until now"
        )


def _throttled(before: Counters, after: Counters) -> Iterator[Finding]:
    if not after.throttled:
        return
    more = after.throttled - (before.throttled or 0)
    if more > 0:
        yield Finding(
            "spoils",
            f"the processor is too hot: it was slowed {times(more)} during this check",
            "let it cool, clean its fan, or limit its clock rate (sudo cpupower frequency-set -u)",
        )
    else:
        yield Finding(
            "ok",
            f"the processor was slowed for heat {times(after.throttled)} since it was started, "
            "and not during this check",
        )


def _number(file: Path) -> float | None:
    with contextlib.suppress(ValueError):
        return float(read_text(file).strip())
    return None
