"""The checks of accelerators, which compute while the host continues."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core import units
from bench.core.decode import Decoder
from bench.host import helper
from bench.selftest import expectations
from bench.selftest.expectations import Result
from bench.selftest.work import Check, NotMeasured, single

MODULE = "bench.worker.selftest.known_devices"
LIMIT_S = 120.0  # an accelerator
Figures = dict[str, dict[str, Any]]
_FIGURES: Decoder[Figures] = Decoder(Figures, "answer of the devices' process")


def all_(names: Sequence[str]) -> Check:
    """Return a check with four lines for each accelerator."""
    if not names:
        return single("accelerators", "", lambda: expectations.skipped("no accelerator", ""))
    lines = []
    for name in names:
        lines += [
            (f"{name}: launch without waiting", f"> ×{expectations.LAUNCH:.0f} as fast"),
            (f"{name}: time of its events", f"host's ± {units.percent(expectations.EVENTS)}"),
            (f"{name}: memory of 64 MiB", f"{expectations.ALLOCATED_BYTES} B"),
            (f"{name}: with another process on it", "contended"),
        ]

    def ask() -> list[Result]:
        figures = look(LIMIT_S * len(names))
        lost = {"error": "there are no figures of it: its process ended early or was too slow"}
        return [one for name in names for one in accelerator(figures.get(name, lost))]

    return Check(tuple(lines), ask)


def accelerator(figures: Mapping[str, Any]) -> list[Result]:
    """Return the four results of one accelerator."""
    if "error" in figures:
        return [Result(figures["error"], "FAILED")] * 4
    return [
        expectations.launch(figures["latency_s"], figures["launch_s"]),
        expectations.events(figures["latency_s"], figures.get("device_s")),
        expectations.device_memory(figures.get("counted_bytes"), figures.get("not_counted")),
        expectations.other_process(figures.get("contended_alone"), figures.get("contended_beside")),
    ]


def look(limit_s: float = LIMIT_S) -> Figures:
    """Return the figures of MODULE by accelerator, as far as it came.  Raises NotMeasured."""
    try:
        return helper.ask(MODULE, {}, _FIGURES, limit_s, in_parts=True)
    except helper.HelperError as error:
        raise NotMeasured(str(error)) from None
