"""The GPUs that NVIDIA's driver lists, and which of them a process may use."""

import csv
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    "uuid",
)
VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"  # CUDA Programming Guide, variables
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
    uuid: str | None = None  # GPU-…


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
    return [_gpu(row) for row in rows]


def _gpu(row: list[str]) -> Gpu:
    index, name, driver, *more = row
    limit, default, persistence, compute_mode, ecc, pending, errors, uuid = map(_known, more)
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
        uuid=uuid,
    )


def visible(listed: Sequence[Gpu], variables: Mapping[str, str]) -> list[Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves to a process; all where that is unknown.

    CUDA takes those before the first name that it does not know.  Its numbers are the driver's
    where all cards are alike, or CUDA_DEVICE_ORDER says so.
    """
    value = variables.get(VISIBLE)
    if value is None or value.startswith("MIG-"):
        return list(listed)
    found: dict[str, Gpu] = {}
    parts = [part.strip() for part in value.split(",")]
    for part in parts:
        gpu = _meant(part, listed)
        if gpu is None:
            break
        found[gpu.index] = gpu
    alike = variables.get(ORDER) == "PCI_BUS_ID" or len({one.name for one in listed}) == 1
    unclear = found and not alike and any(map(str.isdecimal, parts))
    return list(listed) if unclear else list(found.values())


def _meant(part: str, listed: Sequence[Gpu]) -> Gpu | None:
    if part.startswith("GPU-"):
        same = [one for one in listed if one.uuid and one.uuid.startswith(part)]
        return same[0] if len(same) == 1 else None
    return listed[int(part)] if part.isdecimal() and int(part) < len(listed) else None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _known(text: str) -> str | None:
    """Return the value; None if the card has no such thing, or the driver does not tell."""
    return None if text.startswith("[") or not text or text in UNTOLD else text
