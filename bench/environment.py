"""The machine and the environment, as they go into run.json.

A list of what is wanted, never all there is: results get published.  Nothing here needs torch;
what torch knows, the probe adds.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

WANTED_VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|MALLOC|CUDA|CUDNN|CUBLAS|NVIDIA|HIP|ROCR|TORCH|TORCHINDUCTOR|"
    r"PYTORCH|TRITON)_[A-Z0-9_]+"
)
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|KEY|CREDENTIAL", re.IGNORECASE)
WANTED_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16", "amx_tile", "fma")


def machine(accelerators: Mapping[str, str]) -> dict[str, Any]:
    """Stable facts, and `machine_id`, a digest of them.

    accelerators: device name → name as its driver gives it.
    """
    stable = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu_model": cpu_model(),
        "cpu_flags": [flag for flag in WANTED_FLAGS if flag in _cpu_flags()],
        "cores": psutil.cpu_count(logical=False),
        "processors": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "accelerators": dict(accelerators),
    }
    digest = hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()[:12]
    return {
        "machine_id": digest,
        **stable,
        "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "quota_cores": quota_cores(),
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
    }


def environment() -> dict[str, Any]:
    """What may change between two runs on one machine."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if WANTED_VARIABLES.fullmatch(name) and not SECRET.search(name)
        },
        **git_state(Path.cwd()),
    }


def git_state(folder: Path) -> dict[str, Any]:
    """The commit of `folder` and whether its tracked files differ from it."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": None, "git_dirty": None}
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_dirty": None if status is None else bool(status)}


def quota_cores() -> float | None:
    """Processors that the container may use; None = no limit.  Source: cgroup v2 and v1."""
    line = _first_line(Path("/sys/fs/cgroup/cpu.max"))
    if line:
        quota, _, period = line.partition(" ")
        return None if quota == "max" or not period else int(quota) / int(period)
    quota_us = _first_line(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
    period_us = _first_line(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
    if quota_us and period_us and int(quota_us) > 0:
        return int(quota_us) / int(period_us)
    return None


def warnings() -> list[str]:
    """What about this machine, now, would disturb a measurement."""
    found = []
    processors = psutil.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5 * processors:
        found.append(
            f"the machine is busy (load {load:.1f} on {processors} processors): expect wide "
            "intervals"
        )
    quota = quota_cores()
    if quota is not None and quota < processors:
        found.append(f"the container may use {quota:g} of {processors} processors: set --threads")
    governor = _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    if governor == "powersave":
        found.append("the processor saves power (governor powersave): choose performance")
    return found


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpuinfo(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError, UnicodeDecodeError):
        return None
