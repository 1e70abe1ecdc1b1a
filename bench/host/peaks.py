"""Measure the machine's peaks for a run, in a process of their own (`bench.worker.peaks`)."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.axes import AS_BUILT
from bench.core.errors import refused
from bench.core.records import Case
from bench.host import allocator
from bench.host.interpreter import HERE, START_S


class PeaksError(RuntimeError):
    """The peaks of a device could not be measured.  The run continues without them."""


def measure(
    cases: Sequence[Case], timeout_s: float
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the peaks by device, for `machine.peaks` of run.json, and the problems.

    A device has one size sweep for each number of threads.  A problem with one device does not
    affect the others.

    timeout_s: for each device, in addition to START_S.
    """
    found, problems = {}, []
    for device in dict.fromkeys(one.device for one in cases):
        own = [one for one in cases if one.device == device]
        try:
            found[device] = _of_device(device, own, timeout_s)
        except PeaksError as error:
            problems.append(str(error))
    return found, problems


def disturbed(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Return whether any size sweep was disturbed by other work on the machine."""
    return any(one["disturbed"] for sweeps in found.values() for one in sweeps)


def arithmetics(cases: Sequence[Case]) -> list[str]:
    """Return the kinds of arithmetic that the cases use, float32 first."""
    used = {"float32"}
    for one in cases:
        used |= {one.dtype, one.amp} - {"off", AS_BUILT}
        if one.dtype == AS_BUILT:  # only the worker knows which dtypes it has
            used |= {"bfloat16", "float16"}
        if one.tf32 == "on":
            used.add("tf32")
    return sorted(used, key=lambda name: (name != "float32", name))


def _of_device(device: str, cases: Sequence[Case], timeout_s: float) -> list[dict[str, Any]]:
    """Raises PeaksError."""
    asked = {
        "device": device,
        "arithmetics": arithmetics(cases),
        "threads": list(dict.fromkeys(one.threads for one in cases)),
    }
    limit_s = START_S + timeout_s
    try:
        with tempfile.TemporaryDirectory(
            prefix="bench-peaks-", ignore_cleanup_errors=True
        ) as folder:
            return _answer(asked, Path(folder) / "peaks.json", limit_s)
    except subprocess.TimeoutExpired:
        raise PeaksError(f"{device}: measuring the peaks took more than {limit_s:.0f} s") from None
    except OSError as error:
        where = refused(error, "the folder for temporary files")
        raise PeaksError(f"{device}: {where}") from None


def _answer(asked: Mapping[str, Any], out: Path, limit_s: float) -> list[dict[str, Any]]:
    """Raises PeaksError, OSError, TimeoutExpired."""
    done = subprocess.run(
        HERE.command("bench.worker.peaks"),
        input=json.dumps({**asked, "out": str(out)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        timeout=limit_s,
        env={**allocator.environment("retained", os.environ), **HERE.environment()},
        check=False,
    )
    try:
        found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        said = (done.stderr.strip().splitlines() or ["no error output"])[-1]
        raise PeaksError(f"{asked['device']}: {said}") from None
    return found
