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
SMI_FIELDS = ("index", "name", "driver_version", "power.limit", "power.default_limit")
SMI_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as `nvidia-smi` lists it; what it does not know is None."""

    index: str
    name: str
    driver: str
    power_limit_w: float | None
    default_limit_w: float | None


def findings(
    ask_torch: Callable[[], Probe],
    places: preflight.KernelFolders | None = None,
    variables: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    gpus: Callable[[], list[Gpu]] | None = None,
    disturbed: Callable[[], list[str]] = preflight.warnings,
) -> Iterator[Finding]:
    """All checks, one after the other, each as soon as it is known.

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
    """A clock that is no register of the processor is read in microseconds."""
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
    compiler = found.facts.get("compiler")
    if compiler:
        yield Finding("ok", f"torch.compile has a C++ compiler: {compiler}")
    else:
        yield Finding(
            "lacks",
            "no C++ compiler: torch.compile cannot work on the CPU",
            "install g++ (Debian, Ubuntu: apt-get install g++)",
        )


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
    """The GPUs that NVIDIA's driver lists; none where its tool is missing or does not answer."""
    command = ["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=SMI_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [] if done.returncode else done.stdout.splitlines()
    rows = [row for row in csv.reader(lines, skipinitialspace=True) if len(row) == len(SMI_FIELDS)]
    return [
        Gpu(index, name, driver, _watts(limit), _watts(default))
        for index, name, driver, limit, default in rows
    ]


def _watts(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # [N/A] on many cards
        return None


def _devices(found: Probe, listed: list[Gpu]) -> Iterator[Finding]:
    yield Finding("ok", f"torch {found.torch}")
    accelerators = [one for one in found.devices.values() if one.type != "cpu"]
    for device in accelerators:
        yield Finding("ok", f"{device.name} is {device.shown}")
    if listed and not any(one.type == "cuda" for one in accelerators):
        build = "is built without CUDA" if "+cpu" in found.torch else "does not find it"
        yield Finding(
            "lacks",
            f"NVIDIA's driver {listed[0].driver} lists {listed[0].name}, and torch {found.torch} "
            f"{build}",
            "install the torch build for a CUDA version that the driver supports "
            "(pytorch.org/get-started), or a newer driver",
        )
    for gpu in listed:
        limit, default = gpu.power_limit_w, gpu.default_limit_w
        if limit is not None and default is not None and limit < default:
            yield Finding(
                "spoils",
                f"GPU {gpu.index} is capped at {limit:.0f} W of {default:.0f} W",
                f"sudo nvidia-smi -i {gpu.index} -pl {default:.0f}",
            )
    if not accelerators and not listed:
        yield Finding("lacks", "no accelerator: figures are of the CPU alone")
