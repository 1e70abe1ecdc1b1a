"""What the driver of an NVIDIA GPU tells: clock, power, heat, energy, who else computes there.

Rules 30 to 32 of docs/trust.md.  Every figure fails alone: what this GPU, driver or permission does
not give is None.  Source: NVML API Reference (nvmlDeviceQueries), through nvidia-ml-py.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml
import torch

from bench.worker.device.cuda import nvml_handle
from bench.worker.timing.stopwatch import wall_clock

ENERGY_S = 2.0  # shortest time over which the energy counter, renewed every 0.1 s or so, says much
THROTTLED_SHARE = 0.01  # of the time held back by heat
MOST_CALLS_BETWEEN_WAITS = 16

# What slows a GPU down that is not a normal limit of its power: too hot, or the board pulled the
# brake.  Snapshots can miss them, so the counter of time lost to heat is read as well.
FAULT_REASONS = (
    "nvmlClocksThrottleReasonHwSlowdown",
    "nvmlClocksThrottleReasonSwThermalSlowdown",
    "nvmlClocksThrottleReasonHwThermalSlowdown",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
)


class NvidiaError(RuntimeError):
    """The driver cannot be asked about this device; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSnapshot:
    """A GPU at one moment.  None: unknown."""

    at_s: float
    energy_j: float | None  # of the board since the driver was loaded; of a slice unknown
    sm_clock_hz: float | None
    power_w: float | None
    temperature_c: float | None
    utilization_ratio: float | None  # share of the last sampling period in which a kernel ran
    hot_s: float | None  # time for which heat has held the clocks back, so far
    faulty: bool | None  # a slowdown that is no normal limit holds at this moment
    processes: frozenset[int] | None  # that compute on it, by the driver's process ids


class Gpu:
    """One GPU of torch's, as NVML knows it: by UUID, for the two number devices differently."""

    def __init__(
        self, uuid: str, nvml: Any = pynvml, clock: Callable[[], float] = wall_clock
    ) -> None:
        """uuid: as torch has it, without prefix.  Raises NvidiaError."""
        self._nvml, self._clock = nvml, clock
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise NvidiaError(f"NVML does not start: {error}") from None
        self._handle = nvml_handle(uuid, nvml)
        if self._handle is None:
            self.close()
            raise NvidiaError(f"NVML knows no GPU {uuid!r}")
        # MIG, several GPUs on one board (NVML API Reference, Multi Instance GPU Management): torch
        # computes on a slice.  A driver that knows nothing of it has none.
        own = bool(self._query("nvmlDeviceIsMigDeviceHandle", self._handle))
        mode = self._query("nvmlDeviceGetMigMode", self._handle)  # now, and after the next reset
        self._sees_all_slices = not own and bool(mode) and mode[0] == nvml.NVML_DEVICE_MIG_ENABLE
        self.is_slice = own or self._sees_all_slices

    def close(self) -> None:
        """Let go of the library."""
        self._query("nvmlShutdown")

    def snapshot(self) -> GpuSnapshot:
        """All figures now.  The board's energy and power are not those of a slice of it."""
        nvml, handle = self._nvml, self._handle
        energy_mj = power_mw = None
        if not self.is_slice:
            energy_mj = self._query("nvmlDeviceGetTotalEnergyConsumption", handle)
            power_mw = self._query("nvmlDeviceGetPowerUsage", handle)
        return GpuSnapshot(
            at_s=self._clock(),
            energy_j=_scaled(energy_mj, 1e-3),
            sm_clock_hz=_scaled(
                self._query("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM), 1e6
            ),
            power_w=_scaled(power_mw, 1e-3),
            temperature_c=_scaled(
                self._query("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU), 1.0
            ),
            utilization_ratio=_scaled(
                getattr(self._query("nvmlDeviceGetUtilizationRates", handle), "gpu", None), 0.01
            ),
            hot_s=_scaled(self._violated_ns(nvml.NVML_PERF_POLICY_THERMAL), 1e-9),
            faulty=self._faulty(),
            processes=self._processes(),
        )

    def _violated_ns(self, policy: int) -> int | None:
        found = self._query("nvmlDeviceGetViolationStatus", self._handle, policy)
        return getattr(found, "violationTime", None)

    def _faulty(self) -> bool | None:
        reasons = self._query("nvmlDeviceGetCurrentClocksEventReasons", self._handle)
        if reasons is None:  # drivers before 535 know it by its former name
            reasons = self._query("nvmlDeviceGetCurrentClocksThrottleReasons", self._handle)
        if reasons is None:
            return None
        return any(reasons & getattr(self._nvml, name) for name in FAULT_REASONS)

    def _processes(self) -> frozenset[int] | None:
        if self._sees_all_slices:
            return None
        found = self._query("nvmlDeviceGetComputeRunningProcesses", self._handle)
        return None if found is None else frozenset(int(one.pid) for one in found)

    def _query(self, function: str, *arguments: Any) -> Any:
        """None where this GPU, driver or permission does not answer."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError:
            return None


def gpu_of(device: str) -> Gpu | None:
    """The driver's view of torch's `cuda:1`; None where it has none (other makers, no library)."""
    type_, _, index = device.partition(":")
    if type_ != "cuda":
        return None
    properties = torch.cuda.get_device_properties(int(index or 0))
    try:
        return Gpu(str(getattr(properties, "uuid", "")))
    except NvidiaError:
        return None


@dataclass(slots=True)
class GpuMonitor:
    """What the driver saw of a GPU around the samples of one case; nothing without a GPU."""

    gpu: Gpu | None
    _before: GpuSnapshot | None = None
    _after: GpuSnapshot | None = None

    def start(self) -> None:
        self._before = self.gpu.snapshot() if self.gpu else None

    def stop(self) -> None:
        self._after = self.gpu.snapshot() if self.gpu else None

    def flags(self) -> list[str]:
        """Of the measurement: `throttled`, and `contended` where others compute on the GPU."""
        if self._before is None or self._after is None:
            return []
        others = max(foreign_processes(one) or 0 for one in (self._before, self._after))
        hot = throttled(self._before, self._after)
        return (["throttled"] if hot else []) + (["contended"] if others else [])

    def columns(self) -> dict[str, float]:
        """By column name."""
        return figures(self._before, self._after) if self._before and self._after else {}


def throttled(before: GpuSnapshot, after: GpuSnapshot) -> bool | None:
    """Whether heat or a fault held the clocks back between two looks; None: unknown."""
    if before.faulty or after.faulty:
        return True
    if before.hot_s is None or after.hot_s is None:
        return None if before.faulty is None else False
    return after.hot_s - before.hot_s > THROTTLED_SHARE * (after.at_s - before.at_s)


def foreign_processes(look: GpuSnapshot, own: int | None = None) -> int | None:
    """How many others compute on the GPU.

    own: this process' id.  In a container the driver reports ids of the host, among which one's own
    is not found: then one of them is taken to be it.
    """
    if look.processes is None:
        return None
    own = os.getpid() if own is None else own
    others = look.processes - {own}
    hidden = own not in look.processes and bool(others)
    return len(others) - (1 if hidden else 0)


def figures(before: GpuSnapshot, after: GpuSnapshot) -> dict[str, float]:
    """By column name; unknown ones are left out.

    after: taken while the GPU is still warm, and its clock high.
    """
    found = {
        "sm_clock_hz": after.sm_clock_hz,
        "power_w": power_w(before, after),
        "temperature_c": after.temperature_c,
        "gpu_utilization_ratio": after.utilization_ratio,
    }
    return {name: value for name, value in found.items() if value is not None}


def power_w(before: GpuSnapshot, after: GpuSnapshot) -> float | None:
    """The mean between two looks, ENERGY_S or more apart, from the energy; else the later reading.

    On GPUs before Ampere a reading is of one moment, since then the mean of the last second
    (nvmlDeviceGetPowerUsage).
    """
    spent_s, energy_j = after.at_s - before.at_s, energy_between_j(before, after)
    return after.power_w if energy_j is None or spent_s < ENERGY_S else energy_j / spent_s


def energy_between_j(before: GpuSnapshot, after: GpuSnapshot) -> float | None:
    """None where it is not counted, or the counter began anew in between."""
    if before.energy_j is None or after.energy_j is None or after.energy_j <= before.energy_j:
        return None
    return after.energy_j - before.energy_j


def energy_j_per_call(
    gpu: Gpu, call: Callable[[], object], wait: Callable[[], None]
) -> float | None:
    """From the counter of total energy over ENERGY_S or longer; None where there is none.

    The whole board's energy, and so what it needs when idle is in it.  A call that takes longer
    than ENERGY_S is made once.
    """
    wait()
    before, calls = gpu.snapshot(), 0
    if before.energy_j is None:
        return None
    after = before
    while (spent_s := after.at_s - before.at_s) < ENERGY_S:
        more = _calls_that_fit(ENERGY_S - spent_s, spent_s, calls)
        for _ in range(more):
            call()
        calls += more
        wait()
        after = gpu.snapshot()
    energy_j = energy_between_j(before, after)
    return None if energy_j is None else energy_j / calls


def _calls_that_fit(left_s: float, spent_s: float, calls: int) -> int:
    """Before the next look at the time: one at first, for nobody knows how long it takes."""
    if not calls:
        return 1
    fit = left_s * calls / spent_s if spent_s > 0 else MOST_CALLS_BETWEEN_WAITS
    return max(1, min(MOST_CALLS_BETWEEN_WAITS, int(fit)))


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else float(value) * factor
