"""Devices that work while the host goes on: one made up, and each accelerator that is here."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core import units
from bench.host.interpreter import HERE
from bench.selftest import expectations
from bench.selftest.expectations import Result
from bench.selftest.work import KNOWN, Check, NotMeasured

LIMIT_S = 120.0


def all_(names: Sequence[str], folder: Path) -> Check:
    """names: of the accelerators.  folder: for the answer of the process that looks at them."""
    lines = [
        ("made-up queue, by the host", f"{expectations.QUEUE_LATENCY_S} s"),
        ("made-up queue, by its events", f"{expectations.QUEUE_DEVICE_S} s"),
        ("a queue that is not waited for", f"> ×{expectations.MISSING:.0f} as fast"),
    ]
    for name in names:
        lines += [
            (f"{name}: launch alone", f"> ×{expectations.LAUNCH:.0f} as fast"),
            (f"{name}: time by its events", f"host's ± {units.percent(expectations.EVENTS)}"),
            (f"{name}: memory of 64 MiB", f"{expectations.ALLOCATED_BYTES} B"),
            (f"{name}: another process on it", "contended"),
        ]
    if not names:
        lines.append(("accelerators", ""))

    def ask() -> list[Result]:
        figures = look(folder)
        queue = figures["queue"]
        results = expectations.queue(queue["latency_s"], queue["device_s"], queue["blind_s"])
        for name in names:
            results += accelerator(figures.get(name, {"error": "it is no longer there"}))
        if not names:
            results.append(Result("", "skipped", "no accelerator"))
        return results

    return Check(tuple(lines), ask)


def accelerator(figures: Mapping[str, Any]) -> list[Result]:
    """Four lines from the figures of one accelerator."""
    if "error" in figures:
        return [Result(figures["error"], "FAILED")] * 4
    return [
        expectations.waits(figures["latency_s"], figures["launch_s"]),
        expectations.events(figures["latency_s"], figures.get("device_s")),
        expectations.allocated(figures.get("counted_bytes")),
        expectations.foreign(figures.get("foreign_alone"), figures.get("foreign_beside")),
    ]


def look(folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of `bench.worker.selftest.devices`, by name.  Raises NotMeasured."""
    out = folder / "devices.json"
    try:
        done = subprocess.run(
            HERE.command(f"{KNOWN}_devices", str(out)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=LIMIT_S,
            env={**os.environ, **HERE.environment()},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"not done after {LIMIT_S:.0f} s") from None
    if not out.exists():
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NotMeasured(f"exit code {done.returncode}: {said[-1]}")
    found: dict[str, dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
    return found
