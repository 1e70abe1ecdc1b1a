"""Accelerators of this machine, which work while the host goes on."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core import units
from bench.host.interpreter import HERE
from bench.selftest import judge
from bench.selftest.judge import Result
from bench.selftest.work import Check, NotMeasured, single

MODULE = "bench.worker.selftest.devices"
LIMIT_S = 120.0


def all_(names: Sequence[str], folder: Path) -> Check:
    """Four lines an accelerator.  folder: for the answer of the process that looks at them."""
    if not names:
        return single("accelerators", "", lambda: judge.skipped("no accelerator", ""))
    lines = []
    for name in names:
        lines += [
            (f"{name}: launch alone", f"> ×{judge.LAUNCH:.0f} as fast"),
            (f"{name}: time by its events", f"host's ± {units.percent(judge.EVENTS)}"),
            (f"{name}: memory of 64 MiB", f"{judge.ALLOCATED_BYTES} B"),
            (f"{name}: another process on it", "contended"),
        ]

    def ask() -> list[Result]:
        figures = look(folder)
        lost = {"error": "it is no longer there"}
        return [one for name in names for one in accelerator(figures.get(name, lost))]

    return Check(tuple(lines), ask)


def accelerator(figures: Mapping[str, Any]) -> list[Result]:
    """Four lines from the figures of one accelerator."""
    if "error" in figures:
        return [Result(figures["error"], "FAILED")] * 4
    return [
        judge.launch(figures["latency_s"], figures["launch_s"]),
        judge.events(figures["latency_s"], figures.get("device_s")),
        judge.device_memory(figures.get("counted_bytes")),
        judge.other_process(figures.get("foreign_alone"), figures.get("foreign_beside")),
    ]


def look(folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of MODULE, by the name of the accelerator.  Raises NotMeasured."""
    out = folder / "devices.json"
    try:
        done = subprocess.run(
            HERE.command(MODULE, str(out)),
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
