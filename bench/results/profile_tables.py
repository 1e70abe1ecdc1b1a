"""The tables of `bench profile`: what each layer, operator and kernel of a case costs.

A case's child leaves one file of all that it found; here it becomes the files that people open.
SI base units, of one step; unknown is an empty cell.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import decode
from bench.core.records import Case
from bench.results.csv_files import write_csv

FOUND, SUMMARY, MEMORY = "found.json", "profile.json", "memory.csv"
OPERATORS, LAYERS, KERNELS = "operators.csv", "layers.csv", "kernels.csv"

LAYER_COLUMNS: Mapping[str, str] = {
    "case_id": "joins with the other files",
    "layer": "in the order of their calls; name#2 for the second call",
    "module": "without the number of the call: the same in all calls of a module",
    "type": "class of the module",
    "kind": "layer · module (its own code beside its layers) · graph (compiled) · residual",
    "forward_host_s": "in which it owned the host's time",
    "backward_host_s": "of the autograd nodes that its forward made",
    "optimizer_host_s": "",
    "host_s": "sum of the three",
    "host_ratio": "of the whole step; all rows together are 1",
    "forward_device_s": "in which the accelerator worked for it",
    "backward_device_s": "",
    "optimizer_device_s": "",
    "device_s": "sum of the three",
    "device_ratio": "of the time in which the accelerator worked",
}
OPERATOR_COLUMNS: Mapping[str, str] = {
    "case_id": "joins with the other files",
    "operator": "as torch dispatches it; autograd's nodes too",
    "calls": "in one step",
    "self_host_s": "without what it calls",
    "host_s": "with it",
    "self_device_s": "of the kernels that it launched",
    "device_s": "and those of what it calls",
    "self_allocated_bytes": "asked for by itself, whether freed since or not",
    "allocated_bytes": "and by what it calls",
    "flops": "of convolutions and matrix products, multiply-add = 2; empty where hidden",
}
KERNEL_COLUMNS = ("case_id", "kernel", "operator", "calls", "device_s")


class ProfileReadError(ValueError):
    """What a child left is no profile; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One case.  Rows are as in the files, but for the ratios."""

    case: Case
    folder: Path
    steps: int
    whole_s: float  # of the host in the profiled step: on an accelerator, until it has issued it
    profiled_s: float  # of the step until the device is done, under the profiler
    unprofiled_s: float  # the same without it
    contended: bool  # by other work on the machine
    layers: Sequence[Mapping[str, Any]]
    operators: Sequence[Mapping[str, Any]]
    kernels: Sequence[Mapping[str, Any]]
    device: Mapping[str, Any] | None  # times and verdict of an accelerator
    memory: Mapping[str, Any] | None
    notes: Sequence[str]

    @property
    def on_device(self) -> bool:
        """Whether the accelerator's times are known: they, not the host's, are then the cost."""
        return any(row.get("device_s") for row in self.layers)

    @property
    def busy_s(self) -> float | None:
        """In which the accelerator worked."""
        if not self.on_device:
            return None
        return math.fsum(row["device_s"] or 0.0 for row in self.layers)

    @property
    def residual_s(self) -> float:
        """What no layer owns: the loss, autograd's own work, the optimizer."""
        return math.fsum(row["host_s"] for row in self.layers if row["kind"] == "residual")


def load(folder: Path) -> Profile:
    """What a child left.  Raises ProfileReadError."""
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
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProfileReadError(
            f"{folder}: is no profile: {type(error).__name__}: {error}"
        ) from None


def write_case(profile: Profile) -> None:
    """The files of one case, in its folder, instead of what its child left."""
    write_all(profile.folder, [profile])
    if profile.memory:
        columns = {f"{name}_bytes": values for name, values in profile.memory["bytes"].items()}
        lines = zip(profile.memory["times_s"], *columns.values(), strict=True)
        write_csv(profile.folder / MEMORY, ("time_s", *columns), lines)
    text = json.dumps(_summary(profile), indent=1, allow_nan=False)
    (profile.folder / SUMMARY).write_text(text + "\n", encoding="utf-8")
    (profile.folder / FOUND).unlink(missing_ok=True)


def write_all(folder: Path, profiles: Sequence[Profile]) -> None:
    """The tables over all cases; kernels.csv only where an accelerator ran any."""
    _write(folder / LAYERS, LAYER_COLUMNS, profiles, _layer_rows)
    _write(folder / OPERATORS, OPERATOR_COLUMNS, profiles, lambda one: one.operators)
    if any(one.kernels for one in profiles):
        _write(folder / KERNELS, KERNEL_COLUMNS, profiles, lambda one: one.kernels)


def _write(path: Path, columns: Iterable[str], profiles: Iterable[Profile], rows_of: Any) -> None:
    names = tuple(columns)
    lines = (
        [one.case.case_id if name == "case_id" else row.get(name) for name in names]
        for one in profiles
        for row in rows_of(one)
    )
    write_csv(path, names, lines)


def _layer_rows(profile: Profile) -> Iterable[Mapping[str, Any]]:
    for row in profile.layers:
        yield {
            **row,
            "host_ratio": row["host_s"] / profile.whole_s,
            "device_ratio": (row["device_s"] or 0.0) / profile.busy_s if profile.busy_s else None,
        }


def _summary(profile: Profile) -> dict[str, Any]:
    """profile.json: what a program wants to know of a case at once."""
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
