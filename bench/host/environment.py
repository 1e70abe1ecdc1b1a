"""The description of the machine and the environment in run.json.

It holds a fixed list of details and never the whole environment, because results are published.
This module does not need torch; the probe adds the details that torch knows.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from bench import start
from bench.core.text import command
from bench.host import git

WANTED_VARIABLES = re.compile(
    r"LD_PRELOAD|GLIBC_TUNABLES|"
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|DNNL|ONEDNN|MALLOC|CUDA|CUDNN|CUBLAS|NVIDIA|HIP|ROCR|MIOPEN|ATEN|"
    r"TORCH|TORCHDYNAMO|TORCHINDUCTOR|PYTORCH|TRITON)_[A-Z0-9_]+"
)
# Variables that only say where something is stored: no figure depends on them.
PLACES = re.compile(r".+_(HOME|CACHE_DIR|CACHE_PATH|EXTENSIONS_DIR)|(CUDA|HIP)_PATH")
# Variables by which an image of a container describes itself.  The versions in use are stored as
# torch and the driver tell them.
OF_IMAGES = re.compile(
    r".+_VERSION|.+_BUILD(_[A-Z]+)?|.+_COMPONENT_LIST|NVIDIA_(REQUIRE_.+|DRIVER_CAPABILITIES|"
    r"PRODUCT_NAME)"
)
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|KEY|CREDENTIAL", re.IGNORECASE)
SUITE = Path(start.SUITE).resolve()
# The parts of the suite that measure; the others only read results.
MEASURES = ("ab", "core", "engine", "host", "plan", "worker", "start.py")
GIT_S = 20  # after which an answer of git counts as none
# Why no commit is known; other reasons say themselves what to do.
NO_GIT = "git is not installed"
NO_REPOSITORY = "this is not a git repository"
NO_COMMIT = "the repository has no commit yet"
PROC, SYS, GROUPS = Path("/proc"), Path("/sys"), Path("/sys/fs/cgroup")
# Details of a GPU from torch and its driver → their names in messages.
FIXED_OF_GPUS = {
    "driver": "driver",
    "capability": "compute capability",
    "memory_bytes": "memory",
    "power_limit_w": "power limit",
    "mig": "MIG mode",
}
WANTED_FLAGS = (
    "avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16", "amx_tile", "fma",
    "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2",  # of ARM
)  # fmt: skip
# Implementer and part of common ARM cores (util-linux, sys-utils/lscpu-arm.c).
ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
}


def machine(accelerators: Mapping[str, str], proc: Path = PROC) -> dict[str, Any]:
    """Return the stable details of the machine, and `machine_id`, a digest of them.

    accelerators: device name → name that its driver reports.
    """
    flags = _cpu_flags(proc)
    stable = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu_model": cpu_model(proc),
        "cpu_flags": [flag for flag in WANTED_FLAGS if flag in flags],
        "cores": psutil.cpu_count(logical=False),
        "processors": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "accelerators": dict(accelerators),
    }
    of_stable = hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()[:12]
    return {
        "machine_id": of_stable,
        "node": node(),
        **stable,
        "affinity": affinity(),
        "processors_allowed": processors_allowed(),
        "quota_cores": quota_cores(),
        "governor": _first_line(SYS / "devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def node(proc: Path = PROC) -> str:
    """Return a name for this computer that says nothing about its owner.

    The digest of the kernel's boot id (random(4)): containers on one computer share it, and equal
    images on two do not.
    """
    told = _first_line(proc / "sys/kernel/random/boot_id") or platform.node()
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def environment() -> dict[str, Any]:
    """Return the details that can change between two runs on one machine."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "variables": variables(os.environ, os.environ.get("HOME", "")),
        "suite": suite_digest(),
        **git_state(Path.cwd()),
    }


def variables(given: Mapping[str, str], home: str) -> dict[str, str]:
    """Return the variables that figures depend on, without personal data.

    home: the home directory, which is replaced by `~`.
    """
    found = {}
    for name, value in sorted(given.items()):
        if not WANTED_VARIABLES.fullmatch(name) or SECRET.search(name):
            continue
        if PLACES.fullmatch(name) or OF_IMAGES.fullmatch(name):
            continue
        if name == "LD_PRELOAD":
            value = " ".join(Path(one).name for one in re.split(r"[\s:]+", value) if one)
        found[name] = value.replace(home, "~") if len(home) > 1 else value
    return found


def suite_digest(folder: Path = SUITE) -> str:
    """Return a digest of the code that measures.

    An installed suite is in no repository of the user, so its commit is unknown.  Code that only
    reads results is left out: a run can be resumed after a change to it.
    """
    files = sorted(one for one in folder.rglob("*") if one.suffix in (".py", ".toml"))
    named = [(one.relative_to(folder), one) for one in files]
    each = [(str(name), digest(one)) for name, one in named if name.parts[0] in MEASURES]
    return hashlib.sha256(json.dumps(each).encode()).hexdigest()[:12]


def fixed_details(machine: Mapping[str, Any], around: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change within a run, by the name that messages use.

    around: `environment()` and the details from the probe.

    Raises KeyError, TypeError or AttributeError.
    """
    return {
        "machine": machine["machine_id"],
        "torch": around["torch"],
        "cuDNN": around.get("cudnn"),
        "instruction set": around.get("cpu_capability"),
        "Python": around["python"],
        "bench": around.get("suite"),
        "commit": around["git_commit"],
        "state of the working tree": around.get("git_changes"),
        "number of threads": around["threads"],
        "number of processors allowed": machine["affinity"],
        "set of processors allowed": machine.get("processors_allowed"),
        "quota of processors": machine["quota_cores"],
        **fixed_of_gpus(machine.get("gpus", {})),
        **{f"environment variable {name}": value for name, value in around["variables"].items()},
    }


def fixed_of_gpus(gpus: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the details of each GPU on which figures depend, by device.

    Whether the driver stays loaded (persistence) changes no figure.
    """
    return {
        f"{words} of {name}": details.get(key)
        for name, details in gpus.items()
        for key, words in FIXED_OF_GPUS.items()
    }


def git_state(folder: Path) -> dict[str, Any]:
    """Return the commit of `folder`, and a digest of its uncommitted changes."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": None, "git_dirty": None, "git_changes": None}
    # The user's own diff tool must not change the output.
    changes = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "HEAD")
    of_changes = hashlib.sha256(changes.encode()).hexdigest()[:12] if changes else None
    return {
        "git_commit": commit,
        "git_dirty": None if changes is None else bool(changes),
        "git_changes": of_changes,
    }


def is_new_to_git(folder: Path, files: Iterable[Path]) -> bool:
    """Return whether one of these files lies in the repository, neither tracked nor ignored."""
    top = git.top_of(folder)
    inside = [str(one) for one in files if one.is_relative_to(top)]
    others = ("--literal-pathspecs", "ls-files", "--others", "--exclude-standard", "-z", "--")
    return bool(inside) and bool(_git(top, *others, *inside))


def digest(file: Path) -> str | None:
    """Return a digest of the file; None if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError:
        return None


def affinity() -> int | None:
    """Return the number of processors that this process may run on."""
    allowed = processors_allowed()
    return None if allowed is None else len(allowed)


def processors_allowed() -> list[int] | None:
    """Return the processors that this process may run on; they can differ in speed."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def cgroup_files(controller: str, name: str, proc: Path, groups: Path) -> Iterator[Path]:
    """Yield the places of the file `name` in this process' control group and its parents.

    Version 2 has one tree for all controllers, version 1 has one for each (cgroups(7)).  In a
    container the paths can be those of the host; then the root of the tree counts.
    """
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for line in lines or ["0::/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = groups / controller if controllers else groups
        own = root / path.strip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield folder / name


def quota_cores(proc: Path = PROC, groups: Path = GROUPS) -> float | None:
    """Return how many processors the container may use; None = no limit (cgroup v1 and v2)."""
    limits = [
        _ratio(*(_first_line(file) or "").split(" ")[:2])
        for file in cgroup_files("cpu", "cpu.max", proc, groups)
    ] + [
        _ratio(_first_line(file), _first_line(file.with_name("cpu.cfs_period_us")))
        for file in cgroup_files("cpu", "cpu.cfs_quota_us", proc, groups)
    ]
    return min((one for one in limits if one is not None), default=None)


def _ratio(quota: str | None = None, period: str | None = None) -> float | None:
    """Return quota / period; None if there is no limit (`max`, -1, or no value)."""
    try:
        return int(quota or "") / int(period or "") if int(quota or "") > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def no_commit(folder: Path) -> str | None:
    """Return why `folder` has no commit, and what to do; None if it has one."""
    try:
        done = git.asked(folder, "rev-parse", "--verify", "HEAD", timeout_s=GIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        if isinstance(error, FileNotFoundError) and folder.is_dir():
            return NO_GIT
        return f"git: {getattr(error, 'strerror', None) or 'it did not answer within 20 s'}"
    if done.returncode == 0:
        return None
    if (why := refused_by_git(done.stderr)) is not None:
        return why
    return NO_COMMIT


def refused_by_git(said: str) -> str | None:
    """Return why git cannot read the repository, and what to do; None if it can.

    said: the message of git, in English.
    """
    if "not a git repository" in said:
        return NO_REPOSITORY
    if owned := re.search(r"detected dubious ownership in repository at '(.*)'", said):
        mend = command("git", "config", "--global", "--add", "safe.directory", owned[1])
        return f"the repository {owned[1]} belongs to another user; if you trust it: {mend}"
    if "Needed a single revision" in said or not said.strip():
        return None
    fatal = next((one for one in said.splitlines() if one.startswith("fatal: ")), said.strip())
    return "git says: " + fatal.removeprefix("fatal: ")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = git.asked(folder, *arguments, timeout_s=GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def last_cache_bytes(processors: Collection[int] | None = None, sys: Path = SYS) -> int | None:
    """Return the total size of the last-level caches; None if the system does not say.

    processors: their numbers; None = those that this process may run on.

    A processor with several dies has a last-level cache on each, and all of them are added.
    Source: Documentation/ABI/testing/sysfs-devices-system-cpu.
    """
    if processors is None:
        processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    sizes: dict[tuple[int, str], int] = {}
    for number in processors:
        for index in (sys / f"devices/system/cpu/cpu{number}/cache").glob("index*"):
            level, size = _first_line(index / "level"), _first_line(index / "size")
            shared = _first_line(index / "shared_cpu_list") or str(number)
            if level and level.isdecimal() and (found := re.fullmatch(r"([0-9]+)K", size or "")):
                sizes[int(level), shared] = int(found[1]) * 2**10
    last = max((level for level, _ in sizes), default=None)
    return sum(size for (level, _), size in sizes.items() if level == last) or None


def _cpuinfo(key: str, proc: Path) -> list[str]:
    """Return the different values of a key, in the order of the processors."""
    try:
        text = (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = re.findall(rf"^{key}[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    return list(dict.fromkeys(one.strip() for one in found if one.strip()))


def cpu_model(proc: Path = PROC) -> str:
    """Return the name of the processor.

    Linux tells no name of an ARM processor: its cores have numbers, several where they differ.
    """
    named = _cpuinfo("model name", proc)[:1] or [", ".join(_arm_cores(proc)) or _of_macos()]
    return named[0] or platform.processor() or platform.machine()


def _arm_cores(proc: Path) -> list[str]:
    makers = _cpuinfo("CPU implementer", proc)
    return sorted(
        ARM_CORES.get((maker, part), f"ARM {maker} {part}")
        for maker in makers[:1]
        for part in _cpuinfo("CPU part", proc)
    )


def _of_macos() -> str:
    if platform.system() != "Darwin":
        return ""
    try:
        asked = ("sysctl", "-n", "machdep.cpu.brand_string")
        return subprocess.run(
            asked, capture_output=True, encoding="utf-8", timeout=GIT_S, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16 (x86 or ARM)."""
    return not _cpu_flags().isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))


def _cpu_flags(proc: Path = PROC) -> set[str]:
    """Return those of the first processor."""
    found = _cpuinfo("flags", proc) or _cpuinfo("Features", proc)
    return set(found[0].split()) if found else set()


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError, UnicodeDecodeError):
        return None
