"""A system check in full: what this machine lacks, or does, that would spoil figures.

`preflight` has the part that every run looks at.  Here are the checks that take longer, or that
matter for some settings only.  Each finding says what is wrong and how to mend it.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.core import units
from bench.core.errors import refused
from bench.core.text import number_of
from bench.host import environment, kernel_checks, preflight
from bench.host.finding import Finding
from bench.host.listed_gpus import VISIBLE, Gpu, nvidia_smi, visible
from bench.host.probe import ProbeError
from bench.host.probed import Probe

SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies")
LEAST_DISK_BYTES = 2**30  # a run, its compile caches and its float64 references take less
TRACED = "so that a figure can be traced to its code"
COMMITS = {
    environment.NO_GIT: f"install git, and run in a git repository, {TRACED}",
    environment.NO_REPOSITORY: f"run in a git repository, {TRACED}",
    environment.NO_COMMIT: f"commit the code first, {TRACED}",
}
# The oldest driver, by its first number, for each CUDA (CUDA Compatibility, minor versions).
OLDEST_DRIVERS = {11: 450, 12: 525, 13: 580}


def findings(
    ask_torch: Callable[[], Probe],
    places: preflight.KernelFolders | None = None,
    variables: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    gpus: Callable[[], list[Gpu]] | None = None,
    disturbed: Callable[[], list[str]] = preflight.disturbances,
) -> Iterator[Finding]:
    """Yield the findings of all checks, each as soon as it is known.

    ask_torch: looks at torch and its devices in a process of its own.  Raises ProbeError.
    disturbed: the warnings of `preflight` but those on threads, which need the probe.
    """
    places = places or preflight.KernelFolders()
    before = kernel_checks.counters(places)
    yield _processors()
    yield from map(_spoils, disturbed())
    yield from kernel_checks.findings(places)
    yield from _clock(places)
    yield from _threads(variables, places)
    yield from _disk(folder or Path.cwd())
    yield from _commit(folder or Path.cwd())
    listed = (gpus or nvidia_smi)()
    found = _asked(ask_torch)
    yield from kernel_checks.grown(before, kernel_checks.counters(places))
    if isinstance(found, Finding):
        yield found
        return
    threads = found.torch_details.get("threads")
    yield from map(_spoils, preflight.too_many_threads(places, threads=threads))
    yield from _compiler(found, variables)
    yield from _devices(found, listed, variables)


def _spoils(warning: str) -> Finding:
    """A warning of `preflight`, which says itself how to mend it."""
    what, _, mend = warning.partition(": ")
    return Finding("spoils", what, mend or None)


def _asked(ask_torch: Callable[[], Probe]) -> Probe | Finding:
    try:
        return ask_torch()
    except ProbeError as error:
        missing = "No module named 'torch'" in str(error)
        mend = "install torch for this Python" if missing else None
        return Finding("spoils", f"torch cannot be used: {error}", mend)


def _processors() -> Finding:
    allowed, there = environment.affinity() or os.cpu_count() or 1, os.cpu_count() or 1
    return Finding(
        "ok", f"{environment.cpu_model()}: {allowed} of {number_of(there, 'processor')} may be used"
    )


def _clock(places: preflight.KernelFolders) -> Iterator[Finding]:
    """Report a slow clock: one outside the processor takes microseconds to read."""
    file = places.sys / "devices/system/clocksource/clocksource0/current_clocksource"
    name = preflight.read_text(file).strip()
    if name in SLOW_CLOCKS:
        yield Finding(
            "spoils",
            f"the kernel reads its clock from {name}, which takes microseconds",
            "boot with clocksource=tsc where the processor has a constant one",
        )


def _threads(variables: Mapping[str, str], places: preflight.KernelFolders) -> Iterator[Finding]:
    """A thread for each processor, for each core, or for each that a quota allows is right."""
    allowed = environment.affinity() or os.cpu_count() or 1
    cores = len(set(preflight.cores_of(places, preflight.processors())))
    quota = environment.quota_cores(places.proc, places.groups)
    right = {allowed, cores or allowed, allowed if quota is None else max(1, int(quota))}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = variables.get(name, "")
        if value.isdecimal() and int(value) not in right:
            yield Finding(
                "spoils",
                f"{name}={value} sets the threads of torch; "
                f"{number_of(allowed, 'processor')} may be used",
                f"unset {name}, and give --threads where another number is meant",
            )


def _compiler(found: Probe, variables: Mapping[str, str]) -> Iterator[Finding]:
    compiler, named = found.torch_details.get("compiler"), variables.get("CXX")
    if compiler:
        yield Finding("ok", f"torch.compile has a C++ compiler: {compiler}")
    else:
        yield Finding(
            "lacks",
            "no C++ compiler: torch.compile cannot work on the CPU",
            "install g++ (Debian, Ubuntu: apt-get install g++)"
            if named is None
            else f"unset CXX, which is {named!r}, or let it name a C++ compiler",
        )
    said = {
        (one.compile_lacks, one.compile_mend)
        for one in found.devices.values()
        if one.compile_lacks is not None
    }
    for lacks, mend in sorted(said, key=str):
        yield Finding("lacks", str(lacks), mend)


def _disk(folder: Path) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Finding("spoils", refused(error, str(folder)), "choose another folder")
        return
    if not os.access(folder, os.W_OK):
        yield Finding("spoils", f"{folder} cannot be written", "give --out a folder that can")
    elif free < LEAST_DISK_BYTES:
        yield Finding(
            "spoils",
            f"{units.bytes_(free)} are free in {folder}, and a run may need "
            f"{units.bytes_(LEAST_DISK_BYTES)}",
            "free some, or give --out another folder",
        )


def _commit(folder: Path) -> Iterator[Finding]:
    if why := environment.no_commit(folder):
        text = f"no commit is stored beside the figures: {why}"
        yield Finding("lacks", text, COMMITS.get(why))


def _devices(
    found: Probe, listed: Sequence[Gpu], variables: Mapping[str, str]
) -> Iterator[Finding]:
    yield Finding("ok", f"torch {found.torch}")
    accelerators = [one for one in found.devices.values() if one.type != "cpu"]
    seen = visible(listed, variables)
    for device in accelerators:
        yield Finding("ok", f"{device.name} is {device.shown}")
    if listed and not any(one.type == "cuda" for one in accelerators):
        yield _unseen(found, listed[0], {} if seen else variables)
    for gpu in seen:
        yield from _gpu_settings(gpu)
    if not accelerators and not listed:
        built_for_gpu = found.torch_details.get("cuda") or found.torch_details.get("hip")
        yield Finding(
            "lacks",
            "no accelerator: figures are of the CPU alone",
            found.no_gpu if built_for_gpu else None,
        )


def _unseen(found: Probe, gpu: Gpu, hiding: Mapping[str, str]) -> Finding:
    """NVIDIA's driver lists a GPU that torch cannot use.

    hiding: the variables, if they hide all GPUs.
    """
    lists = f"NVIDIA's driver {gpu.driver} lists {gpu.name}, and torch {found.torch}"
    without_cuda = found.torch_details.get("cuda", "unknown") is None or "+cpu" in found.torch
    if hiding and not without_cuda:
        return Finding(
            "lacks",
            f"{lists} does not see it, because {VISIBLE} is {hiding[VISIBLE]!r}",
            f"unset {VISIBLE}, or give it numbers or UUIDs of nvidia-smi -L",
        )
    cuda = str(found.torch_details.get("cuda") or "").partition(".")[0]
    oldest = OLDEST_DRIVERS.get(int(cuda)) if cuda.isdecimal() else None
    major = gpu.driver.partition(".")[0]
    if oldest is not None and major.isdecimal() and int(major) < oldest:
        return Finding(
            "lacks",
            f"{lists} needs driver {oldest} or newer for its CUDA {cuda}",
            f"install driver {oldest} or newer, or the torch build for an older CUDA "
            "(pytorch.org/get-started)",
        )
    build = "is built without CUDA" if without_cuda else "does not find it"
    if cuda and found.no_gpu:
        return Finding("lacks", f"{lists} {build}", found.no_gpu)
    return Finding(
        "lacks",
        f"{lists} {build}",
        "install the torch build for a CUDA version that the driver supports "
        "(pytorch.org/get-started), or a newer driver",
    )


def _gpu_settings(gpu: Gpu) -> Iterator[Finding]:
    """Report settings that spoil figures (nvidia-smi(1): power limit, compute mode, ECC)."""
    setting, name = f"sudo nvidia-smi -i {gpu.index}", f"GPU {gpu.index}"
    limit, default = gpu.power_limit_w, gpu.default_limit_w
    if limit is not None and default is not None and limit < default:
        yield Finding(
            "spoils",
            f"{name} is capped at {limit:.0f} W of {default:.0f} W",
            f"{setting} -pl {default:.0f}",
        )
    if gpu.compute_mode == "Exclusive_Process":
        yield Finding(
            "lacks",
            f"{name} serves one process at a time (EXCLUSIVE_PROCESS): bench ab, which keeps both "
            "variants on it, cannot compare there",
            f"{setting} -c DEFAULT",
        )
    if gpu.compute_mode == "Prohibited":
        yield Finding(
            "lacks", f"{name} serves no process (compute mode PROHIBITED)", f"{setting} -c DEFAULT"
        )
    if gpu.persistence is False:
        yield Finding(
            "lacks",
            f"{name} has its persistence mode off: its driver is started anew, in 1 to 3 s, for a "
            "process that comes when no other uses the GPU",
            f"{setting} -pm 1",
        )
    if gpu.ecc_errors:
        yield Finding(
            "spoils",
            f"{name} could not correct {gpu.ecc_errors} errors of its memory since its driver was "
            "loaded",
            f"look at nvidia-smi -i {gpu.index} -q -d ECC,ROW_REMAPPER, restart the machine, and "
            "replace the card if they come back",
        )
    if gpu.ecc_pending is not None and gpu.ecc is not None and gpu.ecc_pending != gpu.ecc:
        yield Finding(
            "spoils",
            f"ECC of {name} is {gpu.ecc.lower()} and will be {gpu.ecc_pending.lower()} after a "
            "restart: memory is then faster or slower",
            "restart the machine before you measure what later runs are compared with",
        )
