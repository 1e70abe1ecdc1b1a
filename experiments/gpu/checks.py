"""The twenty checks: pure functions of the evidence, each of which can fail.

A bound holds for every accelerator: it is a ratio to what plain torch reaches on the same card, or
to what the driver says that the card can do.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.core.records import Row

Verdict = Literal["ok", "FAILED", "skipped"]

PRODUCT = "torch.nn:Linear(8192, 8192, bias=False)"
CONVOLUTION = "torch.nn:Conv2d(256, 256, 3, padding=1, bias=False)"
CHAIN = "experiments.gpu.subjects:Chain"
TEMPORARY = "bench.worker.selftest.models:Temporary"
ALLOCATED_BYTES = 64 * 2**20
PCIE_BYTES_PER_S = 130e9  # of 16 lanes of version 6: no transfer is faster
HEAT_C = (15.0, 95.0)


class NotFound(Exception):  # noqa: N818 - says what happened
    """The evidence lacks a figure that should be there; the message names it."""


class Skipped(Exception):  # noqa: N818 - says what happened
    """The accelerator has nothing of this kind; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was measured, before anything is judged.

    fork_notes: what a fork server said of forks that cannot use the device; None = not asked.
    start:      seconds of `experiments.gpu.oracle start`.
    rates:      figures of `experiments.gpu.oracle rates`.
    known:      the figures of the selftest's known work (`bench.worker.selftest.known_devices`).
    rows:       of the sweep.
    states:     by case_id: what the measurements read back.
    peaks:      of the accelerator, as run.json has them.
    profiles:   by name (`product`, `single`): `device` of profile.json.
    """

    device: str
    fork_notes: Sequence[str] | None = None
    start: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    peaks: Mapping[str, Any] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    def row(self, phase: str | None, **axes: object) -> Row:
        """The row of this phase with these values of the axes.  Raises NotFound."""
        wanted = {"device": self.device, **axes}
        for row in self.rows:
            if row.phase == phase and all(getattr(row, k) == v for k, v in wanted.items()):
                return row
        shown = ", ".join(f"{name}={value}" for name, value in axes.items())
        raise NotFound(f"no row {phase} with {shown}")


@dataclass(frozen=True, slots=True)
class Check:
    """One check.  judge: whether it passes, and the figures.  Raises NotFound, Skipped."""

    number: int
    name: str
    passes: str
    judge: Callable[[Evidence], tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the table."""

    number: int
    name: str
    verdict: Verdict
    seen: str
    passes: str


def results(evidence: Evidence) -> list[Result]:
    """Return the results of all checks in order.  A missing figure is a failure."""
    return [_result(check, evidence) for check in CHECKS]


def _result(check: Check, evidence: Evidence) -> Result:
    verdict: Verdict
    try:
        passed, seen = check.judge(evidence)
        verdict = "ok" if passed else "FAILED"
    except Skipped as why:
        verdict, seen = "skipped", str(why)
    except NotFound as error:
        verdict, seen = "FAILED", str(error)
    return Result(check.number, check.name, verdict, seen, check.passes)


def markdown(found: Sequence[Result], title: str) -> str:
    """The table for a report.  title: the card and the versions."""
    lines = [f"### {title}", "", "| # | check | verdict | seen | passes |", "|---|---|---|---|---|"]
    for one in found:
        cells = (str(one.number), one.name, one.verdict, one.seen, one.passes)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    count = {verdict: sum(one.verdict == verdict for one in found) for verdict in
             ("ok", "FAILED", "skipped")}  # fmt: skip
    lines += ["", ", ".join(f"{number} {verdict}" for verdict, number in count.items())]
    return "\n".join(lines) + "\n"


def number(value: object, name: str) -> float:
    """A finite figure.  Raises NotFound."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise NotFound(f"{name} is unknown")
    return float(value)


def of_row(row: Row, column: str) -> float:
    return number(getattr(row, column), f"{column} of {row.case_id} ({row.status}: {row.reason})")


def _cuda_only(evidence: Evidence, what: str) -> None:
    if not evidence.is_cuda:
        raise Skipped(f"{evidence.device} has no {what}")


def _forks(e: Evidence) -> tuple[bool, str]:
    if e.fork_notes is None:
        raise NotFound("the fork server was not asked")
    return not e.fork_notes, "; ".join(e.fork_notes) or "each case is a fork"


def _start(e: Evidence) -> tuple[bool, str]:
    names = ("context_s", "convolution_s", "product_s")
    spans = [number(e.start.get(name), name) for name in names]
    imported = number(e.start.get("import_s"), "import_s")
    shown = "context {:.2f}, convolution {:.2f}, product {:.2f}".format(*spans)
    return sum(spans) < 2.0, f"import torch {imported:.1f} s, {shown} s"


def _events(e: Evidence) -> tuple[bool, str]:
    host_s = number(e.known.get("latency_s"), str(e.known.get("error", "latency_s")))
    launch_s = number(e.known.get("launch_s"), "launch_s")
    if "device_s" not in e.known:
        raise Skipped("its events tell no device time")
    device_s = number(e.known["device_s"], "device_s")
    spans = [f"{one * 1e3:.2f} ms" for one in (host_s, device_s, launch_s)]
    shown = "host {}, events {}, launch {}".format(*spans)
    return abs(host_s - device_s) < 0.02 * host_s and host_s > 50 * launch_s, shown


def _allocated(e: Evidence) -> tuple[bool, str]:
    if "counted_bytes" not in e.known:
        raise Skipped("the device does not count its memory")
    return e.known["counted_bytes"] == ALLOCATED_BYTES, str(e.known["counted_bytes"])


def _neighbour(e: Evidence) -> tuple[bool, str]:
    if "contended_alone" not in e.known:
        raise Skipped("the driver does not tell who uses the device")
    alone, beside = bool(e.known["contended_alone"]), bool(e.known["contended_beside"])
    if alone:
        raise Skipped("others compute on the device already")
    return beside, "contended" if beside else "not seen"


def _product(e: Evidence) -> tuple[bool, str]:
    rate = of_row(e.row("forward", subject=PRODUCT, dtype="bfloat16"), "flop_per_s")
    plain = number(e.rates.get("product_flop_per_s"), "the rate of plain torch")
    return 0.9 < rate / plain < 1.1, f"{rate / 1e12:.0f} TFLOP/s, plain torch {plain / 1e12:.0f}"


def _tf32(e: Evidence) -> tuple[bool, str]:
    try:
        on = e.row("forward", subject=PRODUCT, tf32="on")
    except NotFound:
        raise Skipped("the device has no TF32") from None
    off = e.row("forward", subject=PRODUCT, tf32="off")
    faster = of_row(off, "pipelined_s") / of_row(on, "pipelined_s")
    worse = of_row(on, "relative_error") / of_row(off, "relative_error")
    return faster > 1.3 and worse > 20, f"×{faster:.1f} as fast, ×{worse:.0f} the error"


def _layout(e: Evidence) -> tuple[bool, str]:
    first, last = (
        of_row(e.row("forward", subject=CONVOLUTION, memory_format=layout), "pipelined_s")
        for layout in ("contiguous", "channels_last")
    )
    return first / last > 1.05, f"×{first / last:.2f}"


def _peaks(e: Evidence) -> tuple[bool, str]:
    best = {
        name: max((point["per_s"] for point in points), default=0.0)
        for name, points in e.peaks.get("arithmetic", {}).items()
    }
    beyond = 4 * (e.peaks.get("cache_bytes") or 2**28)
    traffic = [p["per_s"] for p in e.peaks.get("traffic", []) if p["amount"] >= beyond]
    if not best or not traffic:
        raise NotFound("run.json has no peaks of the device beyond its cache")
    product = number(e.rates.get("product_flop_per_s"), "the rate of plain torch")
    copy = number(e.rates.get("copy_bytes_per_s"), "the copy of plain torch")
    shown = ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in best.items())
    passed = best.get("bfloat16", 0.0) > 0.85 * product and 0.85 < max(traffic) / copy < 1.15
    return passed, (
        f"{shown} TFLOP/s; memory {max(traffic) / 1e12:.2f} TB/s, plain copy {copy / 1e12:.2f}"
    )


def _memory(e: Evidence) -> tuple[bool, str]:
    sizes = (300_000_000_000, 67_108_864)
    names = [f"{TEMPORARY}({size})" for size in sizes]
    seen = [next((r.status for r in e.rows if r.subject == one), None) for one in names]
    return seen == ["oom", "ok"], f"{seen[0]}, then {seen[1]}"


def _graphs(e: Evidence) -> tuple[bool, str]:
    _cuda_only(e, "CUDA graphs")
    eager, graphs = (
        of_row(e.row("forward", subject=CHAIN, compile=mode), "pipelined_s")
        for mode in ("off", "reduce-overhead")
    )
    ratio = eager / graphs
    return ratio > 1.8, f"eager {eager * 1e6:.0f} µs, graphs {graphs * 1e6:.0f} µs, ×{ratio:.1f}"


def _graph_training(e: Evidence) -> tuple[bool, str]:
    _cuda_only(e, "CUDA graphs")
    row = e.row("step", subject="convnet", compile="reduce-overhead")
    error = of_row(row, "relative_error")
    return row.status == "ok" and error < 1e-3, f"{row.status}, relative error {error:.1e}"


def _tuning(e: Evidence) -> tuple[bool, str]:
    _cuda_only(e, "cuDNN")
    on, off = (
        e.row(
            "step", subject="convnet", mode="training", batch=256, cudnn_benchmark=mode, amp="off"
        )
        for mode in ("on", "off")
    )
    tuning_s = of_row(on, "tuning_s")
    more_s = of_row(on, "first_call_s") - of_row(off, "first_call_s")
    passed = tuning_s > 0.01 and abs(tuning_s - more_s) < max(0.5 * abs(more_s), 0.05)
    return passed, f"tuning_s {tuning_s:.2f} s, first call on − off {more_s:.2f} s"


def _phases(e: Evidence) -> tuple[bool, str]:
    axes = {"subject": "convnet", "mode": "training", "amp": "float16"}
    parts = [e.row(phase, **axes).device_s for phase in ("forward", "backward", "optimizer")]
    if None in parts:
        raise Skipped("its events tell no device time")
    whole = of_row(e.row("step", **axes), "device_s")
    total = sum(part for part in parts if part is not None)
    shown = " + ".join(f"{part * 1e3:.2f}" for part in parts if part is not None)
    return abs(total / whole - 1) < 0.05, f"{shown} of {whole * 1e3:.2f} ms"


def _transfers(e: Evidence) -> tuple[bool, str]:
    rates = []
    for phase in ("input_pageable", "input_pinned"):
        row = e.row(phase, subject="convnet", batch=1024)
        rates.append(of_row(row, "bytes_moved") / of_row(row, "latency_median_s"))
    pageable, pinned = rates
    passed = 1e9 < pageable < pinned < PCIE_BYTES_PER_S
    return passed, f"pageable {pageable / 1e9:.1f}, pinned {pinned / 1e9:.1f} GB/s"


def _power(e: Evidence) -> tuple[bool, str]:
    plain_w = e.rates.get("power_w")
    if plain_w is None:
        raise Skipped(f"no counter of energy {e.rates.get('driver_error', '')}".rstrip())
    row = e.row("forward", subject=PRODUCT, dtype="bfloat16")
    power_w = of_row(row, "energy_j_per_image") * 8192 / of_row(row, "pipelined_s")
    passed = 0.8 < power_w / number(plain_w, "power") < 1.2
    return passed, f"{power_w:.0f} W by the row, {plain_w:.0f} W by plain torch"


def _small_power(e: Evidence) -> tuple[bool, str]:
    limit_w = e.rates.get("limit_w")
    if limit_w is None:
        raise Skipped("the driver tells no limit of power")
    row = e.row("forward", subject=CHAIN, compile="off")
    power_w = of_row(row, "energy_j_per_image") / of_row(row, "pipelined_s")
    return 0.05 < power_w / limit_w < 1.05, f"{power_w:.0f} W of at most {limit_w:.0f} W"


def _telemetry(e: Evidence) -> tuple[bool, str]:
    most_hz = e.rates.get("most_sm_clock_hz")
    if most_hz is None:
        raise Skipped("the driver tells no clock")
    told = [row for row in e.rows if row.device == e.device and row.sm_clock_hz]
    if not told:
        raise NotFound("no row has a clock")
    clock_hz = sorted(row.sm_clock_hz or 0.0 for row in told)[len(told) // 2]
    heats = sorted(row.temperature_c or math.nan for row in told)
    flags = {flag for row in told for flag in (row.flags or "").split(";") if flag}
    passed = 0.3 < clock_hz / most_hz < 1.05 and HEAT_C[0] < heats[len(heats) // 2] < HEAT_C[1]
    passed = passed and not flags & {"throttled", "contended"}
    shown = ", ".join(sorted(flags)) or "none"
    return passed, f"{clock_hz / 1e9:.2f} GHz, {heats[len(heats) // 2]:.0f} °C, flags: {shown}"


def _cold(e: Evidence) -> tuple[bool, str]:
    _cuda_only(e, "cache of known size")
    row = e.row("forward", subject="convnet/bn1")
    copy = number(e.rates.get("copy_bytes_per_s"), "the copy of plain torch")
    rate = of_row(row, "bytes_per_s")
    cold = bool(e.states.get(str(row.case_id), {}).get("cold"))
    shown = f"{'cold' if cold else 'not cold'}, {rate / 1e12:.2f} TB/s, copy {copy / 1e12:.2f}"
    return cold and rate < 1.12 * copy, shown


def _profiles(e: Evidence) -> tuple[bool, str]:
    seen, passed = [], True
    for name, bound_by in (("product", "device"), ("single", "launches")):
        device = e.profiles.get(name)
        if not device:
            raise NotFound(f"no profile of {name}")
        if device.get("busy_s") is None:
            _cuda_only(e, "kernels that torch's profiler sees")
        share = number(device.get("busy_s"), "busy_s") / number(device.get("event_s"), "event_s")
        seen.append(f"{name}: bound by {device['bound_by']}, busy {share:.3f}")
        passed = passed and device["bound_by"] == bound_by
        passed = passed and (name != "product" or 0.93 < share < 1.03)
    return passed, "; ".join(seen)


CHECKS = (
    Check(1, "forks use the device", "no case is spawned", _forks),
    Check(2, "cost of a process", "context and libraries < 2 s", _start),
    Check(3, "events against the host's clock", "± 2 %, launch < 1/50", _events),
    Check(4, "64 MiB allocated", f"{ALLOCATED_BYTES} counted", _allocated),
    Check(5, "a planted neighbour", "contended", _neighbour),
    Check(6, "bfloat16 product", "± 10 % of plain torch", _product),
    Check(7, "TF32 changes speed and result", "> ×1.3, error > ×20", _tf32),
    Check(8, "channels_last for a float16 convolution", "> ×1.05", _layout),
    Check(9, "the device's peaks", "> 0.85 of plain torch, memory ± 15 %", _peaks),
    Check(10, "300 GB, then a case that fits", "oom, then ok", _memory),
    Check(11, "CUDA graphs of 40 small products", "> ×1.8", _graphs),
    Check(12, "reduce-overhead trains, and right", "ok, error < 1e-3", _graph_training),
    Check(13, "cuDNN's search", "> 0.01 s, first call on − off ± 50 %", _tuning),
    Check(14, "phases of a step with GradScaler", "sum ± 5 % of the step", _phases),
    Check(15, "transfers of 616 MB", "1 < pageable < pinned < 130 GB/s", _transfers),
    Check(16, "energy of a product, as power", "± 20 % of plain torch", _power),
    Check(17, "energy of short calls, as power", "5–105 % of the power limit", _small_power),
    Check(18, "clock, heat, flags", "30–105 % of the top clock; 15–95 °C; calm", _telemetry),
    Check(19, "a layer's input comes from memory", "cold, below 1.12 of plain copy", _cold),
    Check(20, "kernels against events; bottleneck", "0.93–1.03; device, launches", _profiles),
)  # fmt: skip
