"""A system check in full: what this machine lacks, or does, that would spoil figures.

`preflight` has the part that every run looks at.  Here are the checks that take longer, or that
matter for some settings only.  Each finding says what is wrong and how to mend it.
"""

import csv
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.core import units
from bench.core.errors import refused
from bench.core.text import number_of
from bench.host import environment, kernel_checks, preflight
from bench.host.finding import Finding
from bench.host.probe import ProbeError
from bench.host.probed import Probe

SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies")
LEAST_DISK_BYTES = 2**30  # a run, its compile caches and its float64 references take less
SMI_FIELDS = (
    "index",
    "name",
    "driver_version",
    "power.limit",
    "power.default_limit",
    "persistence_mode",
    "compute_mode",
    "ecc.mode.current",
    "ecc.mode.pending",
    "ecc.errors.uncorrected.volatile.total",
)
# The oldest driver, by its first number, for each CUDA (CUDA Compatibility, minor versions).
OLDEST_DRIVERS = {11: 450, 12: 525, 13: 580}
SMI_LIMIT_S = 20.0
UNTOLD = ("N/A", "Not Supported", "Unknown Error")  # in brackets mostly


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as `nvidia-smi` lists it; what it does not know is None."""

    index: str
    name: str
    driver: str
    power_limit_w: float | None
    default_limit_w: float | None
    persistence: bool | None = None
    compute_mode: str | None = None  # Default, Exclusive_Process, Prohibited
    ecc: str | None = None  # Enabled, Disabled
    ecc_pending: str | None = None  # after the next restart
    ecc_errors: int | None = None  # uncorrected ones since the driver was loaded


def findings(
    ask_torch: Callable[[], Probe],
    places: preflight.KernelFolders | None = None,
    variables: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    gpus: Callable[[], list[Gpu]] | None = None,
    disturbed: Callable[[], list[str]] = preflight.warnings,
) -> Iterator[Finding]:
    """Yield the findings of all checks, each as soon as it is known.

    ask_torch: looks at torch and its devices in a process of its own.  Raises ProbeError.
    disturbed: the warnings of `preflight`, which say themselves how to mend each.
    """
    places = places or preflight.KernelFolders()
    before = kernel_checks.counters(places)
    yield _processors()
    for warning in disturbed():
        what, _, mend = warning.partition(": ")
        yield Finding("spoils", what, mend or None)
    yield from kernel_checks.findings(places)
    yield from _clock(places)
    yield from _threads(variables)
    yield from _disk(folder or Path.cwd())
    yield from _commit(folder or Path.cwd())
    listed = (gpus or nvidia_smi)()
    found = _asked(ask_torch)
    yield from kernel_checks.grown(before, kernel_checks.counters(places))
    if isinstance(found, Finding):
        yield found
        return
    yield from _compiler(found)
    yield from _devices(found, listed)


def _asked(ask_torch: Callable[[], Probe]) -> Probe | Finding:
    try:
        return ask_torch()
    except ProbeError as error:
        mend = "install torch for this Python"
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


def _threads(variables: Mapping[str, str]) -> Iterator[Finding]:
    allowed = environment.affinity() or os.cpu_count() or 1
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = variables.get(name, "")
        if value.isdecimal() and int(value) != allowed:
            yield Finding(
                "spoils",
                f"{name}={value} sets the threads of torch; "
                f"{number_of(allowed, 'processor')} may be used",
                f"unset {name}, and give --threads where another number is meant",
            )


def _compiler(found: Probe) -> Iterator[Finding]:
    compiler = found.torch_details.get("compiler")
    if compiler:
        yield Finding("ok", f"torch.compile has a C++ compiler: {compiler}")
    else:
        yield Finding(
            "lacks",
            "no C++ compiler: torch.compile cannot work on the CPU",
            "install g++ (Debian, Ubuntu: apt-get install g++)",
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
        yield Finding(
            "lacks",
            f"no commit is stored beside the figures: {why}",
            "run in a git repository, so that a figure can be traced to its code",
        )


def nvidia_smi() -> list[Gpu]:
    """Return the GPUs that NVIDIA's driver lists; none if its tool is missing or is silent."""
    command = ["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=SMI_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [] if done.returncode else done.stdout.splitlines()
    rows = [row for row in csv.reader(lines, skipinitialspace=True) if len(row) == len(SMI_FIELDS)]
    return [_gpu(row) for row in rows]


def _gpu(row: list[str]) -> Gpu:
    index, name, driver, *more = row
    limit, default, persistence, compute_mode, ecc, pending, errors = map(_known, more)
    return Gpu(
        index=index,
        name=name,
        driver=driver,
        power_limit_w=_number(limit),
        default_limit_w=_number(default),
        persistence=None if persistence is None else persistence == "Enabled",
        compute_mode=compute_mode,
        ecc=ecc,
        ecc_pending=pending,
        ecc_errors=None if (count := _number(errors)) is None else int(count),
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _known(text: str) -> str | None:
    """Return the value; None if the card has no such thing, or the driver does not tell."""
    return None if text.startswith("[") or not text or text in UNTOLD else text


def _devices(found: Probe, listed: list[Gpu]) -> Iterator[Finding]:
    yield Finding("ok", f"torch {found.torch}")
    accelerators = [one for one in found.devices.values() if one.type != "cpu"]
    for device in accelerators:
        yield Finding("ok", f"{device.name} is {device.shown}")
    if listed and not any(one.type == "cuda" for one in accelerators):
        yield _unseen(found, listed[0])
    for gpu in listed:
        yield from _gpu_settings(gpu)
    if not accelerators and not listed:
        yield Finding("lacks", "no accelerator: figures are of the CPU alone")


def _unseen(found: Probe, gpu: Gpu) -> Finding:
    """Report a GPU that NVIDIA's driver lists and torch cannot use."""
    lists = f"NVIDIA's driver {gpu.driver} lists {gpu.name}, and torch {found.torch}"
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
    build = "is built without CUDA" if "+cpu" in found.torch else "does not find it"
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
