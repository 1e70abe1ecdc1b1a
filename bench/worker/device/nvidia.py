"""Figures of the driver of an NVIDIA GPU: clock, power, heat, energy, the processes on it.

Every figure fails alone: what this GPU, driver or permission does not give is None.  Source: NVML
API Reference (nvmlDeviceQueries), through nvidia-ml-py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml
import torch

from bench.worker.device.cuda import nvml_handle
from bench.worker.timing.stopwatch import wall_clock

# Numbers of nvml.h, which its binary interface keeps.  The bindings rename or remove their names.
SUCCESS, NOT_FOUND = 0, 6  # nvmlReturn_t
CLOCK_SM, TEMPERATURE_GPU, PERF_POLICY_THERMAL, MIG_ENABLE = 1, 0, 1, 1
# Reasons for a lower clock other than the normal limit of power: heat, or a brake of the board.
# Snapshots can miss them, so the counter of time lost to heat is read as well.
# nvmlClocksEventReason… (before: nvmlClocksThrottleReason…) HwSlowdown, SwThermalSlowdown,
# HwThermalSlowdown, HwPowerBrakeSlowdown.
FAULT_REASONS = 0x08 | 0x20 | 0x40 | 0x80


class NvidiaError(RuntimeError):
    """The driver cannot be asked about this device; the message says why."""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """A process that used the GPU in one sampling period of the driver, up to a second."""

    process: int  # as the driver numbers them
    at_us: int  # end of the period, by the driver's clock
    busy_ratio: float  # share of the period in which its kernels ran


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
    contexts: frozenset[int] | None  # processes that may compute on it, idle ones included
    samples: tuple[ProcessSample, ...] | None  # of processes that used it


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSettings:
    """Settings of a GPU by its driver.  None: unknown."""

    driver: str | None
    power_limit_w: float | None
    persistence: bool | None  # the driver stays loaded while no process uses the GPU
    mig: bool | None


class Gpu:
    """One GPU of torch's, found in NVML by its UUID, since the two number devices differently."""

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
        self._sees_all_slices = not own and bool(mode) and mode[0] == MIG_ENABLE
        self.is_slice = own or self._sees_all_slices
        self._mig = self.is_slice if own or mode else None

    def close(self) -> None:
        """Shut down NVML for this process."""
        self._query("nvmlShutdown")

    def settings(self) -> GpuSettings:
        """Return how the driver runs the GPU: settings that stay until somebody changes them."""
        driver = self._query("nvmlSystemGetDriverVersion")
        persistence = self._query("nvmlDeviceGetPersistenceMode", self._handle)
        limit_mw = self._query("nvmlDeviceGetPowerManagementLimit", self._handle)
        return GpuSettings(
            driver=driver.decode() if isinstance(driver, bytes) else driver,
            power_limit_w=_scaled(limit_mw, 1e-3),
            persistence=None if persistence is None else bool(persistence),
            mig=self._mig,
        )

    def snapshot(self, since_us: int = 0) -> GpuSnapshot:
        """Return all figures now.  The board's energy and power are not those of a slice of it.

        since_us: samples of processes later than that, by the driver's clock; 0: all it still has.
        """
        handle = self._handle
        power_mw = None if self.is_slice else self._query("nvmlDeviceGetPowerUsage", handle)
        return GpuSnapshot(
            at_s=self._clock(),
            energy_j=self.energy_j(),
            sm_clock_hz=_scaled(self._query("nvmlDeviceGetClockInfo", handle, CLOCK_SM), 1e6),
            power_w=_scaled(power_mw, 1e-3),
            temperature_c=_scaled(self._temperature_c(), 1.0),
            utilization_ratio=self.utilization_ratio(),
            hot_s=_scaled(self._violated_ns(PERF_POLICY_THERMAL), 1e-9),
            faulty=self._faulty(),
            contexts=self._contexts(),
            samples=self._samples(since_us),
        )

    def energy_j(self) -> float | None:
        """Return the board's joules since the driver was loaded; None for a slice of a GPU."""
        if self.is_slice:
            return None
        return _scaled(self._query("nvmlDeviceGetTotalEnergyConsumption", self._handle), 1e-3)

    def utilization_ratio(self) -> float | None:
        """Return the share of the last sampling period (1/6 to 1 s) with a kernel running."""
        rates = self._query("nvmlDeviceGetUtilizationRates", self._handle)
        return _scaled(getattr(rates, "gpu", None), 0.01)

    def _temperature_c(self) -> int | None:
        found: int | None = self._query("nvmlDeviceGetTemperature", self._handle, TEMPERATURE_GPU)
        if found is None:  # the newer name
            found = self._query("nvmlDeviceGetTemperatureV", self._handle, TEMPERATURE_GPU)
        return found

    def _violated_ns(self, policy: int) -> int | None:
        found = self._query("nvmlDeviceGetViolationStatus", self._handle, policy)
        return getattr(found, "violationTime", None)

    def _faulty(self) -> bool | None:
        reasons = self._query("nvmlDeviceGetCurrentClocksEventReasons", self._handle)
        if reasons is None:  # drivers before 535 know it by its former name
            reasons = self._query("nvmlDeviceGetCurrentClocksThrottleReasons", self._handle)
        if reasons is None:
            return None
        return bool(reasons & FAULT_REASONS)

    def _contexts(self) -> frozenset[int] | None:
        if self._sees_all_slices:
            return None
        found = self._query("nvmlDeviceGetComputeRunningProcesses", self._handle)
        return None if found is None else frozenset(int(one.pid) for one in found)

    def _samples(self, since_us: int) -> tuple[ProcessSample, ...] | None:
        if self.is_slice:
            return None
        try:
            found = self._nvml.nvmlDeviceGetProcessUtilization(self._handle, since_us)
        except self._nvml.NVMLError as error:
            # No process used it.  The bindings raise where the driver succeeds with none, too.
            return () if error.value in (SUCCESS, NOT_FOUND) else None
        except AttributeError:
            return None
        return tuple(
            ProcessSample(int(one.pid), int(one.timeStamp), one.smUtil / 100)
            for one in found
            if one.timeStamp > since_us
        )

    def _query(self, function: str, *arguments: Any) -> Any:
        """Return the answer of one NVML function; None if it is refused or missing here."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None


def gpu_of(device: str) -> Gpu | None:
    """Return the driver's view of torch's `cuda:1`; None if it has none (no NVIDIA, no NVML)."""
    type_, _, index = device.partition(":")
    if type_ != "cuda":
        return None
    properties = torch.cuda.get_device_properties(int(index or 0))
    try:
        return Gpu(str(getattr(properties, "uuid", "")))
    except NvidiaError:
        return None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else float(value) * factor
