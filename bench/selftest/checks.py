"""The checks of `bench selftest` in their order: what they measure and what they expect."""

from collections.abc import Callable, Iterator
from typing import Any

from bench.core import units
from bench.host.probed import Probe
from bench.selftest import devices, expectations, work
from bench.selftest.expectations import Result
from bench.selftest.work import KNOWN, Check, Workbench, single

WAIT_S = 0.002
LINEAR_ROWS, LINEAR_SIZE = 256, 512
LINEAR: dict[str, Any] = {
    "subject": f"torch.nn:Linear({LINEAR_SIZE}, {LINEAR_SIZE}, bias=False)",
    "input": f"{LINEAR_SIZE}",
    "batch": LINEAR_ROWS,
}
# One multiplication and one addition for each weight and row.
LINEAR_FLOPS = 2 * LINEAR_ROWS * LINEAR_SIZE * LINEAR_SIZE
TEMPORARY_BYTES = 2**20
# The temporary tensor, the weights (1024 numbers), and input and output (4 × 1024 each) in float32.
PEAK_BYTES = TEMPORARY_BYTES + 4 * (1024 + 2 * 4 * 1024)
CONVOLUTION: dict[str, Any] = {
    "subject": "torch.nn:Conv2d(16, 32, 3)",
    "input": "16,56,56",
    "batch": 4,
}
TRIES = 3  # other work for a moment is not a fault of the suite
COMPILE_LIMIT_S = 120.0


def every(bench: Workbench, found: Probe, *, compiles: bool) -> Iterator[Check]:
    """Yield all checks.

    compiles: include the check of torch.compile, which takes many seconds.
    """
    yield from _clock(bench)
    yield from _figures(bench)
    yield from _faults(bench)
    if compiles:
        yield _compiled(bench, found)
    yield from _neighbours(bench)
    yield devices.all_([name for name in found.devices if name != "cpu"])


def persistent(ask: Callable[[], Result]) -> Callable[[], Result]:
    """Return a check that is repeated while it fails, since a fault of the suite is permanent.

    Another virtual machine on the same host can slow this one for some seconds, and the kernel does
    not report it.  For example, each wait of 2 ms took 75 µs more.
    """

    def repeated() -> Result:
        for _ in range(TRIES):
            result = ask()
            if result.verdict != "FAILED":
                break
        return result

    return repeated


def _clock(bench: Workbench) -> Iterator[Check]:
    def busy_wait() -> Result:
        seen = bench.timed(f"{KNOWN}:Spin({WAIT_S})")
        return expectations.busy_wait(WAIT_S, seen.latency_s, seen.pipelined_s, busy=seen.contended)

    def empty() -> Result:
        seen = bench.timed("torch.nn:Identity")
        return expectations.empty_call(seen.latency_s, busy=seen.contended)

    expected = f"{WAIT_S} s ± {units.percent(expectations.EXACT)}"
    yield single("2 ms busy-wait, also back-to-back", expected, persistent(busy_wait))
    yield single("empty call", f"< {units.seconds(expectations.EMPTY_S)}", persistent(empty))


def _figures(bench: Workbench) -> Iterator[Check]:
    def linear() -> list[Result]:
        seen, static = bench.timed(**LINEAR), bench.static_metrics(**LINEAR)
        loop_s = work.plain_loop_s(LINEAR_ROWS, LINEAR_SIZE)
        return [
            expectations.count(LINEAR_FLOPS, static.metrics.get("flops")),
            expectations.rate(LINEAR_FLOPS, seen.pipelined_s, loop_s, busy=seen.contended),
            expectations.right_result(static.metrics.get("relative_error"), static.invalid),
        ]

    def peak() -> Result:
        subject = f"{KNOWN}:Temporary({TEMPORARY_BYTES})"
        seen = bench.static_metrics(subject, input="1024", batch=4).metrics
        return expectations.count(PEAK_BYTES, seen.get("peak_bytes"))

    yield Check(
        (
            ("FLOPs of a linear layer", f"{LINEAR_FLOPS}"),
            ("its rate", "that of a plain loop"),
            ("its result", f"error ≤ {expectations.RIGHT:.0e}"),
        ),
        linear,
    )
    yield single("peak memory of known tensors", f"{PEAK_BYTES} B", peak)


def _faults(bench: Workbench) -> Iterator[Check]:
    def wrong() -> Result:
        axes = {"input": "3,8,8", "batch": 2, "memory_format": "channels_last"}
        return expectations.wrong_result(
            bench.static_metrics(f"{KNOWN}:OtherInChannelsLast", **axes).invalid
        )

    def crash() -> Result:
        entry = bench.ask("measure", f"{KNOWN}:Crashes")
        return expectations.ending(*work.ending(entry), "crash", "SIGSEGV")

    def endless() -> Result:
        entry = bench.ask("measure", f"{KNOWN}:Loops", limit_s=expectations.LIMIT_S)
        return expectations.endless_loop(*work.ending(entry), entry.wall_s)

    def after() -> Result:
        return expectations.ending(
            *work.ending(bench.ask("measure", f"{KNOWN}:WellBehaved")), "measured"
        )

    yield single("wrong result in channels_last", "invalid", wrong)
    yield single("segmentation fault", "crash", crash)
    yield single("endless loop", f"timeout after {expectations.LIMIT_S:.0f} s", endless)
    yield single("the case after these faults", "measured", after)


def _compiled(bench: Workbench, found: Probe) -> Check:
    def ask() -> Result:
        if not found.torch_details.get("compiler"):
            return expectations.skipped("no C++ compiler", "")
        axes: dict[str, Any] = {"compile": "default", "limit_s": COMPILE_LIMIT_S}
        entry = bench.ask("measure", f"{KNOWN}:WellBehaved", **axes)
        return expectations.ending(*work.ending(entry), "measured")

    return single("torch.compile", "measured", ask)


def _neighbours(bench: Workbench) -> Iterator[Check]:
    def alone() -> Result:
        for _ in range(TRIES):
            before = work.busy_share()
            seen = bench.timed(**CONVOLUTION)
            share = max(before, work.busy_share())
            if not seen.contended:
                break
        return expectations.alone(seen.contention_ratio, contended=seen.contended, busy_share=share)

    def beside() -> Result:
        with work.neighbours():
            seen = bench.timed(**CONVOLUTION)
        return expectations.beside(seen.contention_ratio, contended=seen.contended)

    yield single("convolution alone", "not contended", alone)
    yield single("with a busy process on each core", "contended", beside)
