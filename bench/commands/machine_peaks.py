"""The machine's peaks in a run: kept ones from the start, else measured once in its course."""

import datetime
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.records import Case
from bench.engine.scheduler import OneOff
from bench.host import environment, peaks
from bench.host.kept_peaks import Store, cache_folder, written
from bench.results import run_directory

Measure = Callable[[Sequence[Case], float], tuple[dict[str, list[dict[str, Any]]], list[str]]]
# What the peaks depend on, beside the devices: `machine` and `environment` of run.json, the
# settings of the GPUs and the variables of the process.
BUILD = ("torch", "torch_git", "cuda", "hip", "cudnn", "cpu_capability", "threads")
MACHINE = ("machine_id", "affinity", "processors_allowed", "quota_cores", "governor")


def store(
    machine: Mapping[str, Any],
    torch_details: Mapping[str, Any],
    given: Mapping[str, str] = os.environ,
) -> Store:
    """Return the place where the peaks of this machine and build of torch are kept.

    given: the variables of this process.  Peaks under `DNNL_MAX_CPU_ISA=SSE41` or a power limit
           would make the rows of the next run impossibly fast.
    """
    known = {name: machine.get(name) for name in MACHINE}
    known |= {name: torch_details.get(name) for name in BUILD}
    known["gpus"] = environment.fixed_of_gpus(machine.get("gpus", {}))
    known["variables"] = environment.variables(given, given.get("HOME", ""))
    return Store(cache_folder(given), known)


@dataclass(frozen=True, slots=True)
class MachinePeaks:
    """The peaks that the cases of a run are held against."""

    store: Store
    cases: Sequence[Case]
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    measure: Measure = peaks.measure

    def kept(self) -> dict[str, Any]:
        """Return `peaks` and `peaks_from` of run.json for devices that earlier runs measured."""
        found = self.store.load(self.cases, self.now())
        return {
            "peaks": {device: one.fields for device, one in found.items()},
            "peaks_from": {
                device: {"measured": one.measured, "kept": True} for device, one in found.items()
            },
        }

    def one_off(
        self,
        machine: Mapping[str, Any],
        directory: run_directory.RunDir,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> OneOff | None:
        """Return the work that measures the missing parts of `machine` in run.json, or None."""
        lacking = [case for case in self.cases if case.device not in machine.get("peaks", {})]
        if not lacking:
            return None
        return OneOff(
            lambda: self._add(lacking, directory, timeout_s, say),
            peaks.expected_s(lacking),
            "measure the machine's peaks, so no row is held against them",
        )

    def _add(
        self,
        lacking: Sequence[Case],
        directory: run_directory.RunDir,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        found, problems = self.measure(lacking, timeout_s)
        for problem in problems:
            say(f"note: its peaks are unknown, so no row is held against them ({problem})")
        if peaks.disturbed(found):
            say(
                "note: other work disturbed the measuring of the machine's peaks; no row is held "
                "against those"
            )
        now = self.now()
        self.store.save(self.cases, found, now)
        document = json.loads(directory.description.read_text(encoding="utf-8"))
        machine = document["machine"]
        of_now = {device: {"measured": written(now), "kept": False} for device in found}
        machine["peaks"] = {**machine.get("peaks", {}), **found}
        machine["peaks_from"] = {**machine.get("peaks_from", {}), **of_now}
        run_directory.change(directory, document)


def told(machine: Mapping[str, Any]) -> list[str]:
    """Return the devices whose peaks were kept, in words."""
    return [
        f"note: the peaks of {device} are those of {origin['measured']}; --fresh-peaks measures "
        "them again"
        for device, origin in machine.get("peaks_from", {}).items()
        if origin["kept"]
    ]
