"""What a probe process found on this machine and about the subjects.

The probe runs in a process that exits (`bench.worker.probe`), because looking at a device
initialises it and poisons forks.  Here are its records and how it is started.
"""

import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.place import HERE, Place


class ProbeError(UserError):
    """The probe could not answer; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that torch can compute on."""

    name: str  # cpu, cuda:0
    shown: str  # as its driver names it
    has_cudnn: bool = False
    has_tf32: bool = False
    memory_bytes: int | None = None

    @property
    def type(self) -> str:
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that the subject calls."""

    name: str  # dotted; name#2 for a second call
    alias: str | None
    type: str
    same_as: tuple[str, ...] = ()  # names of equal layers, measured once

    @property
    def shown(self) -> str:
        return self.alias or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFound:
    """A subject as built by the probe."""

    error: str | None = None  # it cannot be built
    has_inputs: bool = False  # it has example_inputs
    parameters: int | None = None
    file: str | None = None  # where its code lies
    layers: tuple[Layer, ...] = ()  # what SUBJECT/* stands for
    modules: tuple[Layer, ...] = ()  # further modules that it calls
    layers_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """All that the plan has to know."""

    torch: str
    facts: Mapping[str, Any]  # for run.json
    devices: Mapping[str, Device]
    subjects: Mapping[str, SubjectFound]


def look(
    subjects: Sequence[str], inputs: Mapping[str, str], timeout_s: float, place: Place = HERE
) -> Probe:
    """Start a probe and wait for it.  Raises ProbeError.

    subjects: names without layers → whether their layers are asked for is told by a `/*`.
    inputs:   by subject without its layer, the input that it is called with once; else its own.
    """
    with tempfile.TemporaryDirectory(prefix="bench-probe-") as folder:
        out = Path(folder) / "probe.json"
        request = json.dumps({"subjects": list(subjects), "inputs": dict(inputs), "out": str(out)})
        try:
            done = subprocess.run(
                [place.python, "-m", "bench.worker.probe"],
                cwd=place.folder,
                input=request,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                env={**os.environ, **place.environment(), "PYTHONUNBUFFERED": "1"},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProbeError(
                f"importing and building {', '.join(subjects)} took more than {timeout_s:.0f} s; "
                "give --timeout, or look at what it does"
            ) from None
        if not out.exists():
            tail = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ProbeError(
                f"looking at torch and {', '.join(subjects)} ended with exit code "
                f"{done.returncode}: {tail}"
            )
        return _read(json.loads(out.read_text(encoding="utf-8")))


def _read(found: Mapping[str, Any]) -> Probe:
    return Probe(
        torch=found["torch"],
        facts=found["facts"],
        devices={one["name"]: Device(**one) for one in found["devices"]},
        subjects={name: _subject(one) for name, one in found["subjects"].items()},
    )


def _subject(fields: Mapping[str, Any]) -> SubjectFound:
    layers, modules = (
        tuple(Layer(**{**one, "same_as": tuple(one["same_as"])}) for one in fields[key])
        for key in ("layers", "modules")
    )
    return SubjectFound(**{**fields, "layers": layers, "modules": modules})


def as_json(value: Any) -> Any:
    """A record of this module as JSON can hold it."""
    return dataclasses.asdict(value)
