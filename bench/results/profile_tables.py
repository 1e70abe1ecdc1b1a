"""The tables of `bench profile`: the cost of each layer, operator and kernel of a case.

The worker of a case writes one file (`found.json`).  Here it becomes the files for users.  Figures
are in SI base units for one step; an empty cell is unknown.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import decode
from bench.core.records import Case
from bench.results import directory_kind
from bench.results.csv_files import write_csv
from bench.results.run_directory import Folders

FOUND, SUMMARY, MEMORY = "found.json", directory_kind.OF_CASE, "memory.csv"
OPERATORS, LAYERS, KERNELS = "operators.csv", "layers.csv", "kernels.csv"
FUSED = "fused.csv"

LAYER_COLUMNS: Mapping[str, str] = {
    "case_id": "joins with the other files",
    "layer": "in the order of their calls; name#2 for the second call",
    "module": "without the number of the call: the same in all calls of a module",
    "type": "class of the module",
    "kind": "layer · module (its own code beside its layers) · graph (compiled) · residual",
    "forward_host_s": "host time in its forward, outside of the layers that it calls",
    "backward_host_s": "host time of the autograd nodes that its forward made",
    "optimizer_host_s": "",
    "host_s": "sum of the three",
    "host_ratio": "share of the whole step; all rows together are 1",
    "forward_device_s": "time in which the accelerator worked for it",
    "backward_device_s": "",
    "optimizer_device_s": "",
    "device_s": "sum of the three",
    "device_ratio": "share of the time in which the accelerator worked",
}
OPERATOR_COLUMNS: Mapping[str, str] = {
    "case_id": "joins with the other files",
    "operator": "the name under which torch dispatches it; autograd's nodes too",
    "calls": "number of calls in one step",
    "self_host_s": "host time without the operators that it calls",
    "host_s": "host time with the operators that it calls",
    "self_device_s": "time of the kernels that it launched",
    "device_s": "time of these kernels and of those of the operators that it calls",
    "self_allocated_bytes": "memory that it allocated itself, whether freed since or not",
    "allocated_bytes": "memory that it and the operators that it calls allocated",
    "flops": "FLOPs of convolutions and matrix products, multiply-add = 2; empty if unknown",
}
FUSED_COLUMNS: Mapping[str, str] = {
    "case_id": "joins with the other files",
    "kernel": "the name that inductor gave it, or the function of a library",
    "phase": "forward · backward",
    "kind": "fused (several operators) · single · library",
    "calls": "number of calls in one step; empty: the profile has no event of that name",
    "time_s": "time in one step: of the host on a CPU, else of the device; empty: unknown",
    "operators": "the operators of eager code that it computes, in the order of the graph",
    "layers": "the modules whose forward called them",
}
KERNEL_COLUMNS = ("case_id", "kernel", "operator", "calls", "device_s")


class ProfileReadError(ValueError):
    """The file of a worker is not a profile; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The profile of one case.  Rows are as in the files, but without the ratios."""

    case: Case
    folder: Path
    steps: int
    whole_s: float  # of the host in the profiled step: on an accelerator, until it has issued it
    profiled_s: float  # of the step until the device is done, under the profiler
    unprofiled_s: float  # the same without it
    contended: bool  # other work took processor time
    layers: Sequence[Mapping[str, Any]]
    operators: Sequence[Mapping[str, Any]]
    kernels: Sequence[Mapping[str, Any]]
    device: Mapping[str, Any] | None  # times and verdict of an accelerator
    memory: Mapping[str, Any] | None
    notes: Sequence[str]
    fused: Sequence[Mapping[str, Any]] = ()  # kernels of compiled code

    @property
    def on_device(self) -> bool:
        """Return whether the accelerator's times are known; then these are the cost."""
        return any(row.get("device_s") for row in self.layers)

    @property
    def busy_s(self) -> float | None:
        """The time in which the accelerator worked; None if it is unknown."""
        if not self.on_device:
            return None
        return math.fsum(row["device_s"] or 0.0 for row in self.layers)

    @property
    def residual_s(self) -> float:
        """The host's time outside of all layers: the loss, autograd's own work, the optimizer."""
        return math.fsum(row["host_s"] for row in self.layers if row["kind"] == "residual")


def folder_of_worker(folders: Folders, case: Case, job: str) -> Path:
    """Return the folder that a worker leaves beside its record."""
    return (folders.scratch / f"{folders.of(case)}.{job}.json").with_suffix(".files")


def found(folder: Path) -> dict[str, Any]:
    """Return the content of a worker's file.  Raises ProfileReadError."""
    try:
        content = json.loads((folder / FOUND).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProfileReadError(
            f"{folder}: is not a profile: {type(error).__name__}: {error}"
        ) from None
    return dict(content)


def load(folder: Path) -> Profile:
    """Read the file of a worker.  Raises ProfileReadError."""
    try:
        found = json.loads((folder / FOUND).read_text(encoding="utf-8"))
        allocated, flops = found["allocated"], found["flops"]
        for row in found["operators"]:
            own, all_ = allocated.get(row["operator"], (0, 0)) if allocated else (None, None)
            row |= {"self_allocated_bytes": own, "allocated_bytes": all_}
            row["flops"] = flops.get(row["operator"])
        return Profile(
            case=decode.case(found["case"]),
            folder=folder,
            steps=found["steps"],
            whole_s=found["host"]["whole_s"],
            profiled_s=found["host"]["profiled_s"],
            unprofiled_s=found["host"]["unprofiled_s"],
            contended=found["contended"],
            layers=found["layers"],
            operators=found["operators"],
            kernels=found["kernels"],
            device=found["device"],
            memory=found["memory"],
            notes=found["notes"],
            fused=found.get("fused", ()),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProfileReadError(
            f"{folder}: is not a profile: {type(error).__name__}: {error}"
        ) from None


def write_case(profile: Profile) -> None:
    """Write the files of one case into its folder, and remove the file of its worker."""
    write_all(profile.folder, [profile])
    if profile.memory:
        columns = {f"{name}_bytes": values for name, values in profile.memory["bytes"].items()}
        lines = zip(profile.memory["times_s"], *columns.values(), strict=True)
        write_csv(profile.folder / MEMORY, ("time_s", *columns), lines)
    text = json.dumps(_summary(profile), indent=1, allow_nan=False)
    (profile.folder / SUMMARY).write_text(text + "\n", encoding="utf-8")
    (profile.folder / FOUND).unlink(missing_ok=True)


def write_all(folder: Path, profiles: Sequence[Profile]) -> None:
    """Write the tables over all cases: kernels.csv if an accelerator ran, fused.csv if compiled."""
    _write(folder / LAYERS, LAYER_COLUMNS, profiles, _layer_rows)
    _write(folder / OPERATORS, OPERATOR_COLUMNS, profiles, lambda one: one.operators)
    if any(one.kernels for one in profiles):
        _write(folder / KERNELS, KERNEL_COLUMNS, profiles, lambda one: one.kernels)
    if any(one.fused for one in profiles):
        _write(folder / FUSED, FUSED_COLUMNS, profiles, _fused_rows)


def _write(path: Path, columns: Iterable[str], profiles: Iterable[Profile], rows_of: Any) -> None:
    names = tuple(columns)
    lines = (
        [one.case.case_id if name == "case_id" else row.get(name) for name in names]
        for one in profiles
        for row in rows_of(one)
    )
    write_csv(path, names, lines)


def _fused_rows(profile: Profile) -> Iterable[Mapping[str, Any]]:
    for row in profile.fused:
        yield {**row, **{name: "; ".join(row[name]) for name in ("operators", "layers")}}


def _layer_rows(profile: Profile) -> Iterable[Mapping[str, Any]]:
    for row in profile.layers:
        yield {
            **row,
            "host_ratio": row["host_s"] / profile.whole_s,
            "device_ratio": (row["device_s"] or 0.0) / profile.busy_s if profile.busy_s else None,
        }


def _summary(profile: Profile) -> dict[str, Any]:
    """Return the content of profile.json: the main figures of a case for programs."""
    memory = profile.memory
    return {
        "case_id": profile.case.case_id,
        "case": profile.case.as_dict(),
        "steps": profile.steps,
        "whole_s": profile.whole_s,
        "profiled_s": profile.profiled_s,
        "unprofiled_s": profile.unprofiled_s,
        "contended": profile.contended,
        "residual_s": profile.residual_s,
        "residual_ratio": profile.residual_s / profile.whole_s,
        "device": profile.device,
        "peak_bytes": memory["peak_bytes"] if memory else None,
        "peak": {name: values[memory["peak"]] for name, values in memory["bytes"].items()}
        if memory
        else None,
        "alive_at_peak": memory["alive"] if memory else None,
        "notes": list(profile.notes),
    }
