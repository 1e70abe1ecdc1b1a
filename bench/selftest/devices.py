"""Devices that work while the host goes on: one made up, and each accelerator that is here."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core import units
from bench.core.decode import Decoder
from bench.host import helper
from bench.selftest import expectations
from bench.selftest.expectations import Result
from bench.selftest.work import Check, NotMeasured

LIMIT_S = 120.0
Figures = dict[str, dict[str, Any]]
_FIGURES: Decoder[Figures] = Decoder(Figures, "answer of the devices' process")


def all_(names: Sequence[str]) -> Check:
    """names: of the accelerators."""
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
        figures = look()
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


def look() -> Figures:
    """The figures of `bench.worker.selftest.devices`, by name.  Raises NotMeasured."""
    try:
        return helper.ask("bench.worker.selftest.devices", {}, _FIGURES, LIMIT_S)
    except helper.HelperError as error:
        raise NotMeasured(str(error)) from None
